"""`convert compare`: equal dumps pass in every format, and every planted fault is found and named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

Convert = Callable[..., Any]
Arrays = dict[str, np.ndarray]

RANDOM = np.random.RandomState(6)
ARRAYS: Arrays = {
    "clipwise": RANDOM.uniform(0, 1, (1, 8)).astype(np.float32),
    "embedding": RANDOM.randn(1, 8).astype(np.float32),
    "framewise": RANDOM.uniform(0, 1, (1, 6, 8)).astype(np.float32),
    "features": RANDOM.randn(1, 3, 4, 5).astype(np.float32),
}
NHWC = (0, 2, 3, 1)


@pytest.fixture
def expected(tmp_path: Path) -> Path:
    return _npz(tmp_path / "expected.npz", ARRAYS)


def _npz(path: Path, arrays: Arrays) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def _checks(said: Any) -> list[tuple[str, str, str]]:
    """What did not pass, as output, kind and message."""
    checks = json.loads(said.stdout)["checks"]
    return [(c["output"], c["kind"], c["message"]) for c in checks if c["status"] == "failed"]


def _npy_folder(folder: Path) -> None:
    for name, array in ARRAYS.items():
        np.save(folder / f"{name}.npy", array)


def _raw_folder(folder: Path) -> None:
    for name, array in ARRAYS.items():
        array.tofile(folder / f"{name}.bin")


def _text_folder(folder: Path) -> None:
    for name, array in ARRAYS.items():
        (folder / f"{name}.txt").write_text("\n".join(map(str, array.flat)))


def _json_file(folder: Path) -> None:
    outputs = {
        name: {"shape": array.shape, "stride": 1, "values": [float(value) for value in array.flat]}
        for name, array in ARRAYS.items()
    }
    cases = [{"name": "rich", "outputs": outputs}]
    (folder / "reference.json").write_text(json.dumps({"schema": "soundport.reference/1", "cases": cases}))


def _result(folder: Path) -> None:
    """As a fixed model's: the last axis aligned, axes of 1 added, NHWC."""
    text = ""
    for name, array in ARRAYS.items():
        array = array.transpose(NHWC) if array.ndim == 4 else array.reshape((1,) * (4 - array.ndim) + array.shape)
        wide = np.pad(array, [(0, 0)] * 3 + [(0, -array.shape[-1] % 16)], constant_values=7)
        shapes = [" ".join(map(str, shape)) for shape in (array.shape, wide.shape)]
        text += f"{name} Tensor:\n{{\ntensor dim:4,  Original shape:[{shapes[0]}],  Alignment shape:[{shapes[1]}]\n"
        text += "The following tensor data shape is alignment shape.\ntensor data:\n"
        text += "  ".join(f"{value:.6f}" for value in wide.flat) + "  \n}\n\n"
    (folder / "unknown_model_fixed.sim_rich.bin.txt").write_text(text)


def _layers(folder: Path) -> None:
    content = b"isFloat: 1\n"
    for name, array in {"conv1": RANDOM.randn(1, 2, 2, 9), **ARRAYS}.items():
        array = array.transpose(NHWC) if array.ndim == 4 else array
        shape = ", ".join(map(str, array.shape))
        heading = f"//out 0 s: 0.1 z: 0 type: SGS_S16 name: {name} bConstant:0 shape:[{shape}] dims:{array.ndim}"
        content += f"{heading}\nop_out[1] CONV_2D = {{\n//buffer data size: {4 * array.size}\n".encode()
        content += array.astype("<f4").tobytes() + b"\n};\n"
    (folder / "sigma_outtensor_dump.bin").write_bytes(content)


