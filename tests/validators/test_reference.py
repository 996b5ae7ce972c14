"""The reference dump: written the same every time, read back exactly, refused when anything in it is off."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from recipes.base.config import find
from recipes.base.errors import UserError
from recipes.base.sound import rich
from recipes.base.tensor import Input
from validators import reference
from validators.compare import compare_outputs
from validators.reference import SoundCase, encode, wav
from validators.reference.format import MOST_BYTES

PANN = find("pann")
CLASSES, MELS, HOP = 31, 13, 100
SIZES = {"framewise": CLASSES, "melspec": MELS}
BY_NAME = {output.name: output for output in PANN.outputs}
VARIANT = replace(
    PANN,
    classes=CLASSES,
    input=replace(PANN.input, least=320, default=640, most=64000),
    outputs=(
        replace(BY_NAME["clipwise"], axes=("batch", CLASSES)),
        replace(BY_NAME["framewise"], axes=("batch", "frames", CLASSES)),
        replace(BY_NAME["melspec"], axes=("batch", "frames", MELS)),
    ),
)
HEAD = reference.header(
    VARIANT, weights="synthetic", checkpoint="weights.pth", sha256="0" * 64, versions={"soundport": "0.1.0"}
)
BUILT_IN = (
    "rich",
    "silence",
    "full_scale_square",
    "full_scale_tone",
    "impulse",
    "very_quiet_noise",
    "batch_of_2",
    "odd_length",
    "shortest",
)

Arrays = dict[str, np.ndarray]


def run(inputs: Arrays) -> Arrays:
    """Numbers of all magnitudes that depend on the sound, in the shapes of a tagger."""
    waveform = inputs["waveform"]
    frames = waveform[:, : waveform.shape[1] // HOP * HOP].reshape(len(waveform), -1, HOP)
    framewise = np.exp(30 * frames[..., :CLASSES]).astype(np.float32)
    return {
        "clipwise": framewise.max(axis=1),
        "framewise": framewise,
        "melspec": -100 + frames[..., :MELS].astype(np.float32),
    }


def cases() -> list[SoundCase]:
    one, two = rich(700, 32000, 1)[None], np.stack([rich(501, 32000, seed) for seed in (2, 3)])
    return [SoundCase("one", "A sound", one, True), SoundCase("two", "Two sounds", two, True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    reference.write(tmp_path, HEAD, cases(), run)
    return tmp_path


def _tampered(folder: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """The message with which the reference is refused after a change to its JSON."""
    path = folder / "reference.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    return _refusal(folder)


def _refusal(folder: Path) -> str:
    with pytest.raises(UserError) as refusal:
        reference.read(folder)
    message = str(refusal.value)
    assert str(folder) in message
    assert "\n" not in message
    return message


def test_what_is_written_is_read_back_bit_for_bit(folder: Path) -> None:
    found = reference.read(folder)
    assert found.header == HEAD
    assert [(case.name, case.description) for case in found.cases] == [("one", "A sound"), ("two", "Two sounds")]
    for case, original in zip(found.cases, cases(), strict=True):
        np.testing.assert_array_equal(case.inputs["waveform"], original.waveform)
        for name, array in run({"waveform": original.waveform}).items():
            sampled = case.expected[name]
            assert (sampled.shape, sampled.stride, sampled.values.dtype) == (array.shape, 1, array.dtype)
            assert sampled.values.tobytes() == array.tobytes()


def test_the_same_input_gives_the_same_bytes(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    reference.write(other, HEAD, cases(), run)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
    assert names == ["reference.json", "reference/one.wav", "reference/two.1.wav", "reference/two.2.wav"]
    for name in names:
        assert (folder / name).read_bytes() == (other / name).read_bytes()


def test_numbers_are_the_shortest_that_round_trip(tmp_path: Path) -> None:
    numbers = np.array([[0.1, 1e-45, -0.0, 3.4028235e38, 1e-05, 16777216.0]], np.float32)
    fixed = replace(HEAD, outputs=(replace(HEAD.outputs[0], axes=("batch", 6)),))
    reference.write(tmp_path, fixed, cases()[:1], lambda _: {"clipwise": numbers})
    assert '"values": [0.1,1e-45,-0.0,3.4028235e+38,1e-05,1.6777216e+07]' in (tmp_path / "reference.json").read_text()
    (case,) = reference.read(tmp_path).cases
    assert case.expected["clipwise"].values.tobytes() == numbers.tobytes()


def test_a_case_takes_one_line(folder: Path) -> None:
    lines = (folder / "reference.json").read_text().splitlines()
    assert [json.loads(line.rstrip(","))["name"] for line in lines if line.startswith('{"name"')] == ["one", "two"]


def test_a_reference_can_be_compared_with(folder: Path) -> None:
    tolerances = {output.name: output.tolerances["fp32"] for output in VARIANT.outputs}
    for case in reference.read(folder).cases:
        checks = compare_outputs(
            case.expected,
            run(dict(case.inputs)),
            VARIANT.outputs,
            tolerances,
            artifact="m",
            runtime="r",
            precision="fp32",
            case=case.name,
        )
        assert {check.status for check in checks} == {"passed"}


def test_the_documented_example_is_a_reference(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference-format.md").read_text(encoding="utf-8")
    (tmp_path / "reference.json").write_text(page.split("```json\n")[1].split("```")[0])
    (tmp_path / "reference").mkdir()
    wav.write(tmp_path / "reference" / "doorbell.wav", rich(1280, 32000), 32000)
    (case,) = reference.read(tmp_path).cases
    assert case.expected["melspec"].stride in encode._strides((1, 5, 3))
    assert set(asdict(PANN.front_end)) == set(reference.read(tmp_path).header.front_end)
    for name in BUILT_IN:
        assert f"| `{name}` |" in page


# Sampling


def _long(samples: int = 32000) -> SoundCase:
    return SoundCase("long", "A sound file", rich(samples, 32000, 5)[None], whole=False)


def _content(answered: list[SoundCase], most_bytes: int) -> bytes:
    entries = [
        encode.Answered(
            case.name, case.description, case.whole, case.waveform.shape, [], {}, run({"waveform": case.waveform})
        )
        for case in answered
    ]
    return encode.encode(HEAD, entries, most_bytes)


def _encoded(answered: list[SoundCase], most_bytes: int) -> dict[str, Any]:
    content = _content(answered, most_bytes)
    assert len(content) < most_bytes
    data = json.loads(content)
    return {case["name"]: case["outputs"] for case in data["cases"]}


def test_what_fits_is_not_sampled() -> None:
    outputs = _encoded([*cases(), _long()], MOST_BYTES)
    assert {entry["stride"] for case in outputs.values() for entry in case.values()} == {1}


@pytest.mark.parametrize("most_bytes", [100_000, 50_000, 30_000])
def test_sound_files_are_sampled_so_that_all_fits(most_bytes: int) -> None:
    outputs = _encoded([*cases(), _long()], most_bytes)
    assert {entry["stride"] for name in ("one", "two") for entry in outputs[name].values()} == {1}
    answers = run({"waveform": _long().waveform})
    sampled = outputs["long"]
    assert sampled["framewise"]["stride"] > 1
    for name, entry in sampled.items():
        array = answers[name]
        assert entry["shape"] == list(array.shape)
        assert all(gcd(entry["stride"], size) == 1 for size in array.shape)
        assert np.array(entry["values"], np.float32).tobytes() == array.reshape(-1)[:: entry["stride"]].tobytes()
        visited = np.unravel_index(np.arange(0, array.size, entry["stride"]), array.shape)
        assert [len(set(indices.tolist())) for indices in visited] == list(array.shape)


def test_no_smaller_stride_would_have_fitted() -> None:
    arrays = run({"waveform": _long().waveform})

    def numbers(strides: dict[str, int]) -> int:
        return sum(len(str(x)) + 1 for name, k in strides.items() for x in arrays[name].reshape(-1)[::k])

    most_bytes = 50_000
    outputs = _encoded([_long()], most_bytes)["long"]
    chosen = {name: outputs[name]["stride"] for name in ("framewise", "melspec")}
    allowed = {name: [k for k in range(1, size) if gcd(k, 320 * size) == 1] for name, size in SIZES.items()}
    before = max(max(k for k in allowed[name] if k < chosen[name]) for name in chosen)
    smaller = {name: min(k for k in allowed[name] if k >= before) for name in chosen}
    assert smaller != chosen
    rest = len(_content([_long()], most_bytes)) - numbers(chosen)
    assert numbers(smaller) + rest >= most_bytes


@pytest.mark.parametrize(
    ("shape", "strides"), [((1, 527), [1]), ((2, 527), [1]), ((1, 9, 4), [1]), ((1, 100, 7), [1, 3])]
)
def test_strides_of_small_arrays(shape: tuple[int, ...], strides: list[int]) -> None:
    assert encode._strides(shape) == strides


def test_too_many_sound_files_are_refused_with_how_many_to_drop() -> None:
    many = [replace(_long(), name=f"long{index}") for index in range(9)]
    with pytest.raises(UserError, match=r"answers to 9 sounds do not fit .* drop (\d) of the audio files") as refusal:
        _encoded([*cases(), *many], 60_000)
    dropped = int(str(refusal.value).split("drop ")[1][0])
    assert 0 < dropped < 9
    _encoded([*cases(), *many[dropped:]], 60_000)
    with pytest.raises(UserError):
        _encoded([*cases(), *many[dropped - 1 :]], 60_000)


def test_whole_cases_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UserError, match="kept whole alone"):
        _encoded(cases(), 3000)


def test_the_built_in_cases_of_pann_are_whole_and_leave_room(tmp_path: Path) -> None:
    head = reference.header(PANN, weights="published", checkpoint="a.pth", sha256="0" * 64, versions={})
    random = np.random.RandomState(0)

    def answers(inputs: Arrays) -> Arrays:
        batch, samples = inputs["waveform"].shape
        sizes: dict[str | int, int] = {"batch": batch, "frames": 1 + samples // 320}
        shapes = {o.name: [sizes.get(axis, axis) for axis in o.axes] for o in PANN.outputs}
        return {name: random.uniform(-1, 0, shape).astype(np.float32) for name, shape in shapes.items()}  # type: ignore[arg-type]

    reference.write(tmp_path, head, reference.built_in(PANN), answers)
    assert (tmp_path / "reference.json").stat().st_size < 3_500_000
    assert {entry.stride for case in reference.read(tmp_path).cases for entry in case.expected.values()} == {1}


# Refusals when writing


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_answers_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    def broken(inputs: Arrays) -> Arrays:
        outputs = run(inputs)
        outputs["melspec"][0, 1, 2] = value
        return outputs

    with pytest.raises(UserError, match="case one: the model answers NaN or infinity in 'melspec'"):
        reference.write(tmp_path, HEAD, cases(), broken)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("names", [("same", "same"), ("Same", "same")])
def test_two_cases_of_one_name_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    doubles = [replace(case, name=name) for case, name in zip(cases(), names, strict=True)]
    with pytest.raises(UserError, match="two cases are called 'same'"):
        reference.write(tmp_path, HEAD, doubles, run)


@pytest.mark.parametrize(
    "broken",
    [
        lambda inputs: {name: array for name, array in run(inputs).items() if name != "melspec"},
        lambda inputs: run(inputs) | {"bonus": np.zeros(1, np.float32)},
        lambda inputs: run(inputs) | {"clipwise": np.zeros((1, 6))},
        lambda inputs: run(inputs) | {"clipwise": np.zeros((0, 6), np.float32)},
    ],
    ids=["missing", "extra", "float64", "empty"],
)
def test_a_model_unlike_its_header_is_a_fault_of_the_caller(tmp_path: Path, broken: Callable[[Arrays], Arrays]) -> None:
    with pytest.raises(ValueError, match=r"output|header"):
        reference.write(tmp_path, HEAD, cases(), broken)


# Refusals when reading


def test_a_missing_and_a_trimmed_file_are_refused(folder: Path) -> None:
    path = folder / "reference.json"
    path.write_bytes(path.read_bytes()[:-100])
    assert "no JSON, or only a part of it" in _refusal(folder)
    path.write_bytes(b"\xff\xfe\x00")
    assert "no JSON" in _refusal(folder)
    path.write_text("[" * 100_000)
    assert "no JSON" in _refusal(folder)
    path.unlink()
    assert "is missing" in _refusal(folder)


@pytest.mark.parametrize("schema", ["soundport.reference/2", "soundport.reference/0", "", 1, None])
def test_another_version_is_refused_and_says_so(folder: Path, schema: object) -> None:
    message = _tampered(folder, lambda data: data.update(schema=schema, cases="in another layout"))
    assert f"has the schema {schema!r}, and this version reads 'soundport.reference/1'" in message


def test_json_of_another_kind_is_refused(folder: Path) -> None:
    (folder / "reference.json").write_text("[1, 2]")
    assert "has the schema None" in _refusal(folder)


def _first(data: dict[str, Any]) -> dict[str, Any]:
    case = data["cases"][0]
    assert isinstance(case, dict)
    return case


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.pop("sample_rate"), "sample_rate"),
        (lambda d: d.update(sample_rate="32000"), "sample_rate"),
        (lambda d: d.update(sample_rate=16000), "one.wav: has 1 channels of 32-bit floats at 32000 Hz"),
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d.update(cases=[]), "cases"),
        (lambda d: d.update(outputs=[]), "outputs"),
        (lambda d: d["checkpoint"].update(sha256="0"), "checkpoint, sha256"),
        (lambda d: _first(d).update(name="../one"), "case ../one, name"),
        (lambda d: _first(d).update(name="TWO"), "two cases are called 'two'"),
        (lambda d: _first(d)["outputs"].pop("melspec"), "case one: has the input waveform and the outputs clipwise"),
        (lambda d: _first(d)["outputs"].update(bonus=_first(d)["outputs"]["melspec"]), "bonus"),
        (lambda d: _first(d)["input"].update(other=_first(d)["input"].pop("waveform")), "has the input other"),
        (lambda d: _first(d)["outputs"]["melspec"]["values"].pop(), "case one: melspec: has 90 values"),
        (lambda d: _first(d)["outputs"]["melspec"]["values"].append(0), "case one: melspec: has 92 values"),
        (lambda d: _first(d)["outputs"]["melspec"].update(stride=2), "stride 2 needs 46"),
        (lambda d: _first(d)["outputs"]["melspec"].update(stride=0), "case one, outputs, melspec, stride"),
        (lambda d: _first(d)["outputs"]["melspec"].update(shape=[]), "case one, outputs, melspec, shape"),
        (lambda d: _first(d)["outputs"]["melspec"].update(shape=[1, -7, -13]), "case one, outputs, melspec, shape"),
        (lambda d: _first(d)["outputs"]["melspec"].update(shape=[1, 13, 7]), "axis 2 is 7, not 13"),
        (lambda d: _first(d)["outputs"]["melspec"].update(shape=[7, 13]), "has 2 axes, not 3"),
        (lambda d: _first(d)["outputs"]["melspec"].update(shape=[7, 1, 13]), "batch is"),
        (lambda d: _first(d)["outputs"]["melspec"].update(shape=[1, 10**30, 13], stride=10**30), "frames is"),
        (lambda d: _first(d)["outputs"]["melspec"]["values"].__setitem__(3, "1"), "melspec, values, 3"),
        (lambda d: _first(d)["outputs"]["melspec"]["values"].__setitem__(3, None), "melspec, values, 3"),
        (lambda d: _first(d)["outputs"]["melspec"]["values"].__setitem__(3, float("nan")), "finite"),
        (lambda d: _first(d)["outputs"]["melspec"]["values"].__setitem__(3, float("-inf")), "finite"),
        (lambda d: _first(d)["outputs"]["melspec"]["values"].__setitem__(3, 1e300), "beyond float32"),
        (lambda d: _first(d)["input"]["waveform"].update(files=["../one.wav"]), "files, 0"),
        (lambda d: _first(d)["input"]["waveform"].update(files=["reference/../../one.wav"]), "files, 0"),
        (lambda d: _first(d)["input"]["waveform"].update(files=["/etc/one.wav"]), "files, 0"),
        (lambda d: _first(d)["input"]["waveform"].update(files=["reference\\..\\one.wav"]), "files, 0"),
        (lambda d: _first(d)["input"]["waveform"].update(files=[]), "names 0 files for a batch of 1"),
        (lambda d: _first(d)["input"]["waveform"].update(shape=[1, 701]), "has 700 samples, not 701"),
        (lambda d: _first(d)["input"]["waveform"].update(files=["reference/none.wav"]), "none.wav: is missing"),
    ],
)
def test_tampering_is_refused(folder: Path, change: Callable[[dict[str, Any]], object], complaint: str) -> None:
    assert complaint in _tampered(folder, change)


def test_a_number_beyond_float64_is_refused(folder: Path) -> None:
    path = folder / "reference.json"
    path.write_text(path.read_text().replace('"values": [', '"values": [1e999,', 1))
    assert "finite" in _refusal(folder)


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "one.wav"
    (folder / "reference" / "one.wav").rename(outside)
    (folder / "reference" / "one.wav").symlink_to(outside)
    assert "leads out of the folder" in _refusal(folder)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A folder whose `melspec` some artifact is fed; so long that the JSON holds samples of it."""
    long = SoundCase("long", "Much sound", np.tile(cases()[0].waveform, 9000), False)
    melspec_alone = replace(HEAD, outputs=tuple(port for port in HEAD.outputs if port.name == "melspec"))
    reference.write(tmp_path, melspec_alone, [long], lambda inputs: {"melspec": run(inputs)["melspec"]}, ["melspec"])
    return tmp_path


