"""Core ML packages that kill, stall or starve what reads or runs them: each fails checks of its own."""

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function, Program

from convert import inspection
from convert.manifest import Artifact
from convert.targets import named
from convert.verify import File, check_artifact
from recipes.base import limits
from recipes.base.errors import UserError
from recipes.base.tensor import Input, Output, Tolerance
from tests.hostile.conftest import Commands
from validators.results import Check, exit_code
from validators.runners.runner import RunnerError
from validators.values import Case

X = np.linspace(-1, 1, 8, dtype=np.float32).reshape(1, 8)
INPUT = Input("x", ("batch", "samples"), "what is fed", least=8, default=8, most=8)
_NEAR = Tolerance(1e-4, 0, "small sums of a few numbers")
OUTPUT = Output("y", ("batch", 8), "feature", "what comes", dict.fromkeys(("fp32", "mixed", "fp16"), _NEAR))
EXECUTORS = ("executor", "executor-float32")
SPEC = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"

Change = Callable[[Any], None]
CHANGES: dict[str, Change] = {}


def change(function: Change) -> Change:
    """Enter the decorated function, which spoils a specification, into the table."""
    CHANGES[function.__name__.strip("_").replace("_", " ")] = function
    return function


def saved(program: Program, path: Path) -> Path:
    """As it is: passes would compute much of it already."""
    ct.convert(
        program,
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32,
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    ).save(str(path))
    return path


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """y = -x by way of a fill, a tile, a slice and a division of integers, each of which a change makes a bomb of."""
    program = Program()
    with Function({"x": mb.placeholder(shape=(1, 8))}, opset_version=ct.target.iOS16) as function:
        x = function.inputs["x"]
        ones = mb.fill(shape=np.array([1, 8], np.int32), value=1.0, name="ones")
        row = mb.tile(x=mb.mul(x=x, y=ones), reps=np.array([1, 1], np.int32), name="row")
        ones_again = mb.floor_div(x=mb.shape(x=row), y=np.array([1, 8], np.int32))
        one = mb.gather(x=ones_again, indices=np.array([1], np.int32), axis=0)
        part = mb.mul(x=row, y=mb.cast(x=one, dtype="fp32"))
        function.set_outputs([mb.mul(x=part, y=np.float32(-1), name="y")])
        program.add_function("main", function)
    return saved(program, tmp_path_factory.mktemp("package") / "model.mlpackage")


@pytest.fixture(scope="module")
def right(package: Path) -> set[str]:
    return set(map(repr, checked(package)))


def _operations(spec: Any) -> Any:
    (function,) = spec.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    return block.operations


def _argument(spec: Any, kind: str, argument: str) -> Any:
    """The tensor that is an operation's constant argument."""
    (found,) = (op for op in _operations(spec) if op.type == kind)
    binding = found.inputs[argument].arguments[0]
    if binding.WhichOneof("binding") == "value":
        return binding.value.immediateValue.tensor
    (constant,) = (op for op in _operations(spec) if any(out.name == binding.name for out in op.outputs))
    return constant.attributes["val"].immediateValue.tensor


@change
def _no_function(spec: Any) -> None:
    spec.mlProgram.functions.clear()


@change
def _no_block(spec: Any) -> None:
    spec.mlProgram.functions["main"].block_specializations.clear()


@change
def _block_of_no_operations(spec: Any) -> None:
    del _operations(spec)[:]


@change
def _op_set_of_the_future(spec: Any) -> None:
    spec.mlProgram.functions["main"].opset = "CoreML4294967296"


@change
def _op_set_that_is_none(spec: Any) -> None:
    spec.mlProgram.functions["main"].opset = "\x1b[31m\nerror: none"


@change
def _no_program(spec: Any) -> None:
    spec.ClearField("mlProgram")


@change
def _no_description(spec: Any) -> None:
    spec.ClearField("description")


@change
def _input_without_a_type(spec: Any) -> None:
    spec.description.input[0].ClearField("type")


@change
def _input_that_is_an_image(spec: Any) -> None:
    spec.description.input[0].type.imageType.width = 2**40


@change
def _input_of_a_huge_shape(spec: Any) -> None:
    spec.description.input[0].type.multiArrayType.shape[:] = [2**40, 2**40]


@change
def _output_that_nothing_makes(spec: Any) -> None:
    (function,) = spec.mlProgram.functions.values()
    function.block_specializations["CoreML6"].outputs[:] = ["nothing"]


@change
def _operator_that_nobody_knows(spec: Any) -> None:
    _operations(spec)[-1].type = "frobnicate"


