import re
import time
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
    "key twice deep down": ("  n_mels: 64", "  n_fft: 64", "the key 'n_fft' stands twice"),
    "key that is a list": ("title:", "[a, b]: c\ntitle:", "a key must be a plain name"),
    "merge key": ("title:", "<<: {default: false}\ntitle:", "a key must be a plain name"),
    "python object": (
        "title: PANN MobileNetV1",
        "title: !!python/object/apply:os.system [true]",
        "'python/object/apply:os.system', which is not allowed",
    ),
    "python name": ("title: PANN MobileNetV1", "title: !!python/name:os.system", "'python/name:os.system'"),
    "python tuple where a list is due": (
        "axes: [batch, samples]",
        "axes: !!python/tuple [batch, samples]",
        "python/tuple",
    ),
    "own tag": ("title: PANN", "title: !title PANN", "'!title', which is not allowed"),
    "tag that the value belies": ("classes: 527", "classes: !!int many", "'many' is not what its tag says"),
    "scalar tagged as mapping": ("default: true", "default: !!map true", "'true' is not what its tag says"),
    "date": ("title: PANN MobileNetV1", "title: 2020-12-05", "is read as 'timestamp'"),
    "no date either": ("title: PANN MobileNetV1", "title: 2020-13-45", "is read as 'timestamp'"),
    "number that Python refuses": ("classes: 527", f"classes: {'9' * 5000}", "is not what its tag says"),
    "alias": ("title: PANN MobileNetV1", "title: *name", "aliases are not allowed"),
    "text for a number": ("classes: 527", 'classes: "527"', "classes: Input should be a valid integer"),
    "truth for a number": ("classes: 527", "classes: yes", "classes: Input should be a valid integer"),
    "fraction for a whole number": ("classes: 527", "classes: 527.0", "classes: Input should be a valid integer"),
    "number for a text": ("title: PANN MobileNetV1", "title: 1", "title: Input should be a valid string"),
    "nothing for a text": ("title: PANN MobileNetV1", "title:", "title: Input should be a valid string"),
    "list for a mapping": ("source:\n", "source: []\nsourced:\n", "source:"),
    "zero": ("classes: 527", "classes: 0", "classes: Input should be greater than 0"),
    "odd DFT": ("n_fft: 1024", "n_fft: 1023", "front_end.n_fft: Input should be a multiple of 2"),
    "infinite frequency": ("fmax: 14000", "fmax: .inf", "front_end.fmax: must be finite"),
    "NaN tolerance": ("{atol: ", "{atol: .nan, was: ", "outputs.0.tolerances.fp32.atol: Input should be greater"),
    "infinite tolerance": ("{atol: ", "{atol: .inf, was: ", "outputs.0.tolerances.fp32.atol: must be finite"),
    "negative tolerance": (
        "{atol: ",
        "{atol: -1.0e-4, was: ",
        "outputs.0.tolerances.fp32.atol: Input should be greater",
    ),
    "tolerance that YAML reads as text": ("{atol: ", "{atol: 1e-4, was: ", "atol: Input should be a valid number"),
    "unknown precision": ("      mixed: {", "      fp8: {", "outputs.0.tolerances.fp8"),
    "unknown kind": ("kind: probability", "kind: chance", "outputs.0.kind: Input should be 'probability'"),
    "output axis that is no name": ("axes: [batch, 527]", "axes: [a-b, 527]", "outputs.0.axes.0"),
    "path for a file name": ("file: Mobile", "file: ../../Mobile", "source.file: String should match"),
    "malformed checksum": ("md5: a4", "md5: A4", "source.md5: String should match"),
    "nesting": ("title: PANN MobileNetV1", f"title: {'[' * 300}{']' * 300}", "nested over"),
    "bottomless nesting": ("title: PANN MobileNetV1", f"title: {'[' * 100_000}", "nested over"),
    "unbalanced bracket": ("axes: [batch, samples]", "axes: [batch, samples", "not valid YAML"),
    "null character": ("title: PANN", "title: \0PANN", "not valid YAML"),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_refuses_and_says_where(case: str) -> None:
    old, new, expected = BAD_VALUES[case]
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    start = time.perf_counter()
    message = complaint(text)
    assert time.perf_counter() - start < 2
    assert message.startswith("some.yaml: ")
    assert expected in message
    if case == "null character":
        return  # PyYAML's reader knows the position in the file alone.
    first = line_of(text, new)
    around = range(first, first + new.count("\n") + 1)
    assert {int(line) for line in re.findall(r"\bline (\d+)", message)} & set(around), message