def test_what_an_artifact_is_fed_is_kept_whole(kept: Path) -> None:
    (case,) = reference.read(kept).cases
    expected = run(dict(case.inputs))["melspec"]
    assert case.expected["melspec"].stride == 1
    assert case.expected["melspec"].values.reshape(expected.shape).tobytes() == expected.tobytes()
    entry = json.loads((kept / "reference.json").read_text())["cases"][0]["outputs"]
    assert entry["melspec"]["stride"] > 1
    assert entry["melspec"]["file"] == "reference/long.melspec.npy"


def test_what_no_artifact_is_fed_has_no_file(folder: Path) -> None:
    outputs = json.loads((folder / "reference.json").read_text())["cases"][0]["outputs"]
    assert all("file" not in entry for entry in outputs.values())


def test_bad_arrays_are_refused(kept: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = kept / "reference" / "long.melspec.npy"
    good = np.load(path)
    for bad in (good + 1, good[:, :-1], good.T):
        np.save(path, bad)
        assert "long.melspec.npy holds other values than reference.json does" in _refusal(kept)
    np.save(path, good.astype(np.float64))
    assert "long.melspec.npy is float64 and not float32" in _refusal(kept)
    np.save(path, np.array([{}]), allow_pickle=True)
    assert "no NumPy file" in _refusal(kept)
    stride = json.loads((kept / "reference.json").read_text())["cases"][0]["outputs"]["melspec"]["stride"]
    assert stride > 1
    unseen = good.copy()
    unseen.flat[1] = np.nan
    np.save(path, unseen)
    assert "NaN or infinite" in _refusal(kept)
    np.save(path, good)
    whole = path.read_bytes()
    for content in (b"", b"no array", b"PK\x03\x04 no archive", whole[:20], whole[:60], whole[:200]):
        path.write_bytes(content)
        assert "no NumPy file" in _refusal(kept), content
    path.write_bytes(whole.replace(b"(1, ", b"(9" + b"9" * 30 + b", ", 1))
    assert "no NumPy file" in _refusal(kept)
    path.unlink()
    assert "is missing" in _refusal(kept)
    outside = tmp_path_factory.mktemp("outside") / "a.npy"
    np.save(outside, good)
    path.symlink_to(outside)
    assert "leads out of the folder" in _refusal(kept)


def test_an_array_of_another_folder_is_no_name(kept: Path) -> None:
    def elsewhere(data: dict[str, Any]) -> None:
        data["cases"][0]["outputs"]["melspec"]["file"] = "../long.melspec.npy"

    assert "melspec, file" in _tampered(kept, elsewhere)


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """A folder some artifact of which is fed `melspec`, which none gives."""
    fed = replace(VARIANT.input, name="melspec", axes=("batch", 1, MELS, "frames"))
    variant = replace(VARIANT, alternative_inputs=(fed,)).giving(["clipwise"])
    head = reference.header(
        variant, weights="synthetic", checkpoint="weights.pth", sha256="0" * 64, versions={}, fed=["melspec"]
    )
    reference.write(tmp_path, head, cases(), _clipwise_and_melspec, ["melspec"])
    return tmp_path


def _clipwise_and_melspec(inputs: Arrays) -> Arrays:
    outputs = run(inputs)
    return {"clipwise": outputs["clipwise"], "melspec": outputs["melspec"].transpose(0, 2, 1)}


def test_what_is_fed_and_not_given_is_no_output(inside: Path) -> None:
    found = reference.read(inside)
    assert [port.name for port in found.header.outputs] == ["clipwise"]
    assert [(port.name, port.axes) for port in found.header.inner] == [("melspec", ("batch", 1, MELS, "frames"))]
    for case in found.cases:
        assert list(case.expected) == ["clipwise"]
        expected = _clipwise_and_melspec(dict(case.inputs))["melspec"]
        np.testing.assert_array_equal(case.inner["melspec"], expected[:, None])
    entry = json.loads((inside / "reference.json").read_text())["cases"][1]
    assert entry["inner"] == {"melspec": {"shape": [2, 1, MELS, 5], "file": "reference/two.melspec.npy"}}


def test_bad_arrays_inside_are_refused(inside: Path) -> None:
    path = inside / "reference" / "two.melspec.npy"
    good = np.load(path)
    for bad, part in (
        (good[..., :-1], "two.melspec.npy has the shape"),
        (good[:, 0], "two.melspec.npy has the shape"),
        (good.astype(np.float64), "is float64 and not float32"),
        (good * np.float32(np.nan), "NaN or infinite"),
    ):
        np.save(path, bad)
        assert part in _refusal(inside)
    path.unlink()
    assert "is missing" in _refusal(inside)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda d: d.pop("inner"), "has inside melspec, where the header has nothing"),
        (lambda d: d["cases"][0].pop("inner"), "has inside nothing, where the header has melspec"),
        (lambda d: d["cases"][0]["inner"]["melspec"].update(file="../a.npy"), "melspec, file"),
        (lambda d: d["inner"][0].update(axes=["batch", 1, MELS + 1, "frames"]), "the shapes do not fit the axes"),
    ],
)
def test_a_header_that_says_otherwise_is_refused(inside: Path, change: Callable[[Any], Any], part: str) -> None:
    assert part in _tampered(inside, change)