@change
def _operation_without_inputs(spec: Any) -> None:
    _operations(spec)[-1].inputs.clear()


@change
def _operation_that_eats_itself(spec: Any) -> None:
    _operations(spec)[-1].inputs["x"].arguments[0].name = "y"


@change
def _operation_without_outputs(spec: Any) -> None:
    del _operations(spec)[-1].outputs[:]


@change
def _declared_dtype_that_is_none(spec: Any) -> None:
    _operations(spec)[-1].outputs[0].type.tensorType.dataType = 9999


@change
def _declared_rank_that_is_none(spec: Any) -> None:
    _operations(spec)[-1].outputs[0].type.tensorType.rank = -(2**40)


@change
def _fill_of_eight_gigabytes(spec: Any) -> None:
    _argument(spec, "fill", "shape").ints.values[:] = [2**31 - 1, 1]


@change
def _fill_of_a_negative_shape(spec: Any) -> None:
    _argument(spec, "fill", "shape").ints.values[:] = [-1, 8]


@change
def _huge_tile(spec: Any) -> None:
    _argument(spec, "tile", "reps").ints.values[:] = [2**31 - 1, 2**31 - 1]


@change
def _zero_division(spec: Any) -> None:
    _argument(spec, "floor_div", "y").ints.values[:] = [1, 0]


@change
def _constant_with_too_few_values(spec: Any) -> None:
    _argument(spec, "tile", "reps").ints.values[:] = []


@change
def _constant_in_a_file_that_is_missing(spec: Any) -> None:
    _first_constant(spec).blobFileValue.fileName = "@model_path/weights/missing.bin"


@change
def _constant_in_a_file_that_is_none(spec: Any) -> None:
    _first_constant(spec).blobFileValue.fileName = "@model_path/weights/../../../../../../../../../etc/passwd"
    _first_constant(spec).blobFileValue.offset = 2**60


def _first_constant(spec: Any) -> Any:
    return next(op for op in _operations(spec) if op.type == "const").attributes["val"]


@change
def _blocks_nested_deep(spec: Any) -> None:
    block = _operations(spec)[-1].blocks.add()
    for _ in range(20):
        block = block.operations.add(type="cond").blocks.add()


@change
def _names_that_control_a_terminal(spec: Any) -> None:
    spec.description.output[0].name = "y\x1b[31m\nerror: none"


def _value_made_again_20_000_times(spec: Any) -> None:
    operation = type(_operations(spec)[-1])()
    operation.CopyFrom(_operations(spec)[-1])
    _operations(spec).extend([operation] * 20_000)


@change
def _value_that_is_an_input(spec: Any) -> None:
    _operations(spec)[0].outputs[0].name = spec.description.input[0].name


@change
def _value_made_again_in_a_block(spec: Any) -> None:
    _operations(spec)[-1].blocks.add().operations.add().CopyFrom(_operations(spec)[0])


@change
def _value_given_by_a_block_to_what_follows(spec: Any) -> None:
    inner = _operations(spec)[-2].blocks.add().operations.add()
    inner.CopyFrom(_operations(spec)[0])
    inner.outputs[0].name = _first_read(spec).name = "inner"


@change
def _value_read_before_it_is_made(spec: Any) -> None:
    _first_read(spec).name = _operations(spec)[-1].outputs[0].name


@change
def _value_that_a_function_gives_and_nobody_makes(spec: Any) -> None:
    (function,) = spec.mlProgram.functions.values()
    function.block_specializations[function.opset].outputs[0] = "nobody"


def _first_read(spec: Any) -> Any:
    """The first value that the last operation reads, by name."""
    bindings = (binding for argument in _operations(spec)[-1].inputs.values() for binding in argument.arguments)
    return next(binding for binding in bindings if binding.name)


def _shapes_of_50_000_lengths(spec: Any) -> None:
    array = spec.description.input[0].type.multiArrayType
    for size in range(50_000):
        array.enumeratedShapes.shapes.add(shape=[1, 32_000 + size])


def _bounds_of_500_000_sizes(spec: Any) -> None:
    array = spec.description.input[0].type.multiArrayType
    for _ in range(500_000):
        array.shapeRange.sizeRanges.add(lowerBound=1, upperBound=2)


