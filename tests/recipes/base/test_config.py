import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest

from recipes.base import config, spec
from recipes.base.errors import UserError

GOOD = resources.files("configs.pann").joinpath("mobilenetv1.yaml").read_text(encoding="utf-8")


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def complaint(text: str) -> str:
    with pytest.raises(UserError) as caught:
        config.parse(text, "some.yaml")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_reads_the_family_s_own_variant() -> None:
    from recipes.pann.spec import LogMel, Variant

    variant = config.parse(GOOD, "some.yaml")
    assert isinstance(variant, Variant)
    assert isinstance(variant.front_end, LogMel)
    assert variant.outputs[0].axes == ("batch", 527)
    assert variant.outputs[0].tolerances["fp32"].atol > 0


# Each edit of the good file: what is replaced, by what, and what the complaint says besides the line of the edit.
BAD_VALUES = {
    "unknown key": ("classes: 527", "clases: 527", "clases: unknown key"),
    "unknown key deep down": ("hop_length: 320", "hop: 320", "front_end.hop: unknown key"),
    "key twice": ("title:", "family: pann\ntitle:", "the key 'family' stands twice"),
    "python object": (
        "title: PANN MobileNetV1",
        "title: !!python/object/apply:os.system [true]",
        "'python/object/apply:os.system', which is not allowed",
    ),
    "alias": ("title: PANN MobileNetV1", "title: *name", "aliases are not allowed"),
    "text for a number": ("classes: 527", 'classes: "527"', "classes: must be a whole number"),
    "truth for a number": ("classes: 527", "classes: yes", "classes: must be a whole number"),
    "fraction for a whole number": ("classes: 527", "classes: 527.0", "classes: must be a whole number"),
    "number for a text": ("title: PANN MobileNetV1", "title: 1", "title: must be text"),
    "nothing for a text": ("title: PANN MobileNetV1", "title:", "title: must be text"),
    "list for a mapping": ("source:\n", "source: []\nsourced:\n", "source:"),
    "zero": ("classes: 527", "classes: 0", "classes: must be greater than 0"),
    "odd DFT": ("n_fft: 1024", "n_fft: 1023", "front_end.n_fft: must be a multiple of 2"),
    "infinite frequency": ("fmax: 14000", "fmax: .inf", "front_end.fmax: must be finite"),
    "NaN tolerance": (
        "{atol: ",
        "{atol: .nan, was: ",
        "outputs.clipwise.tolerances.fp32.atol: must be greater",
    ),
    "infinite tolerance": ("{atol: ", "{atol: .inf, was: ", "outputs.clipwise.tolerances.fp32.atol: must be finite"),
    "negative tolerance": (
        "{atol: ",
        "{atol: -1.0e-4, was: ",
        "outputs.clipwise.tolerances.fp32.atol: must be greater",
    ),
    "tolerance that YAML reads as text": ("{atol: ", "{atol: 1e-4, was: ", "atol: must be a number"),
    "unknown precision": ("      mixed: {", "      fp8: {", "outputs.clipwise.tolerances.fp8"),
    "unknown kind": ("kind: probability", "kind: chance", "outputs.clipwise.kind: must be 'probability'"),
    "output axis that is no name": ("axes: [batch, 527]", "axes: [a-b, 527]", "outputs.clipwise.axes.0"),
    "path for a file name": ("file: Mobile", "file: ../../Mobile", "source.file: String should match"),
    "malformed checksum": ("md5: a4", "md5: A4", "source.md5: String should match"),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_refuses_and_says_where(case: str) -> None:
    old, new, expected = BAD_VALUES[case]
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    message = complaint(text)
    assert message.startswith("some.yaml: ")
    assert expected in message
    first = line_of(text, new)
    around = range(first, first + new.count("\n") + 1)
    assert {int(line) for line in re.findall(r"\bline (\d+)", message)} & set(around), message


def test_what_is_left_out_is_named() -> None:
    assert "line 1, classes: Field required" in complaint(GOOD.replace("classes: 527\n", ""))
    precision = complaint(re.sub(r"      mixed: .*\n", "", GOOD, count=1))
    assert f"line {line_of(GOOD, '  clipwise:')}, outputs.clipwise: has no tolerance for mixed" in precision
    checksum = complaint(re.sub(r"  md5: .*\n", "", GOOD))
    assert f"line {line_of(GOOD, 'source:')}, source: needs size and md5 or sha256, or none of them" in checksum


def test_bounds_that_cross() -> None:
    message = complaint(GOOD.replace("least: 9920", "least: 990000"))
    assert f"line {line_of(GOOD, 'input:')}, input: needs least <= default" in message


def test_all_complaints_are_listed() -> None:
    message = complaint(GOOD.replace("classes: 527", "classes: many").replace("fmin: 50", "fmin: low"))
    assert "classes:" in message
    assert "front_end.fmin:" in message


@pytest.mark.parametrize("family", ["base", "nothing", "../pann", "[pann]", ""])
def test_unknown_family(family: str) -> None:
    message = complaint(GOOD.replace("family: pann", f"family: {family}"))
    assert re.match(r"some\.yaml: line 1, family: must be one of .*\bpann\b.*, not ", message)


def test_no_family() -> None:
    assert "line 1, family: must be one of" in complaint(GOOD.replace("family: pann\n", ""))


@pytest.mark.parametrize("text", ["- family: pann\n", "pann\n", "12\n"])
def test_no_keys(text: str) -> None:
    assert "line 1, top level: must be keys with their values" in complaint(text)


def test_names_must_agree() -> None:
    assert "names the output 'nothing'" in complaint(GOOD.replace("scores: clipwise", "scores: nothing"))
    assert "names the output 'nothing'" in complaint(
        GOOD.replace("float32_through: melspec", "float32_through: nothing")
    )
    assert "the key 'clipwise' stands twice" in complaint(GOOD.replace("  embedding:", "  clipwise:"))


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ("[]", "outputs: must be a mapping from each name to its keys"),
        ("{}", "outputs: Tuple should have at least 1 item"),
        ("{clipwise: probability}", "outputs.clipwise: must be keys with their values"),
        ("{clipwise: {name: clipwise}}", "outputs.clipwise.name: unknown key"),
        ("{clip-wise: {kind: chance}}", "outputs.clip-wise.kind: must be 'probability'"),
    ],
)
def test_outputs_stand_under_their_names(outputs: str, expected: str) -> None:
    start, end = GOOD.index("outputs:"), GOOD.index("coreml:")
    message = complaint(f"{GOOD[:start]}outputs: {outputs}\n{GOOD[end:]}")
    assert f"line {line_of(GOOD, 'outputs:')}, {expected}" in message