def test_bad_sounds_are_refused(folder: Path) -> None:
    path, good = folder / "reference" / "one.wav", cases()[0].waveform[0]
    wav.write(path, good, 16000)
    assert "at 16000 Hz, not one of 32-bit floats at 32000 Hz" in _refusal(folder)
    soundfile.write(path, np.stack([good, good], axis=1), 32000, subtype="FLOAT")
    assert "has 2 channels" in _refusal(folder)
    soundfile.write(path, good, 32000, subtype="PCM_16")
    assert "has 1 channels of 16-bit integers" in _refusal(folder)
    wav.write(path, np.where(np.arange(700) == 5, np.nan, good).astype(np.float32), 32000)
    assert "NaN or infinite" in _refusal(folder)
    wav.write(path, good[:-1], 32000)
    assert "has 699 samples, not 700" in _refusal(folder)
    for content in (b"", b"no sound", b"fLaC" + bytes(100), b"RIFF" + bytes(100)):
        path.write_bytes(content)
        assert "cannot be read as sound" in _refusal(folder)
    wav.write(path, good, 32000)
    content = path.read_bytes()
    for other in (content[:-1], content + b"\0", content.replace(b"fact", b"LIST"), content.replace(b"data", b"slnt")):
        path.write_bytes(other)
        assert "or another layout" in _refusal(folder)


