"""Whether an NPU pack is what it should be: the graph's form, what its configuration says of it, its raw arrays."""

import ast
import string
from collections.abc import Iterator
from configparser import ConfigParser
from configparser import Error as ConfigError
from math import prod
from pathlib import Path

import numpy as np
import onnx

from recipes.base import files
from recipes.base.errors import UserError
from recipes.base.tensor import Input, Output
from validators.compare import axis_faults
from validators.dumps import numpy_file
from validators.onnx_file import check_onnx_file
from validators.results import Check, judged

_Shape = tuple[int, ...]

_FORMAT = "RAWDATA_F32_NHWC"
_PROGRAM = "raw_preprocess.py"
# Of what is expected of a case.
_MOST_BYTES = 2**30
_BYTES = np.dtype(np.float32).itemsize


def check_npu_pack(path: Path, tensor: Input, outputs: tuple[Output, ...], size: int, opset: int) -> list[Check]:
    """The graph at `path` and the files beside it, for a batch of 1 and `size` in the input's last axis.

    One check a property; a failed one says what was found and what was expected.
    """
    # Its axes are numbers, where a model.onnx has names.
    checks = [check for check in check_onnx_file(path, tensor, outputs, opset) if check.kind != "axes"]
    if any(check.status == "failed" for check in checks):
        return checks
    model = onnx.load(str(path), load_external_data=False)
    shapes = {value.name: _shape(value) for value in (*model.graph.input, *model.graph.output)}
    checks.append(judged(path.name, "fp32", "axes", _axis_faults(model, shapes, tensor, outputs, size)))
    if checks[-1].status == "failed":
        return checks
    folder, fed = path.parent, shapes[tensor.name]
    given = {output.name: shapes[output.name] for output in outputs}
    return [
        *checks,
        judged(
            path.name,
            "fp32",
            "rules",
            [*_configuration_faults(path, tensor.name, fed, tuple(given)), *_program_faults(folder, fed)],
        ),
        judged(path.name, "fp32", "shape", [*_raw_faults(folder, prod(fed)), *_expected_faults(folder, given)]),
    ]