@change
def _shapes_of_two_ranks(spec: Any) -> None:
    array = spec.description.input[0].type.multiArrayType
    array.enumeratedShapes.shapes.add(shape=[1, 8])
    array.enumeratedShapes.shapes.add(shape=[8])


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A gigabyte of memory and a few seconds: enough for anything that is no bomb."""
    monkeypatch.setenv(limits.MEMORY, "1")
    with limits.time_limit(5):
        yield


def checked(path: Path) -> list[Check]:
    """What `convert check` says of the package, where y should be -x."""
    artifact = Artifact("coreml", "x", "fp32", 8, {"precision": "fp32", "seconds": None})
    file = File(path.parent, path.name, artifact, named("coreml"), INPUT, (OUTPUT,))
    return check_artifact(file, [Case("a row", {"x": X}, {"y": -X})])


def _run(checks: list[Check]) -> set[tuple[str, str]]:
    return {(check.runtime, check.status) for check in checks if check.runtime.startswith("executor")}


@pytest.mark.usefixtures("limited")
def test_a_package_that_is_right_passes_between_them(package: Path) -> None:
    assert _run(checked(package)) == {("executor", "passed"), ("executor-float32", "passed")}
    assert inspection.isolated(package, False).functions


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.usefixtures("limited")
def test_a_hostile_package_fails_its_own_checks_alone(
    package: Path, right: set[str], tmp_path: Path, name: str, noted: Callable[[str, object], None]
) -> None:
    path = shutil.copytree(package, tmp_path / "model.mlpackage")
    spec = ct.utils.load_spec(str(path))
    CHANGES[name](spec)
    (path / SPEC).write_bytes(spec.SerializeToString())
    started = time.monotonic()
    checks = checked(path)
    with contextlib.suppress(UserError):
        inspection.text(inspection.isolated(path, False))
    noted("seconds", time.monotonic() - started)
    assert time.monotonic() - started < 20
    # The package that is right lacks what `convert recipe` writes, and no more.
    assert set(map(repr, checks)) - right, checks
    assert exit_code(checks) == 1
    assert {runtime for runtime, _ in _run(checks)} == set(EXECUTORS)
    assert not any("Traceback" in check.message for check in checks)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.mlpackage"]


# Whether reading it is refused, or it is read and breaks a rule; and what is said.
COMMANDED: dict[str, tuple[Change, bool, str]] = {
    "a value made 20,001 times": (_value_made_again_20_000_times, True, "'melspec' is made twice"),
    "a value that is an input": (CHANGES["value that is an input"], True, "'waveform' is made twice"),
    "a value made again in a block": (CHANGES["value made again in a block"], True, "is made twice"),
    "a value read before it is made": (
        CHANGES["value read before it is made"],
        True,
        "reads the value 'melspec', which nothing before it makes",
    ),
    "50,000 shapes": (_shapes_of_50_000_lengths, False, "enumerates 50000 shapes"),
    "bounds of 500,000 sizes": (_bounds_of_500_000_sizes, True, "has a shape of 2 dimensions, and allows one of"),
    "no program": (CHANGES["no program"], True, "is not an ML program"),
    "an operator that nobody knows": (CHANGES["operator that nobody knows"], False, "knows no such op"),
    "a name that controls a terminal": (CHANGES["names that control a terminal"], False, "is no identifier"),
}


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    """coremltools takes seconds to import, too."""
    started = Commands(tmp_path_factory.mktemp("said"), "convert.inspection", "validators.coreml_file")
    yield started
    started.close()


@pytest.mark.parametrize("name", COMMANDED)
def test_the_command_says_what_is_wrong_with_a_package(
    folder: Path, commands: Commands, refused: Callable[..., str], noted: Callable[[str, object], None], name: str
) -> None:
    """In a failed check of `convert check`, and in the one line or among the broken rules of `convert inspect`."""
    spoil, is_refused, said = COMMANDED[name]
    (package,) = folder.glob("*.mlpackage")
    spec = ct.utils.load_spec(str(package))
    spoil(spec)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    content = spec.SerializeToString()
    manifest["files"][f"{package.name}/{SPEC}"] = {"size": len(content), "sha256": sha256(content).hexdigest()}
    for path, written in ((package / SPEC, content), (folder / "manifest.json", json.dumps(manifest).encode())):
        path.unlink()
        path.write_bytes(written)
    checked = commands.run("check", folder, "--json")
    noted("seconds", checked.seconds)
    noted("peak", checked.peak)
    assert checked.exit_code == 1, checked
    assert "Traceback" not in checked.stdout + checked.stderr
    assert all(line.isprintable() for line in checked.stderr.splitlines())
    failed = [check for check in json.loads(checked.stdout)["checks"] if check["status"] == "failed"]
    assert any(said in check["message"] for check in failed if check["kind"] in ("file", "rules")), failed
    assert (checked.seconds < 20, checked.peak < 1_500_000_000) == (True, True), checked
    if is_refused:
        assert said in refused("inspect", package)
        return
    shown = commands.run("inspect", package)
    assert (shown.exit_code, shown.stderr) == (1, ""), shown
    assert said in shown.stdout
    assert all(line.isprintable() for line in shown.stdout.splitlines())
    assert (shown.seconds < 20, shown.peak < 1_500_000_000) == (True, True), shown


@pytest.fixture(scope="module")
def two_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package of y = x * c, whose c lies in a file of weights: ones; and beside the package another such: sevens."""
    folder = tmp_path_factory.mktemp("two")
    for name, number in (("other", 7), ("model", 1)):
        program = Program()
        with Function({"x": mb.placeholder(shape=(1, 8))}, opset_version=ct.target.iOS16) as function:
            many = mb.const(val=np.full((16, 8), number, np.float32), name="c")
            function.set_outputs([mb.mul(x=function.inputs["x"], y=many, name="y")])
            program.add_function("main", function)
        saved(program, folder / f"{name}.mlpackage")
    (folder / "other.mlpackage" / WEIGHTS).rename(folder / "weight.bin")
    shutil.rmtree(folder / "other.mlpackage")
    return folder