def test_two_outputs_of_one_name_are_refused() -> None:
    pann = config.find("pann")
    with pytest.raises(ValueError, match="has two outputs of one name"):
        replace(pann, outputs=(*pann.outputs, pann.outputs[0]))


def test_finds_by_name_and_by_family() -> None:
    assert config.find("mobilenetv1").name == "mobilenetv1"
    assert config.find("pann").name == "mobilenetv1"
    with pytest.raises(UserError, match=r"^there is no recipe 'yamnet'; `convert list` shows all$"):
        config.find("yamnet")
    with pytest.raises(UserError, match=r"no recipe 'MN04' \(did you mean mn04_as, dymn04_as\?\); `convert list`"):
        config.find("MN04")


def test_every_file_is_called_as_its_variant_and_names_are_unique() -> None:
    variants = config.variants()
    assert variants
    names = [variant.name for variant in variants] + sorted({variant.family for variant in variants})
    assert len(set(names)) == len(names)
    for family in {variant.family for variant in variants}:
        assert sum(variant.default for variant in variants if variant.family == family) == 1


# A family of three: what they share, what two of them share, and their own.
OWN = ("name", "title", "description", "classes")
FAMILY = (
    re.sub(rf"^(default|{'|'.join(OWN)}): .*\n", "", GOOD, flags=re.MULTILINE)
    + """\
parts:
  fine:
    front_end: {hop_length: 160}
    description: Fine
  few:
    classes: 10
    description: Few
    outputs:
      clipwise: {axes: [batch, 10]}
"""
)
VARIANT = """\
name: fine_few
title: Fine and few
parts: [fine, few]
outputs: {embedding: {axes: [batch, 384]}}
"""


def merged(variant: str = VARIANT, family: str = FAMILY) -> spec.Variant:
    return config.parse(variant, "own.yaml", config.read(family, "family.yaml"))


def refused(variant: str = VARIANT, family: str = FAMILY) -> str:
    with pytest.raises(UserError) as caught:
        merged(variant, family)
    return str(caught.value)


def test_a_variant_stands_over_the_parts_that_it_lists_and_these_over_what_all_share() -> None:
    pann, variant = config.find("pann"), merged()
    assert variant == replace(
        pann,
        name="fine_few",
        title="Fine and few",
        description="Few",
        default=False,
        classes=10,
        front_end=replace(pann.front_end, hop_length=160),
        outputs=(
            replace(pann.outputs[0], axes=("batch", 10)),
            replace(pann.outputs[1], axes=("batch", 384)),
            *pann.outputs[2:],
        ),
    )
    assert merged(VARIANT.replace("[fine, few]", "[few, fine]")).description == "Fine"
    assert merged(VARIANT + "description: Own\n").description == "Own"


def test_a_value_in_a_mapping_s_place_replaces_it_whole() -> None:
    assert "own.yaml: line 5, front_end: must be" in refused(VARIANT + "front_end: 12\n")
    variant = merged(VARIANT + "coreml: {float32_through: null}\n")
    assert variant.coreml.float32_through is None
    assert merged(VARIANT + "input: {axes: [batch, time]}\n").input.axes == ("batch", "time")


def test_an_output_of_the_variant_s_own_comes_after_those_of_the_family() -> None:
    more = FAMILY[FAMILY.index("  embedding:") : FAMILY.index("  framewise:")].replace("  embedding:", "  more:")
    variant = merged(VARIANT.replace("outputs: {embedding: {axes: [batch, 384]}}\n", f"outputs:\n{more}"))
    assert [output.name for output in variant.outputs][-2:] == ["melspec", "more"]


