"""The kernels and small models compiled and called as they are; a compiler is needed."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from exporters.c import folder, source
from exporters.c.translate import program_of
from recipes.base.facts import Facts

KERNELS = Path(folder.__file__).parent / "kernels"
# More of them where the tests run under the sanitizers.
FLAGS = os.environ.get("KERNEL_FLAGS", "").split()

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="session")
def cc() -> Callable[..., None]:
    """`cc(output, *words)`: compiles, with every warning an error."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")

    def compile_(output: Path, *words: object) -> None:
        command = ["cc", "-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", *FLAGS, "-o", output, *words]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    return compile_


@pytest.fixture(scope="session")
def kernels(cc: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """All kernels as a library."""
    library = tmp_path_factory.mktemp("kernels") / "libkernels.so"
    cc(library, "-shared", "-fPIC", *sorted(KERNELS.glob("*.c")), "-lm")
    return ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)


@pytest.fixture
def compiled(
    cc: Callable[..., None], kernels: ctypes.CDLL, tmp_path: Path
) -> Callable[[onnx.ModelProto], Callable[[np.ndarray], Arrays]]:
    """`compiled(model)`: what runs a graph's C on an array of any length, with its memory and outputs just as large."""
    (tmp_path / "kernels").symlink_to(KERNELS)

    def build(model: onnx.ModelProto) -> Callable[[np.ndarray], Arrays]:
        fixed = model.graph.input[0].type.tensor_type.shape.dim[-1].dim_value
        least, most = (fixed, fixed) if fixed else (100, 10**6)
        program, fed, outputs = program_of(model, 1000, least)
        # As short as whoever calls it says.
        least = min(least, 1) if not fixed else least
        constants = {"AXES": 8, "WEIGHTS": 1, "CLASSES": 1}
        texts = dict.fromkeys(outputs, "")
        (tmp_path / "model.h").write_text(source.header("net", constants, None, "", "", texts))
        (tmp_path / "model.c").write_text(source.source(program, "net", fed, outputs, least, most))
        cc(tmp_path / "net.so", "-shared", "-fPIC", tmp_path / "model.c", "-lm")
        library = ctypes.CDLL(str(tmp_path / "net.so"))
        library.net_memory.restype = ctypes.c_size_t
        weights = program.blob()

        def run(x: np.ndarray) -> Arrays:
            x = np.ascontiguousarray(x, np.float32)
            length = ctypes.c_size_t(x.shape[-1])
            # Nothing in it may matter.
            memory = np.full(library.net_memory(length) // 4, np.nan, np.float32)
            answers = {}
            for number, name in enumerate(outputs):
                shape = (ctypes.c_size_t * 8)()
                axes = library.net_shape(number, length, shape)
                answers[name] = np.full(shape[:axes], np.nan, np.float32)
            pointers = (ctypes.c_void_p * len(answers))(*(array.ctypes.data for array in answers.values()))
            assert library.net_run(_at(weights), _at(x), length, _at(memory), pointers) == 0
            return answers

        return run

    return build


def _at(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


@pytest.fixture(scope="session")
def graph() -> Callable[..., onnx.ModelProto]:
    """`graph(nodes, outputs, constants, fed)`: a model of nodes, each (operator, inputs, outputs, attributes)."""

    def build(
        nodes: list[tuple[str, list[str], list[str], dict[str, Any]]],
        outputs: list[str],
        constants: dict[str, np.ndarray] | None = None,
        fed: tuple[str | int, ...] = ("batch", "samples"),
    ) -> onnx.ModelProto:
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, fed)
        made = helper.make_graph(
            [helper.make_node(kind, reads, makes, **attributes) for kind, reads, makes, attributes in nodes],
            "net",
            [value],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            [onnx.numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
        )
        model = helper.make_model(made, opset_imports=[helper.make_operatorsetid("", 17)], ir_version=8)
        return onnx.shape_inference.infer_shapes(model)

    return build


@pytest.fixture(scope="session")
def described() -> Callable[..., onnx.ModelProto]:
    """`described(model, labels, peak=...)`: with the metadata of a model that was made here, for sound at 1 kHz."""

    def describe(model: onnx.ModelProto, labels: tuple[str, ...], **changed: Any) -> onnx.ModelProto:
        facts: dict[str, Any] = {
            "model_type": "toy",
            "variant": "toy",
            "weights": "synthetic",
            "checkpoint_sha256": "0" * 64,
            "sample_rate": 1000,
            "least_size": 4,
            "scores": "scores",
            "scores_kind": "probability",
            "labels": labels,
            "author": "nobody",
            "license": "none",
            "source": "none",
            "version": "0",
            **changed,
        }
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        for key, value in Facts(**facts).to_strings().items():
            copy.metadata_props.add(key=key, value=value)
        return copy

    return describe
