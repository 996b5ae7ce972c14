"""Made folders, packages and metadata that lead elsewhere, hang, or are JSON but not what they should be."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from recipes.base import facts, files, labels, plain_json
from recipes.base.errors import UserError
from recipes.base.facts import Facts, from_strings, scores_faults
from recipes.base.shown import shown
from recipes.base.tensor import Input
from validators.coreml.contents import check_contents
from validators.coreml.errors import PackageError
from validators.reference import wav

pytestmark = pytest.mark.usefixtures("bounded")

Convert = Callable[..., Any]


def anew(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def big(path: Path, size: int = 20_000_000_000) -> None:
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.truncate(size)


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def zeros(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to("/dev/zero")


def elsewhere(path: Path) -> None:
    """The very bytes, outside the folder."""
    outside = Path(str(path).partition("/pann/")[0]) / "outside"
    path.rename(outside)
    path.symlink_to(outside)


def in_results(path: Path, value: bytes) -> None:
    anew(path, path.read_bytes().replace(b'"results": {', b'"results": {"x": ' + value + b", ", 1))


DEEP = b"[" * 100_000 + b"]" * 100_000
MANIFESTS: dict[str, Callable[[Path], object]] = {
    "a pipe": pipe,
    "zeros without end": zeros,
    "20 GB": big,
    "a link to itself elsewhere": elsewhere,
    "deep": lambda path: anew(path, DEEP),
    "deep under a key": lambda path: anew(path, b'{"results": ' + b'{"a":' * 90 + b"1" + b"}" * 90 + b"}"),
    "NaN": lambda path: in_results(path, b"NaN"),
    "infinity": lambda path: in_results(path, b"1e999"),
    "half a pair": lambda path: in_results(path, b'"\\ud800"'),
    "a number of many digits": lambda path: anew(path, b'{"sample_rate": ' + b"9" * 10_000 + b"}"),
    "text in UTF-16": lambda path: anew(path, "{}".encode("utf-16")),
    "a file above": lambda path: anew(path, path.read_bytes().replace(b'"labels.json"', b'"../labels.json"', 1)),
    "a rate of 0": lambda path: anew(path, path.read_bytes().replace(b'"sample_rate": 32000', b'"sample_rate": 0', 1)),
    "a negative size": lambda path: anew(path, path.read_bytes().replace(b'"size": ', b'"size": -1', 1)),
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_that_is_refused(name: str, folder: Path, convert: Convert) -> None:
    MANIFESTS[name](folder / "manifest.json")
    said = convert("check", folder)
    assert said.is_one_clear_error(), said


WEIGHTS = "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin"


@pytest.mark.parametrize("change", [pipe, zeros, big, elsewhere, lambda path: path.unlink()])
@pytest.mark.parametrize("name", ["model.onnx", WEIGHTS, "model.mlpackage/Manifest.json", "reference/rich.wav"])
def test_what_is_not_the_listed_file_fails_and_is_not_loaded(
    name: str, change: Callable[[Path], object], folder: Path, convert: Convert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convert.verify.check_in", lambda *_, **__: pytest.fail("something was loaded"))
    change(folder / name)
    said = convert("check", folder, "--json")
    assert (said.exit_code, said.stderr) == (1, "")
    failed = [check["case"] for check in json.loads(said.stdout)["checks"] if check["status"] == "failed"]
    assert failed == [name]


@pytest.mark.parametrize("make", [pipe, zeros, lambda path: path.symlink_to(path.parent), Path.touch])
def test_what_is_not_in_the_list_fails(make: Callable[[Path], object], folder: Path, convert: Convert) -> None:
    make(folder / "model.mlpackage" / "more")
    said = convert("check", folder, "--json")
    assert (said.exit_code, said.stderr) == (1, "")
    assert "model.mlpackage/more" in said.stdout


def listed(folder: Path, *names: str) -> None:
    """The manifest says that the files are as they are now."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    for name in names:
        content = (folder / name).read_bytes()
        manifest["files"][name] = {"size": len(content), "sha256": sha256(content).hexdigest()}
    anew(path, json.dumps(manifest).encode())


def test_a_file_that_is_called_after_nothing_fails_and_the_others_go_on(folder: Path, convert: Convert) -> None:
    (folder / "c").mkdir()
    (folder / "c" / "strange").write_bytes(b"\x7fELF")
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    strange = {"format": "c", "input": "waveform", "precision": "fp32", "size": None, "settings": {"binary": []}}
    # Before the others, which are looked at in this order.
    manifest["artifacts"] = {"c/strange": strange, **manifest["artifacts"]}
    anew(path, json.dumps(manifest).encode())
    listed(folder, "c/strange")
    said = convert("check", folder, "--json")
    assert (said.exit_code, said.stderr) == (1, "")
    checks = json.loads(said.stdout)["checks"]
    (failed,) = (check for check in checks if check["status"] == "failed")
    assert (failed["artifact"], failed["kind"]) == ("c/strange", "file")
    assert "is called after no program of C" in failed["message"]
    passed = {check["artifact"] for check in checks if check["status"] == "passed" and check["kind"] == "values"}
    assert passed == {"model.onnx", "model.mlpackage"}