def test_what_is_left_out_is_named() -> None:
    assert "line 1, classes: Field required" in complaint(GOOD.replace("classes: 527\n", ""))
    precision = complaint(re.sub(r"      mixed: .*\n", "", GOOD, count=1))
    assert f"line {line_of(GOOD, '- name: clipwise')}, outputs.0: has no tolerance for mixed" in precision
    checksum = complaint(re.sub(r"  md5: .*\n", "", GOOD))
    assert f"line {line_of(GOOD, 'url:')}, source: needs size and md5 or sha256, or none of them" in checksum


def test_bounds_that_cross() -> None:
    message = complaint(GOOD.replace("least: 9920", "least: 990000"))
    assert f"line {line_of(GOOD, 'name: waveform')}, input: needs least <= default" in message


def test_all_complaints_are_listed() -> None:
    message = complaint(GOOD.replace("classes: 527", "classes: many").replace("fmin: 50", "fmin: low"))
    assert "classes:" in message
    assert "front_end.fmin:" in message


@pytest.mark.parametrize("text", ["", "\n", "# nothing but a comment\n"])
def test_empty_file(text: str) -> None:
    assert "the file is empty" in complaint(text)


@pytest.mark.parametrize("family", ["base", "nothing", "../pann", "[pann]", ""])
def test_unknown_family(family: str) -> None:
    message = complaint(GOOD.replace("family: pann", f"family: {family}"))
    assert "'family' must be one of" in message
    assert "pann" in message


@pytest.mark.parametrize("text", ["- family: pann\n", "pann\n", "name: pann\n"])
def test_no_family(text: str) -> None:
    assert "'family' must be one of" in complaint(text)


def test_two_documents() -> None:
    assert "expected a single document" in complaint(GOOD + "---\n" + GOOD)


def test_names_must_agree() -> None:
    assert "names the output 'nothing'" in complaint(GOOD.replace("scores: clipwise", "scores: nothing"))
    assert "names the output 'nothing'" in complaint(
        GOOD.replace("float32_through: melspec", "float32_through: nothing")
    )
    assert "two outputs of one name" in complaint(GOOD.replace("- name: embedding", "- name: clipwise"))


def test_finds_by_name_and_by_family() -> None:
    assert config.find("mobilenetv1").name == "mobilenetv1"
    assert config.find("pann").name == "mobilenetv1"
    with pytest.raises(UserError, match=r"no recipe 'yamnet'.*mobilenetv1.*pann"):
        config.find("yamnet")


def test_every_file_is_called_as_its_variant_and_names_are_unique() -> None:
    variants = config.variants()
    assert variants
    names = [variant.name for variant in variants] + sorted({variant.family for variant in variants})
    assert len(set(names)) == len(names)
    for family in {variant.family for variant in variants}:
        assert sum(variant.default for variant in variants if variant.family == family) == 1


def test_a_file_of_another_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(GOOD, encoding="utf-8")
    monkeypatch.setattr(config, "_files", lambda: [file])
    config.variants.cache_clear()
    try:
        with pytest.raises(UserError, match=r"other\.yaml: names the variant 'mobilenetv1'"):
            config.variants()
    finally:
        config.variants.cache_clear()


def test_variants_do_not_change() -> None:
    variant: spec.Variant = config.find("pann")
    with pytest.raises(AttributeError):
        variant.classes = 1  # type: ignore[misc]