# WAV and cases


def test_wav_is_read_back_bit_for_bit_by_others(tmp_path: Path) -> None:
    path = tmp_path / "sound.wav"
    original = np.concatenate([rich(777, 44100, 1), np.array([1e-45, -0.0, 1.0, -1.0, 3.5], np.float32)])
    wav.write(path, original, 44100)
    info = soundfile.info(path)
    assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "FLOAT", 1, 44100)
    for found in (wav.read(path, 44100, len(original)), soundfile.read(path, dtype="float32")[0]):
        assert found.tobytes() == original.tobytes()
    assert b"PEAK" not in path.read_bytes()[:100]
    assert path.stat().st_size == 12 + 26 + 12 + 8 + 4 * len(original)


def test_built_in_cases_are_extreme_and_of_the_lengths_they_say() -> None:
    built = {case.name: case for case in reference.built_in(PANN)}
    assert tuple(built) == BUILT_IN
    assert all(case.whole and case.description for case in built.values())
    assert all(case.waveform.dtype == np.float32 for case in built.values())
    assert built["rich"].waveform.shape == (1, 32000)
    assert built["odd_length"].waveform.shape[1] % 2 == 1
    assert built["shortest"].waveform.shape == (1, PANN.input.least)
    assert not built["silence"].waveform.any()
    assert set(np.unique(built["full_scale_square"].waveform)) == {-1, 1}
    assert 0.9 < np.abs(built["full_scale_tone"].waveform).max() <= 1
    assert 0 < np.abs(built["very_quiet_noise"].waveform).max() <= np.float32(1e-5)
    pair = built["batch_of_2"].waveform
    assert len(pair) == 2
    assert pair.shape[1] % 2 == 1
    assert abs(np.asarray(np.corrcoef(pair))[0, 1]) < 0.3
    assert min(case.waveform.shape[1] for case in built.values()) == PANN.input.least