@pytest.fixture
def outside(two_files: Path, tmp_path: Path) -> Path:
    return shutil.copytree(two_files, tmp_path / "two") / "model.mlpackage"


def _all_runs(path: Path) -> list[str]:
    """What the package answers to ones, or why not, by each way of opening it."""
    said = []
    for runtime in named("coreml").runtimes:
        if runtime.absent() is None:
            with contextlib.suppress(RunnerError):
                said.append(str(runtime.open(path).run({"x": np.ones((1, 8), np.float32)})["y"][0, 0]))
    return said


@pytest.mark.parametrize(
    "name",
    [
        "@model_path/weights/../../../../weight.bin",
        "@model_path/../../../weight.bin",
        "../weight.bin",
        "weight.bin",
        "{}/weight.bin",
        "@model_path/weights/./weight.bin",
        "@model_path/weights/..",
        "@model_path/weights/",
    ],
)
@pytest.mark.usefixtures("limited")
def test_a_whole_file_of_constants_elsewhere_is_not_read(outside: Path, name: str) -> None:
    """Neither that one, as an app would, nor the one of the same name inside, as coremltools does."""
    assert set(_all_runs(outside)) == {"1.0"}
    inspection.isolated(outside, False)
    spec = ct.utils.load_spec(str(outside))
    (constant,) = (op for op in _operations(spec) if op.attributes["val"].HasField("blobFileValue"))
    constant.attributes["val"].blobFileValue.fileName = name.format(outside.parent)
    (outside / SPEC).write_bytes(spec.SerializeToString())
    assert _all_runs(outside) == []
    with pytest.raises(UserError, match="which is no file of its weights"):
        inspection.isolated(outside, False)
    assert any(check.kind == "file" and "no file of its weights" in check.message for check in checked(outside))


@pytest.mark.usefixtures("limited")
def test_a_loop_without_end_is_ended(tmp_path: Path) -> None:
    program = Program()
    with Function({"x": mb.placeholder(shape=(1, 8))}, opset_version=ct.target.iOS16) as function:
        result = mb.while_loop(
            _cond=lambda a: mb.greater(x=mb.reduce_l1_norm(x=a, axes=np.array([0, 1], np.int32)), y=np.float32(-1)),
            _body=lambda a: mb.mul(x=a, y=np.float32(-1)),
            loop_vars=[function.inputs["x"]],
        )
        function.set_outputs([mb.identity(x=result, name="y")])
        program.add_function("main", function)
    path = saved(program, tmp_path / "model.mlpackage")
    with limits.time_limit(1):
        failed = [check.message for check in checked(path) if check.runtime.startswith("executor")]
    assert failed == [f"{name} took more than 1 s and was ended; --timeout S gives it more" for name in EXECUTORS]


@pytest.mark.parametrize("content", [b"", b"\xff" * 1000, b"\x0a" * 10_000], ids=["empty", "noise", "lengths"])
@pytest.mark.usefixtures("limited")
def test_a_specification_that_is_none_is_told(package: Path, tmp_path: Path, content: bytes) -> None:
    path = shutil.copytree(package, tmp_path / "model.mlpackage")
    (path / SPEC).write_bytes(content)
    assert exit_code(checked(path)) == 1
    with pytest.raises(UserError, match=r"model\.mlpackage"):
        inspection.isolated(path, False)