def _with_many(folder: Path, artifacts: int, count: int) -> None:
    """So many files that are not there, of which the last ones are artifacts."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    names = [f"{number}.onnx" for number in range(count)]
    manifest["files"] |= {name: {"size": 1, "sha256": "0" * 64} for name in names}
    manifest["artifacts"] |= dict.fromkeys(names[-artifacts:], manifest["artifacts"]["model.onnx"])
    anew(path, json.dumps(manifest).encode())


def test_a_manifest_of_30_000_artifacts_is_refused_at_once(folder: Path, refused: Callable[..., str]) -> None:
    _with_many(folder, 30_000, 60_000)
    assert "artifacts: Dictionary should have at most 256 items" in refused("check", folder)


def test_a_manifest_of_60_000_files_is_looked_through_at_once(
    folder: Path, commands: Any, noted: Callable[[str, object], None]
) -> None:
    _with_many(folder, 250, 60_000)
    ended = commands.run("check", folder)
    noted("seconds", ended.seconds)
    noted("peak", ended.peak)
    assert ended.exit_code == 1
    assert "60000 failed" in ended.stdout
    assert ended.peak < 1_500_000_000


REFERENCES: dict[str, tuple[str, str]] = {
    "NaN": ('"front_end": {', '"front_end": {"x": NaN, '),
    "infinity": ('"front_end": {', '"front_end": {"x": 1e999, '),
    "half a pair": ('"front_end": {', '"front_end": {"x": "\\ud800", '),
    "deep": ('"front_end": {', f'"front_end": {{"x": {"[" * 60}{"]" * 60}, '),
    "an hour of sound": ("[\n   1,\n   32000\n  ]", "[1, 115200000]"),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_reference_that_is_refused(name: str, folder: Path, convert: Convert) -> None:
    path = folder / "reference.json"
    before, after = REFERENCES[name]
    content = path.read_text(encoding="utf-8")
    if name == "an hour of sound":
        data = json.loads(content)
        data["cases"][0]["input"]["waveform"]["shape"] = [1, 115_200_000]
        content = json.dumps(data)
    else:
        assert before in content
        content = content.replace(before, after, 1)
    anew(path, content.encode())
    listed(folder, "reference.json")
    said = convert("check", folder)
    assert said.is_one_clear_error(), said


def test_a_reference_sound_of_3_gb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    import numpy as np

    wav.write(tmp_path / "it.wav", np.zeros(100, np.float32), 32000)
    with pytest.raises(UserError, match="has 100 samples, not 99"):
        wav.read(tmp_path / "it.wav", 32000, 99)
    os.truncate(tmp_path / "it.wav", 3_000_000_000)
    with pytest.raises(UserError, match="at most"):
        wav.read(tmp_path / "it.wav", 32000, 100)


# Packages


def package(folder: Path, items: object) -> Path:
    whole = folder / "it.mlpackage"
    (whole / "Data" / "com.apple.CoreML").mkdir(parents=True)
    (whole / "Data" / "com.apple.CoreML" / "model.mlmodel").touch()
    text = items if isinstance(items, str) else json.dumps({"itemInfoEntries": items, "rootModelIdentifier": "a"})
    (whole / "Manifest.json").write_text(text)
    return whole


INSIDE = {"path": "com.apple.CoreML/model.mlmodel"}


@pytest.mark.parametrize(
    "items",
    [
        {"a": {"path": "../../../outside/model.mlmodel"}},
        {"a": {"path": "/etc/passwd"}},
        {"a": INSIDE, "b": {"path": "../Manifest.json"}},
        {"a": {"path": "com.apple.CoreML/../../../it"}},
        {"a": {"path": "a\0b"}},
        {"a": {"path": None}},
        {"a": {"path": ["a"]}},
        {"a": {}},
        {"a": "path"},
        {"a": {"path": "nowhere"}},
        [],
        None,
        "[]",
        "{",
        "",
        "[" * 100_000,
        '{"itemInfoEntries": {"a": {"path": "\\ud800"}}}',
    ],
    ids=range(17),
)
def test_a_package_whose_list_leads_nowhere(items: object, tmp_path: Path) -> None:
    with pytest.raises(PackageError) as caught:
        check_contents(package(tmp_path, items))
    assert shown(str(caught.value)).isprintable()


@pytest.mark.parametrize("change", [pipe, zeros])
@pytest.mark.parametrize("name", ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel", "Data/more"])
def test_a_package_with_more_than_files(change: Callable[[Path], object], name: str, tmp_path: Path) -> None:
    whole = package(tmp_path, {"a": INSIDE})
    check_contents(whole)
    change(whole / name)
    with pytest.raises(PackageError, match="holds files alone"):
        check_contents(whole)


@pytest.mark.parametrize("change", [pipe, zeros])
@pytest.mark.parametrize(
    ("command", "name"), [("run", "it.onnx"), ("run", "it.mlpackage"), ("inspect", "it.mlpackage")]
)
def test_what_is_no_artifact_is_not_waited_for(
    change: Callable[[Path], object], command: str, name: str, tmp_path: Path, convert: Convert
) -> None:
    change(tmp_path / name)
    said = convert(command, tmp_path / name, *([tmp_path / "it.wav"] if command == "run" else []))
    assert said.is_one_clear_error()
    assert "a named pipe" in said.stderr or "a device" in said.stderr


@pytest.mark.parametrize("change", [pipe, zeros, big])
def test_what_is_no_onnx_file_is_not_read(change: Callable[[Path], object], tmp_path: Path) -> None:
    from validators.onnx_file import check_onnx_file
    from validators.runners import onnxruntime, tract
    from validators.runners.runner import RunnerError

    path = tmp_path / "it.onnx"
    change(path)
    for runtime in (onnxruntime, tract):
        with pytest.raises(RunnerError, match=r"which is not read|at most"):
            runtime.open_file(path)
    (check,) = check_onnx_file(path, Input("x", ("batch", "samples"), "none", least=1, default=8, most=64), (), 17)
    assert check.status == "failed"


def test_a_package_that_leads_out_is_not_followed(folder: Path, convert: Convert) -> None:
    """To a whole model that lies beside, under the checksums of a manifest that lists all that is inside."""
    spec = folder / "model.mlpackage" / "Data" / "com.apple.CoreML" / "model.mlmodel"
    (folder.parent / "outside.mlmodel").write_bytes(spec.read_bytes())
    path = folder / "model.mlpackage" / "Manifest.json"
    anew(path, path.read_bytes().replace(b"com.apple.CoreML/model.mlmodel", b"../../../outside.mlmodel"))
    listed(folder, "model.mlpackage/Manifest.json")
    said = convert("inspect", folder / "model.mlpackage")
    assert said.is_one_clear_error(), said
    assert "leads out of the package" in said.stderr


# What artifacts say of themselves

GOOD = Facts("pann", "it", "custom", "0" * 64, 32000, 9920, "logits", "logit", ("a", "b"), "", "", "", "1").to_strings()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("labels", "[]"),
        ("labels", "{}"),
        ("labels", '"labels"'),
        ("labels", "3"),
        ("labels", "[1, 2]"),
        ("labels", '[["a"], ["b"]]'),
        ("labels", "[" * 100_000),
        ("labels", "[" * 50 + "]" * 50),
        ("labels", '["a", "\\ud800"]'),
        ("labels", "[NaN]"),
        ("labels", json.dumps(["x" * 10_000_000])),
        ("labels", ""),
        ("sample_rate", "0"),
        ("sample_rate", "-32000"),
        ("sample_rate", "1000000000000"),
        ("sample_rate", "9" * 5000),
        ("sample_rate", "32000.0"),
        ("sample_rate", "fast"),
        ("least_size", "0"),
        ("least_size", "-1"),
        ("least_size", "1" * 30),
        ("scores_kind", "embedding"),
        ("scores_kind", ""),
        ("weights", "stolen"),
        ("peak", "0"),
        ("peak", "nan"),
        ("peak", "inf"),
        ("peak", "loud"),
    ],
    ids=range(28),
)
def test_metadata_that_is_not_what_it_should_be(key: str, value: str) -> None:
    assert from_strings(GOOD, "it").labels == ("a", "b")
    with pytest.raises(UserError, match="its metadata is not what"):
        from_strings(GOOD | {key: value}, "it")


@pytest.mark.parametrize("key", sorted(GOOD))
def test_metadata_that_is_missing(key: str) -> None:
    with pytest.raises(UserError, match="its metadata is not what"):
        from_strings({name: value for name, value in GOOD.items() if name != key}, "it")


def test_labels_and_scores_are_held_to_the_outputs() -> None:
    found = from_strings(GOOD, "it")
    assert list(scores_faults(found, {"logits": 2})) == []
    assert "names 2 classes" in next(scores_faults(found, {"logits": 3}))
    assert "names 2 classes" in next(scores_faults(found, {"logits": None}))
    assert "none of its outputs" in next(scores_faults(replace(found, scores="x"), {"logits": 2}))
    assert facts.MOST_RATE == 768_000


# Files and text


@pytest.mark.parametrize("make", [pipe, zeros, big, Path.mkdir, lambda path: path.symlink_to(path)])
def test_what_is_no_file_of_labels(make: Callable[[Path], object], tmp_path: Path) -> None:
    make(tmp_path / "labels.txt")
    with pytest.raises(UserError) as caught:
        labels.read(tmp_path / "labels.txt", 3)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("make", [pipe, zeros])
def test_what_is_no_file_of_settings(make: Callable[[Path], object], tmp_path: Path) -> None:
    from recipes.base import plain_yaml

    make(tmp_path / "args.yml")
    with pytest.raises(UserError, match="which is not read"):
        plain_yaml.text_of(tmp_path / "args.yml")


@pytest.mark.parametrize("value", ['!!int ""', '!!float ""', '!!int "_"', "!!float '__'", "!!bool ''", "!!int ':'"])
def test_what_a_tag_says_of_nothing_is_refused(value: str, tmp_path: Path, convert: Convert) -> None:
    path = tmp_path / "it.yaml"
    path.write_text(f"n_fft: {value}\n")
    said = convert("recipe", "mel_whisper80", "--config", path, "-o", tmp_path / "made")
    assert said.is_one_clear_error("line 1: "), said
    assert [entry.name for entry in tmp_path.iterdir()] == ["it.yaml"]


def test_a_file_that_grows_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "it").write_bytes(bytes(100))
    monkeypatch.setattr(files, "_refuse", lambda *_: None)
    with pytest.raises(UserError, match="grows while it is read"):
        files.content(tmp_path / "it", 99)


def test_json_of_any_depth_and_length_is_read_or_refused() -> None:
    assert plain_json.read('{"a": [1, 2.5, null, true, "\\ud83d\\ude00"]}') == {"a": [1, 2.5, None, True, "😀"]}
    for text in ("NaN", "[Infinity]", "[1e999]", '"\\udc00"', '{"\\ud800": 1}', "[" * 30 + "]" * 30, "[" * 10**6, ""):
        with pytest.raises(ValueError, match=r"."):
            plain_json.read(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[31mred\x1b[0m\x07", r"\x1b[31mred\x1b[0m\x07"),
        ("\x9b1m\x85", r"\x9b1m\x85"),
        ("\u202eevil\u202c \u2066x\u2069 \u200e\u200f\u061c", r"\u202eevil\u202c \u2066x\u2069 \u200e\u200f\u061c"),
        ("\ud800 \udcff", r"\ud800 \udcff"),
        ("\u2028\u2029\ufeff\u200b", r"\u2028\u2029\ufeff\u200b"),
        ("\U000e0041\ue000", r"\U000e0041\ue000"),
        ("Möwe 海鷗 طائر 👩‍🚒 क्‍ष a\xa0b", "Möwe 海鷗 طائر 👩‍🚒 क्‍ष a\xa0b"),
    ],
)
def test_text_of_files_as_people_see_it(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_long_names_are_cut_in_the_middle() -> None:
    said = shown("in " + "a" * 10_000 + "end")
    assert said.startswith("in aaaa")
    assert said.endswith("aend")
    assert "[... 9703 characters ...]" in said
    assert len(shown("word " * 10_000_000)) < 5000


EVIL = "x\n\x1b[31merror: \u202efdp"


@pytest.mark.parametrize("name", [b"\xff.txt", "\u202e\x9b31m.txt".encode()], ids=["no text", "controls"])
def test_json_on_stdout_is_plain_ascii(folder: Path, name: bytes, convert: Convert) -> None:
    Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).touch()
    said = convert("check", folder, "--json")
    assert said.exit_code == 1
    assert said.stdout.isascii()
    assert os.fsdecode(name) in {check["case"] for check in json.loads(said.stdout)["checks"]}


def test_names_of_files_cannot_look_like_two_errors(convert: Convert, tmp_path: Path) -> None:
    for name in (EVIL, EVIL + ".onnx", EVIL + ".wav", "\udcff"):
        for words in (["check"], ["inspect"], ["compare", tmp_path], ["recipe", "pann", "--checkpoint"]):
            assert convert(*words, tmp_path / name).is_one_clear_error()
    (tmp_path / EVIL).write_bytes(b"")
    assert convert("recipe", "pann", "--checkpoint", tmp_path / EVIL).is_one_clear_error()