def test_seconds_set_all_lengths_but_the_odd_and_the_shortest() -> None:
    built = reference.built_in(PANN, seconds=2.5)
    lengths = {case.name: case.waveform.shape[1] for case in built}
    assert lengths.pop("odd_length") == 13441
    assert lengths.pop("shortest") == 9920
    assert set(lengths.values()) == {80000}
    assert not any(case.whole for case in built)


@pytest.mark.parametrize("seconds", [0.1, 61.0, 0.0, -1.0, float("nan"), float("inf")])
def test_seconds_that_the_model_cannot_take_are_refused(seconds: float) -> None:
    with pytest.raises(UserError, match=r"takes 0.31 to 60 s"):
        reference.built_in(PANN, seconds=seconds)


@pytest.mark.parametrize(("least", "most"), [(114688, 114688), (20000, 20001), (300, 400), (31, 32)])
def test_lengths_stay_within_what_the_model_takes(least: int, most: int) -> None:
    bounds = Input("waveform", ("batch", "samples"), "Sound", least, most, most)
    built = {case.name: case.waveform.shape[1] for case in reference.built_in(replace(PANN, input=bounds))}
    assert all(least <= length <= most for length in built.values())
    assert ("odd_length" in built) == ("shortest" in built) == (least < most)
    assert built.get("odd_length", 1) % 2 == 1


def test_sound_files_become_cases_with_safe_names() -> None:
    case = reference.from_audio(PANN, "Ünder/ground, 3.take", rich(9921, 32000))
    assert (case.name, case.waveform.shape, case.whole) == ("_nder_ground_3_take", (1, 9921), False)
    assert "Ünder/ground, 3.take" in case.description
    for bad in (rich(100, 32000), np.full(9920, np.nan, np.float32)):
        with pytest.raises(UserError, match="bad"):
            reference.from_audio(PANN, "bad", bad)