WRITERS = (_npy_folder, _raw_folder, _text_folder, _json_file, _result, _layers)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("side", ["expected", "got"])
def test_the_same_answers_pass_in_every_format_on_either_side(
    convert: Convert, tmp_path: Path, expected: Path, write: Callable[[Path], None], side: str
) -> None:
    folder = tmp_path / "dump"
    folder.mkdir()
    write(folder)
    said = convert("compare", *((folder, expected) if side == "expected" else (expected, folder)), "--json")
    assert said.exit_code == 0, said.stdout
    values = [c for c in json.loads(said.stdout)["checks"] if c["kind"] == "values" and c["comparison"]]
    assert {check["output"] for check in values} == set(ARRAYS)
    assert all(check["comparison"]["max_abs"] < 1e-6 for check in values)
    nhwc = "features: GOT is N" in said.stderr
    assert nhwc == (write in (_result, _layers))


def test_one_wrong_number_in_any_format_fails(convert: Convert, tmp_path: Path, expected: Path) -> None:
    for write in WRITERS:
        folder = tmp_path / write.__name__
        folder.mkdir()
        write(folder)
        wrong = {name: array + (0.001 if name == "embedding" else 0) for name, array in ARRAYS.items()}
        said = convert("compare", _npz(tmp_path / "wrong.npz", wrong), folder, "--json")
        assert said.exit_code == 1
        assert [failed[:2] for failed in _checks(said)] == [("embedding", "values")]


def test_what_it_shows(convert: Convert, tmp_path: Path, expected: Path) -> None:
    got = _npz(tmp_path / "got.npz", ARRAYS | {"features": ARRAYS["features"].transpose(NHWC)})
    said = convert("compare", expected, got, "--junit", tmp_path / "junit.xml")
    assert said.exit_code == 0
    lines = said.stdout.splitlines()
    assert lines[0].strip() == "got.npz, fp32"
    assert lines[-1].startswith("PASSED: 12 passed")
    assert "note: features: GOT is NHWC where EXPECTED is NCHW: put into NCHW [1, 3, 4, 5]\n" in said.stderr
    assert "note: tolerances: atol 0.0001, rtol 0.0001, the defaults of fp32\n" in said.stderr
    (suite,) = ElementTree.fromstring((tmp_path / "junit.xml").read_bytes())
    assert (suite.get("tests"), suite.get("failures")) == ("12", "0")
    data = json.loads(convert("compare", expected, got, "--json").stdout)
    assert (data["expected"], data["got"], data["exit_code"]) == (str(expected), str(got), 0)
    assert f"note: {data['notes'][0]}\n" in said.stderr
    (shape,) = [c for c in data["checks"] if (c["output"], c["kind"]) == ("features", "shape")]
    assert "GOT is NHWC" in shape["message"]


def test_what_a_ci_shows_of_it(convert: Convert, tmp_path: Path, expected: Path) -> None:
    page = tmp_path / "page.md"
    wrong = _npz(tmp_path / "wrong.npz", ARRAYS | {"embedding": ARRAYS["embedding"] + 1})
    assert convert("compare", expected, wrong, "--markdown", page).exit_code == 1
    text = page.read_text("utf-8")
    assert text.startswith("### FAILED: 11 passed, 1 failed\n\n- **FAILED** wrong.npz, fp32, embedding, values")
    assert "| clipwise |  | 0.00e+00 | 0.0001 | 0.0001 | 0.00e+00 | passed |" in text
    assert "- tolerances: atol 0.0001, rtol 0.0001, the defaults of fp32" in text
    said = convert("compare", expected, wrong, "--markdown", page, "--junit", page)
    assert said.is_one_clear_error("--junit and --markdown would write the same file; give each a name of its own")
    assert convert("compare", expected, wrong, "--markdown", tmp_path / "no" / "a.md").is_one_clear_error("no; make it")


def _swap_names(arrays: Arrays) -> Arrays:
    return arrays | {"clipwise": arrays["embedding"], "embedding": arrays["clipwise"]}


def _shift(arrays: Arrays) -> Arrays:
    return arrays | {"framewise": np.roll(arrays["framewise"], 1, axis=1)}