def _shape(value: onnx.ValueInfoProto) -> _Shape:
    """0 where an axis is no number."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)


def _axis_faults(
    model: onnx.ModelProto, shapes: dict[str, _Shape], tensor: Input, outputs: tuple[Output, ...], size: int
) -> Iterator[str]:
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    known = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
    names = [*shapes, *(name for node in graph.node for name in node.output if name)]
    if free := sorted({name for name in names if name not in known or 0 in _shape(known[name])}):
        yield f"{len(free)} tensors have no fixed shape, {free[0]} among them"
    if shapes[tensor.name] != tensor.shape(1, size):
        yield f"{tensor.name} is {list(shapes[tensor.name])}, expected {list(tensor.shape(1, size))}"
    for name, faults in axis_faults({output.name: shapes[output.name] for output in outputs}, outputs).items():
        yield from (f"{name}: {fault}" for fault in faults)
        if shapes[name][:1] != (1,):
            yield f"{name} is {list(shapes[name])}, expected a batch of 1"


def _configuration_faults(path: Path, fed: str, shape: _Shape, given: tuple[str, ...]) -> Iterator[str]:
    """What `input_config.ini` and the .cfg have against the graph."""
    folder = path.parent
    found = _read(folder / "input_config.ini")
    expected = {
        ("INPUT_CONFIG", "inputs"): (fed,),
        ("INPUT_CONFIG", "training_input_formats"): (_FORMAT,),
        ("INPUT_CONFIG", "input_formats"): (_FORMAT,),
        ("OUTPUT_CONFIG", "outputs"): given,
    }
    switches = {("INPUT_CONFIG", "quantizations"): 1, ("OUTPUT_CONFIG", "dequantizations"): len(given)}
    for section, key in [*expected, *switches]:
        if not found.has_option(section, key):
            yield f"input_config.ini has no {key} in [{section}]"
            continue
        values = _values(found.get(section, key))
        if (section, key) in expected and values != expected[section, key]:
            yield f"input_config.ini says {key} {', '.join(values)}, and it is {', '.join(expected[section, key])}"
        elif (section, key) in switches and (len(values) != switches[section, key] or set(values) - {"TRUE", "FALSE"}):
            yield f"input_config.ini says {key} {', '.join(values)}, not {switches[section, key]} of TRUE or FALSE"
    for name in (fed, *given):
        # Its reader strips punctuation off both ends of the line.
        if name != name.strip(string.punctuation):
            yield f"the toolchain would take {name} for {name.strip(string.punctuation)}; name it otherwise"

    named = list(folder.glob("*.cfg"))
    if len(named) != 1:
        yield f"holds {len(named)} .cfg files, expected 1"
        return
    config = _read(named[0])
    wanted = {
        "Model_LIST": path.name.removesuffix(".onnx"),
        "INPUT_SIZE_LIST": ",".join(map(str, shape)),
        "INPUT_INI": "input_config.ini",
        "QUANT_DATA_PATH": "calibration",
    }
    for key, value in wanted.items():
        said = [config.get(section, key) for section in config.sections() if config.has_option(section, key)]
        if said != [value]:
            yield f"{named[0].name} says {key} {', '.join(said) or '(nothing)'}, and it is {value}"


def _program_faults(folder: Path, fed: _Shape) -> Iterator[str]:
    """What the program that reads raw arrays has against the input; it is parsed, and never run."""
    wanted = str(_nhwc(fed))
    try:
        body = ast.parse((folder / _PROGRAM).read_bytes()).body
        said = [
            ast.unparse(line.value)
            for line in body
            if isinstance(line, ast.Assign) and "SHAPE" in map(ast.unparse, line.targets)
        ]
    except FileNotFoundError:
        yield f"{_PROGRAM} is missing"
    except OSError as error:
        yield f"{_PROGRAM} cannot be read: {error.strerror}"
    # Python says MemoryError or RecursionError to what is nested too deep.
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        yield f"{_PROGRAM} is no Python program"
    else:
        if said != [wanted]:
            yield f"{_PROGRAM} says SHAPE {' and '.join(said)[:100] or '(nothing)'}, and it is {wanted}"


def _nhwc(shape: _Shape) -> _Shape:
    """Four axes are moved to batch, height, width, channels; fewer stay."""
    return (shape[0], *shape[2:], shape[1]) if len(shape) == 4 else shape


def _read(path: Path) -> ConfigParser:
    """What the file says; empty where it is missing or no configuration, so that every key is found missing."""
    config = ConfigParser(interpolation=None)
    try:
        config.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ConfigError):
        return ConfigParser(interpolation=None)
    return config


def _values(line: str) -> tuple[str, ...]:
    """As the toolchain's converter reads a list: commas between, a semicolon at the end."""
    return tuple(line.replace(" ", "").strip(";").split(","))


def _raw_faults(folder: Path, count: int) -> Iterator[str]:
    for name in ("calibration", "inputs"):
        files = sorted((folder / name).glob("*"))
        if not files:
            yield f"{name} holds nothing"
        for file in files:
            if not file.is_file() or (size := file.stat().st_size) != count * _BYTES:
                found = f"has {size} bytes" if file.is_file() else "is no file"
                yield f"{name}/{file.name} {found}, expected {count * _BYTES} bytes"
                continue
            content = file.read_bytes()
            if not np.isfinite(np.frombuffer(content, "<f4")).all():
                yield f"{name}/{file.name} has values that are NaN or infinite"


def _expected_faults(folder: Path, given: dict[str, _Shape]) -> Iterator[str]:
    cases = {file.stem for file in (folder / "inputs").glob("*.bin")}
    answered = {file.stem for file in (folder / "expected").glob("*.npz")}
    if cases != answered:
        yield f"inputs and expected differ in {', '.join(sorted(cases ^ answered))}"
    wanted = {name: _nhwc(shape) for name, shape in given.items()}
    for name in sorted(answered):
        path = folder / "expected" / f"{name}.npz"
        try:
            arrays = numpy_file.arrays(path, files.content(path, _MOST_BYTES))
        except (OSError, UserError) as error:
            yield f"expected/{name}.npz is no NumPy file that can be read ({error})"
            continue
        shapes = {output: array.shape for output, array in arrays.items()}
        if shapes != wanted:
            yield f"expected/{name}.npz has {shapes}, expected {wanted}"
        elif bad := [
            output for output, array in arrays.items() if array.dtype != np.float32 or not np.isfinite(array).all()
        ]:
            yield f"expected/{name}.npz: {', '.join(bad)} is not float32, or not finite"