def test_complaints_name_the_file_that_has_the_fault() -> None:
    hop = FAMILY.replace("hop_length: 320", "hop: 320")
    assert refused(family=hop) == f"family.yaml: line {line_of(hop, 'hop: 320')}, front_end.hop: " + (
        "unknown key; remove it or correct its spelling"
    )
    part = FAMILY.replace("classes: 10", "classes: ten")
    assert f"family.yaml: line {line_of(part, 'classes: ten')}, classes: must be" in refused(family=part)
    own = VARIANT.replace("{axes: [batch, 384]}", "{axis: [batch, 384]}")
    assert refused(own) == "own.yaml: line 4, outputs.embedding.axis: unknown key; remove it or correct its spelling"
    both = refused(own, hop).split("; ")
    assert {complaint.split(":")[0] for complaint in both if "unknown key" in complaint} == {"family.yaml", "own.yaml"}


def test_what_several_files_say_together_is_placed_in_each() -> None:
    family = re.sub(r"      mixed: .*\n", "", FAMILY, count=1)
    part, shared = line_of(family, "clipwise: {"), line_of(family, "  clipwise:\n")
    assert f"family.yaml: line {part} and family.yaml: line {shared}, outputs.clipwise: has no" in refused(
        family=family
    )
    assert re.match(
        r"own\.yaml: line 1 and family\.yaml: line \d+ and family\.yaml: line \d+ and family\.yaml: line 1, title: "
        r"Field required",
        refused(VARIANT.replace("title: Fine and few\n", "")),
    )


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ("[fine, coarse]", "own.yaml: line 3, parts.1: is no part of family.yaml, which has fine, few"),
        ("[[fine]]", "own.yaml: line 3, parts.0: is no part"),
        ("fine", "own.yaml: line 3, parts: must be a list of names"),
        ("{fine: few}", "own.yaml: line 3, parts: must be a list of names"),
        ("", "own.yaml: line 3, parts: must be a list of names"),
    ],
)
def test_parts_that_are_none_are_refused(parts: str, expected: str) -> None:
    assert refused(VARIANT.replace("[fine, few]", parts)).startswith(expected)


def test_parts_of_a_family_are_keys() -> None:
    start = FAMILY.index("parts:")
    few = FAMILY[:start] + "parts: {fine: {}, few: 10}\n"
    assert (
        refused(family=few) == f"family.yaml: line {line_of(few, 'parts:')}, parts.few: must be keys with their values"
    )
    none = FAMILY[:start] + "parts: [fine, few]\n"
    assert refused(family=none).endswith(", parts: must be keys with their values")
    assert "which has none" in refused(family=FAMILY[:start])
    assert "parts.0: is no part" in complaint(GOOD + "parts: [fine]\n")
    nested = FAMILY.replace("    description: Few", "    parts: [fine]\n    description: Few")
    assert f"line {line_of(nested, 'parts: [fine]')}, parts: unknown key" in refused(family=nested)


def test_every_part_is_listed_by_a_variant() -> None:
    for folder in (entry for entry in resources.files("configs").iterdir() if entry.is_dir()):
        files = [file for file in folder.iterdir() if file.name.endswith(".yaml")]
        said = [config.read(file.read_text(encoding="utf-8"), file.name).mapping().get("parts") for file in files]
        parts = {name for value in said if value for name in value.mapping()}
        listed = {item.value for value in said if value and isinstance(value.value, list) for item in value.value}
        assert parts == listed, folder.name


@pytest.mark.parametrize(
    ("file", "called"), [("pann/other.yaml", "pann/mobilenetv1"), ("other/mobilenetv1.yaml", "pann/mobilenetv1")]
)
def test_a_file_of_another_name_or_folder_is_refused(file: str, called: str, tmp_path: Path) -> None:
    place = tmp_path / file
    place.parent.mkdir()
    place.write_text(GOOD, encoding="utf-8")
    with pytest.raises(UserError, match=rf"configs/{file}: is of the variant {called}; a file is called as"):
        list(config.of_family(place.parent))


def test_a_folder_is_read_with_what_its_variants_share(tmp_path: Path) -> None:
    folder = tmp_path / "pann"
    folder.mkdir()
    (folder / "family.yaml").write_text(FAMILY, encoding="utf-8")
    (folder / "fine_few.yaml").write_text(VARIANT, encoding="utf-8")
    assert list(config.of_family(folder)) == [merged()]
    (folder / "family.yaml").write_text(FAMILY.replace("fmin: 50", "fmin: low"), encoding="utf-8")
    with pytest.raises(UserError, match=r"^configs/pann/family\.yaml: line \d+, front_end\.fmin: "):
        list(config.of_family(folder))


def test_variants_do_not_change() -> None:
    variant: spec.Variant = config.find("pann")
    with pytest.raises(AttributeError):
        variant.classes = 1  # type: ignore[misc]