FAULTS: dict[str, tuple[Callable[[Arrays], Arrays], list[tuple[str, str, str]]]] = {
    "axes swapped": (
        lambda a: a | {"features": a["features"].swapaxes(2, 3)},
        [("features", "shape", "[1, 3, 5, 4], expected [1, 3, 4, 5]; agrees when its axes 2 and 3 are swapped")],
    ),
    "axes swapped behind the right shape": (
        lambda a: a | {"framewise": a["framewise"].swapaxes(1, 2).reshape(1, 6, 8)},
        [("framewise", "values", "agrees when its axes 1 and 2 are swapped")],
    ),
    "outputs swapped": (
        _swap_names,
        [
            ("clipwise", "values", "agrees with the actual 'embedding', and that one with this: are they swapped?"),
            ("embedding", "values", "agrees with the actual 'clipwise', and that one with this: are they swapped?"),
        ],
    ),
    "shifted by one": (
        _shift,
        [("framewise", "values", "agrees when shifted by 1 along axis 1 of framewise: off-by-one padding?")],
    ),
    "missing": (
        lambda a: {name: array for name, array in a.items() if name != "features"},
        [("features", "names", "GOT has no 'features'")],
    ),
    "extra": (
        lambda a: a | {"attention": np.ones((1, 9), np.float32)},
        [("attention", "names", "EXPECTED has nothing for GOT's 'attention'")],
    ),
    "another shape": (
        lambda a: a | {"framewise": a["framewise"][:, :5]},
        [("framewise", "shape", "[1, 5, 8], expected [1, 6, 8]")],
    ),
    "an axis less": (
        lambda a: a | {"clipwise": a["clipwise"][0]},
        [("clipwise", "shape", "[8], expected [1, 8]")],
    ),
    "NaN": (
        lambda a: a | {"embedding": np.where(np.arange(8) == 3, np.nan, a["embedding"]).astype(np.float32)},
        [("embedding", "values", "1 of 8 actual values are NaN or infinite, the first at [0, 3]")],
    ),
    "beyond float32": (
        lambda a: a | {"embedding": a["embedding"].astype(np.float64) * 1e300},
        [("embedding", "values", "8 of 8 actual values are beyond float32")],
    ),
    "empty": (
        lambda a: a | {"embedding": a["embedding"][:, :0]},
        [("embedding", "shape", "[1, 0], expected [1, 8]")],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_named(convert: Convert, tmp_path: Path, expected: Path, fault: str) -> None:
    plant, wanted = FAULTS[fault]
    said = convert("compare", expected, _npz(tmp_path / "got.npz", plant(ARRAYS)), "--json")
    assert said.exit_code == 1
    found = _checks(said)
    assert [failed[:2] for failed in found] == [failed[:2] for failed in wanted]
    for (_, _, message), (_, _, part) in zip(found, wanted, strict=True):
        assert part in message


def test_empty_on_both_sides_is_no_agreement(convert: Convert, tmp_path: Path) -> None:
    empty = _npz(tmp_path / "empty.npz", {"logits": np.zeros((1, 0), np.float32)})
    said = convert("compare", empty, empty, "--json")
    assert said.exit_code == 1
    assert [failed[:2] for failed in _checks(said)] == [("logits", "values")]


def test_another_name_is_matched_by_its_shape(convert: Convert, tmp_path: Path, expected: Path) -> None:
    names = {"framewise": "StatefulPartitionedCall:0", "features": "215"}
    renamed = {names.get(name, name): array for name, array in ARRAYS.items()}
    renamed["215"] = renamed["215"].transpose(NHWC)
    said = convert("compare", expected, _npz(tmp_path / "got.npz", renamed))
    assert said.exit_code == 0
    assert "note: framewise: compared with GOT's 'StatefulPartitionedCall:0', the only one of its shape" in said.stderr


def test_what_neither_names_nor_shapes_tell_is_matched_by_its_values(
    convert: Convert, tmp_path: Path, expected: Path
) -> None:
    """clipwise and embedding have one shape; values that are near nothing tell nothing either."""
    unclear = {name.replace("clipwise", "x").replace("embedding", "y"): array for name, array in ARRAYS.items()}
    said = convert("compare", expected, _npz(tmp_path / "got.npz", unclear))
    assert said.exit_code == 0
    assert "note: clipwise: compared with GOT's 'x', whose values are nearest; names and shapes do not" in said.stderr
    off = unclear | {"y": unclear["y"] + np.float32(0.01)}
    said = convert("compare", expected, _npz(tmp_path / "got.npz", off), "--json")
    assert [failed[:2] for failed in _checks(said)] == [("embedding", "values")]
    other = unclear | {name: RANDOM.randn(1, 8).astype(np.float32) for name in "xy"}
    said = convert("compare", expected, _npz(tmp_path / "got.npz", other), "--json")
    assert said.exit_code == 1
    assert [failed[:2] for failed in _checks(said)] == [(name, "names") for name in ("clipwise", "embedding", "x", "y")]
    assert "--map clipwise=NAME says it" in _checks(said)[0][2]
    said = convert("compare", expected, tmp_path / "got.npz", "--map", "clipwise=y", "--map", "embedding=x", "--json")
    assert [failed[:2] for failed in _checks(said)] == [("clipwise", "values"), ("embedding", "values")]


def test_two_runs_layer_by_layer(convert: Convert, tmp_path: Path) -> None:
    """What only one of two dumps of all layers has, as layers that were fused, is told and no fault."""
    for side, renamed in (("float", "conv1"), ("fixed", "conv1_fused")):
        (tmp_path / side).mkdir()
        _layers(tmp_path / side)
        file = tmp_path / side / "sigma_outtensor_dump.bin"
        file.write_bytes(file.read_bytes().replace(b"name: conv1 ", f"name: {renamed} ".encode()))
    said = convert("compare", tmp_path / "float", tmp_path / "fixed")
    assert said.exit_code == 0
    assert "1 tensors of EXPECTED are not in GOT: conv1" in " ".join(said.stdout.split())
    assert "note: 1 other tensors of GOT, which holds all layers, left aside" in said.stderr


def test_two_runs_that_have_no_layer_in_common(convert: Convert, tmp_path: Path) -> None:
    _layers(tmp_path)
    file = tmp_path / "sigma_outtensor_dump.bin"
    other = tmp_path / "other.bin"
    other.write_bytes(file.read_bytes().replace(b"name: ", b"name: other_"))
    said = convert("compare", file, other, "--json")
    assert said.exit_code == 1
    assert {kind for _, kind, _ in _checks(said)} == {"names"}


WHOLE = np.array([[16777216, 2147483648, -(2**63), 2**62]])


@pytest.mark.parametrize(
    ("expected", "got", "told"),
    [
        (WHOLE, WHOLE, ""),
        (WHOLE, WHOLE + np.array([1, 0, 0, 0]), "worst at [0, 0]: expected 16777216, actual 16777217"),
        (
            WHOLE,
            WHOLE + np.array([0, 0, 1, 0]),
            "worst at [0, 2]: expected -9223372036854775808, actual -9223372036854775807",
        ),
        (
            WHOLE[:, 3:],
            (WHOLE[:, 3:] + 1).astype(np.uint64),
            "expected 4611686018427387904, actual 4611686018427387905",
        ),
        (np.array([[300]]), np.array([[301]]), "expected 300, actual 301"),
        (np.array([[20000]], np.int32), np.array([[20001]], np.float32), "expected 20000, actual 20001"),
        (np.array([[255]], np.uint8), np.array([[0]], np.uint8), "expected 255, actual 0; atol 255"),
        (np.array([[2.5]], np.float16), np.array([[2.5]], np.float32), ""),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else value.partition(":")[0],
)
def test_whole_numbers_are_the_same_or_not(
    convert: Convert, tmp_path: Path, expected: np.ndarray, got: np.ndarray, told: str
) -> None:
    """Indices and labels: no default tolerance, not of float16 either, makes of one another."""
    sides = [_npz(tmp_path / f"{name}.npz", {"y": array}) for name, array in (("e", expected), ("g", got))]
    page = tmp_path / "page.html"
    said = convert("compare", *sides, "--precision", "mixed", "--json", "--html", page)
    assert said.exit_code == bool(told)
    (values,) = [check for check in json.loads(said.stdout)["checks"] if check["kind"] == "values"]
    assert told in values["message"]
    assert values["comparison"]["worst_expected"] == expected.flat[np.argmax(expected != got)]
    assert ("there is no difference to draw" in page.read_text(encoding="utf-8")) == (not told)
    if told:
        assert convert("compare", *sides, "--atol", "255").exit_code == 0
        assert "for y, whole numbers, none" in said.stderr


def test_float64_is_not_rounded_before_it_is_compared(convert: Convert, tmp_path: Path) -> None:
    value = np.array([0.1, 0.2])
    sides = [_npz(tmp_path / f"{more}.npz", {"y": value + np.array([0, more])}) for more in (0, 1e-13)]
    assert convert("compare", *sides).exit_code == 0
    said = convert("compare", *sides, "--atol", "0", "--rtol", "0", "--json")
    assert said.exit_code == 1
    assert "expected 0.20000000000000001, actual 0.20000000000010001" in _checks(said)[0][2]
    # What a text says of a float32 is a decimal that is near it.
    (tmp_path / "y.txt").write_text("0.1 0.2")
    single = _npz(tmp_path / "single.npz", {"y": value.astype(np.float32)})
    assert convert("compare", single, tmp_path / "y.txt", "--atol", "0", "--rtol", "0").exit_code == 0
    assert convert("compare", sides[1], tmp_path / "y.txt", "--atol", "0", "--rtol", "0").exit_code == 1


def test_words_that_python_alone_takes_for_numbers_are_refused(convert: Convert, tmp_path: Path) -> None:
    (tmp_path / "y.txt").write_text("1_0 2")
    expected = _npz(tmp_path / "e.npz", {"y": np.array([10, 2], np.float32)})
    assert convert("compare", expected, tmp_path / "y.txt").is_one_clear_error("line 1: '1_0' is not a number")


def _cases(path: Path, **cases: np.ndarray) -> Path:
    written = [
        {
            "name": name,
            "outputs": {"logits": {"shape": array.shape, "stride": 3, "values": array.reshape(-1)[::3].tolist()}},
        }
        for name, array in cases.items()
    ]
    outputs = [{"name": "logits", "axes": ["batch", 8], "kind": "logit"}]
    path.write_text(json.dumps({"schema": "soundport.reference/1", "outputs": outputs, "cases": written}))
    return path


RICH, ODD = RANDOM.randn(2, 1, 8)


def test_cases(convert: Convert, tmp_path: Path) -> None:
    ours = _cases(tmp_path / "ours.json", rich=RICH, odd=ODD)
    device = _npz(tmp_path / "device.npz", {"logits": ODD})
    assert convert("compare", ours, device, "--case", "odd").exit_code == 0
    assert convert("compare", ours, device, "--case", "rich").exit_code == 1
    assert convert("compare", ours, device).is_one_clear_error("choose one with --case")
    assert convert("compare", ours, device, "--case", "silence").is_one_clear_error("it has rich, odd")
    assert convert("compare", ours, ours).exit_code == 0
    fewer = _cases(tmp_path / "fewer.json", rich=RICH)
    said = convert("compare", ours, fewer, "--json")
    assert said.exit_code == 1
    assert [check[2] for check in _checks(said)] == ["GOT has no case 'odd'"]
    assert [check[2] for check in _checks(convert("compare", fewer, ours, "--json"))] == ["EXPECTED has no case 'odd'"]


def test_what_the_reference_says_of_an_output_is_used(convert: Convert, tmp_path: Path) -> None:
    """Decisions that flip are counted for logits, and the axes are held to those that it names."""
    flipped = np.where(np.arange(8) % 3 == 0, -RICH, RICH)
    said = convert(
        "compare", _cases(tmp_path / "r.json", rich=RICH), _npz(tmp_path / "g.npz", {"logits": flipped}), "--json"
    )
    (values,) = [c for c in json.loads(said.stdout)["checks"] if c["kind"] == "values"]
    assert values["comparison"]["flips"] == 3
    short = _npz(tmp_path / "g.npz", {"logits": RICH[:, :7]})
    failed = _checks(convert("compare", _cases(tmp_path / "r.json", rich=RICH), short, "--json"))
    assert ("logits", "axes", "axis 1 is 7, not 8") in failed


def test_a_case_without_the_output_that_is_chosen_is_not_verified(convert: Convert, tmp_path: Path) -> None:
    for side in ("expected", "got"):
        (tmp_path / side).mkdir()
        _npz(tmp_path / side / "both.npz", ARRAYS)
        _npz(tmp_path / side / "one.npz", {"embedding": ARRAYS["embedding"]})
    said = convert("compare", tmp_path / "expected", tmp_path / "got", "--output", "features", "--json")
    left = [check for check in json.loads(said.stdout)["checks"] if check["status"] == "not verified"]
    assert [(check["case"], check["message"]) for check in left] == [
        ("one", "EXPECTED has none of features in this case, which --output asks for")
    ]


def test_tolerances(convert: Convert, tmp_path: Path, expected: Path) -> None:
    near = {name: array + np.float32(0.004) for name, array in ARRAYS.items()}
    got = _npz(tmp_path / "got.npz", near)
    assert convert("compare", expected, got).exit_code == 1
    assert convert("compare", expected, got, "--precision", "fp16").exit_code == 0
    assert convert("compare", expected, got, "--atol", "0.0041").exit_code == 0
    words = ["--atol", "0.0041", "--atol", "embedding:0.001", "--rtol", "0", "--json"]
    assert [check[:2] for check in _checks(convert("compare", expected, got, *words))] == [("embedding", "values")]
    assert convert("compare", expected, got, "--atol", "0", "--rtol", "1e6").exit_code == 0
    assert convert("compare", expected, got, "--rtol", "x").is_one_clear_error("--rtol x: give a number")
    assert convert("compare", expected, got, "--atol", "logits:1").is_one_clear_error("there is no output 'logits'")


@pytest.mark.parametrize("place", ["", "reference.json"])
def test_a_made_folder_is_compared_at_its_own_tolerances(
    convert: Convert, made_pann: Any, tmp_path: Path, place: str
) -> None:
    got = tmp_path / "device.npz"
    assert convert("run", made_pann.onnx, made_pann.path / "reference" / "rich.wav", "-o", got).exit_code == 0
    said = convert("compare", made_pann.path / place, got, "--case", "rich", "--json")
    assert said.exit_code == 0
    result = json.loads(said.stdout)
    assert result["notes"] == [f"tolerances: those of {made_pann.path / 'manifest.json'} for fp32"]
    own = {
        o["name"]: o["tolerances"]["fp32"]["atol"]
        for o in json.loads((made_pann.path / "manifest.json").read_text())["outputs"]
    }
    used = {c["output"]: c["comparison"]["atol"] for c in result["checks"] if c["kind"] == "values"}
    assert used == own
    assert convert("compare", made_pann.path / place, got, "--case", "silence").exit_code == 1


def test_a_manifest_of_another_tool_says_nothing(convert: Convert, tmp_path: Path, expected: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"manifest_version": 3}')
    said = convert("compare", expected, expected)
    assert said.exit_code == 0
    assert "the defaults of fp32" in said.stderr


def test_bad_input_is_one_line(convert: Convert, tmp_path: Path, expected: Path) -> None:
    (tmp_path / "a.txt").write_text("1\ntwo\n")
    assert convert("compare", expected, tmp_path / "a.txt").is_one_clear_error("a.txt: line 2: 'two' is not a number")
    assert convert("compare", tmp_path / "nowhere", expected).is_one_clear_error("there is no such file or folder")
    (tmp_path / "none").mkdir()
    assert convert("compare", expected, tmp_path / "none").is_one_clear_error("none: is empty")
    said = convert("compare", expected, expected, "--junit", tmp_path / "nowhere" / "junit.xml")
    assert said.is_one_clear_error("nowhere; make it, or choose another")
