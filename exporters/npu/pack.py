"""The files beside the graph: configuration, the program that reads raw arrays, and the arrays themselves."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recipes.base import npz
from recipes.base.spec import Variant

_Array = NDArray[np.float32]

# Named so in docs/npu.md, and in the toolchain's own examples.
INPUT_CONFIG = "input_config.ini"
# The tools import it by name, from the end of their path, where a plain "preprocess" might find another.
PREPROCESS = "raw_preprocess.py"
CALIBRATION = "calibration"
INPUTS = "inputs"
EXPECTED = "expected"

FORMAT = "RAWDATA_F32_NHWC"

# A chip of the vendor's examples; nothing of a model says which one it is for.
_CHIP = "pcupid"

_PROGRAM = '''"""What calibrator.py and simulator.py call, by `-n {name}`, for each raw array that they read."""

import numpy as np

SHAPE = {shape}


def image_preprocess(path, norm=True):
    """The array as the network is fed it; `norm` is for images."""
    return np.fromfile(path, "<f4").reshape(SHAPE)
'''


def nhwc(array: _Array) -> _Array:
    """An array of ONNX's order in the toolchain's: four axes become batch, height, width, channels.

    Fewer axes stay as they are: the converter moves none of them (docs/npu.md).
    """
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)) if array.ndim == 4 else array


def nhwc_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an array in the toolchain's order."""
    return tuple(shape[axis] for axis in (0, 2, 3, 1)) if len(shape) == 4 else shape


def write_configuration(folder: Path, variant: Variant, model: str, size: int) -> None:
    """`input_config.ini`, `NAME.cfg` and `raw_preprocess.py`; `model` is the graph, `size` its input's last axis."""
    tensor, outputs = variant.input, variant.outputs
    shape = tensor.shape(1, size)
    config = {
        "INPUT_CONFIG": {
            "inputs": tensor.name,
            "training_input_formats": FORMAT,
            "input_formats": FORMAT,
            "quantizations": "TRUE",
        },
        "OUTPUT_CONFIG": {
            "outputs": ",".join(output.name for output in outputs),
            # Without it, outputs come as int16, their last axis padded to what the hardware writes.
            "dequantizations": ",".join("TRUE" for _ in outputs),
        },
    }
    sections = (
        "\n".join([f"[{name}]", *(f"{key}={value};" for key, value in keys.items())]) for name, keys in config.items()
    )
    (folder / INPUT_CONFIG).write_text("\n\n".join(sections) + "\n", encoding="utf-8")

    keys = {
        "CHIP_LIST": _CHIP,
        "Model_LIST": model.removesuffix(".onnx"),
        "INPUT_SIZE_LIST": ",".join(map(str, shape)),
        "INPUT_INI": INPUT_CONFIG,
        "CLASS_NUM": str(variant.classes),
        "SAVE_NAME_LIST": f"{variant.name}.img",
        "QUANT_DATA_PATH": CALIBRATION,
    }
    lines = [f"[{variant.name.upper()}]", *(f"{key}={value}" for key, value in keys.items())]
    (folder / f"{variant.name}.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")

    program = _PROGRAM.format(name=PREPROCESS, shape=nhwc_shape(shape))
    (folder / PREPROCESS).write_text(program, encoding="utf-8")


def write_raw(folder: Path, arrays: Mapping[str, _Array]) -> None:
    """Each array as `NAME.bin`: little-endian float32 in the toolchain's order, and nothing else."""
    folder.mkdir()
    for name, array in arrays.items():
        nhwc(array).astype("<f4").tofile(folder / f"{name}.bin")


def write_expected(folder: Path, cases: Mapping[str, Mapping[str, _Array]]) -> None:
    """Each case's outputs by name as `CASE.npz`, in the toolchain's order."""
    folder.mkdir()
    for name, outputs in cases.items():
        npz.write(folder / f"{name}.npz", {output: nhwc(array) for output, array in outputs.items()})
