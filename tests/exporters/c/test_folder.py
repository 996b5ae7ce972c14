"""What the folder of C holds, all of it made of a model.onnx."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exporters.c import folder
from recipes.base.errors import UserError


@pytest.fixture
def toy(graph: Any, described: Any) -> Callable[..., onnx.ModelProto]:
    """`toy(labels=..., ...)`: scores of as many classes as there are labels."""

    def build(labels: tuple[str, ...] = ("a", "b"), **facts: Any) -> onnx.ModelProto:
        nodes = [
            ("ReduceMean", ["x"], ["mean"], {"axes": [1], "keepdims": 1}),
            ("Mul", ["mean", "gains"], ["scores"], {}),
        ]
        gains = np.arange(1, len(labels) + 1, dtype=np.float32)[None]
        return described(graph(nodes, ["scores"], {"gains": gains}), labels, **facts)

    return build


def test_the_same_graph_gives_the_same_bytes(toy: Any) -> None:
    first = folder.contents(toy(), "model.onnx")
    assert first == folder.contents(toy(), "model.onnx")
    assert {
        "model.c",
        "model.h",
        "tag.c",
        "weights.S",
        "weights.bin",
        "CMakeLists.txt",
        "README.md",
        "model.json",
    } < set(first)
    assert {name for name in first if name.startswith("kernels/")} >= {
        "kernels/kernels.h",
        "kernels/hot.h",
        "kernels/simd.c",
    }


def test_the_weights_are_there_once(toy: Any) -> None:
    assert np.frombuffer(folder.contents(toy(), "model.onnx")["weights.bin"], "<f4").tolist() == [1, 2, *[0] * 14]


def test_whatever_a_graph_says_stays_text(toy: Any, cc: Any, tmp_path: Path) -> None:
    labels = ('"; system("touch /tmp/x"); //', "*/ int main;", "\\", "line\nbreak", "\u202e ♪", "??/")
    model = toy(labels, license='*/ #error "no" /*')
    model.doc_string = "*/ int broken"
    model.graph.output[0].doc_string = "*/ int broken\nint more;"
    folder.write(tmp_path / "c", model, "model.onnx")
    program = tmp_path / "c" / "print.c"
    program.write_text(
        '#include "model.h"\n#include <stdio.h>\n'
        "int main(void) { for (int i = 0; i < TOY_CLASSES; i++) puts(toy_labels[i]); return 0; }\n"
    )
    cc(tmp_path / "print", program, tmp_path / "c" / "labels.c")
    assert subprocess.run([tmp_path / "print"], capture_output=True).stdout.decode() == "\n".join(labels) + "\n"
    cc(tmp_path / "model.o", "-c", tmp_path / "c" / "model.c")


def test_a_model_that_was_not_made_here_is_refused(toy: Any) -> None:
    model = toy()
    del model.metadata_props[:]
    with pytest.raises(UserError, match=r"^other\.onnx: its metadata is not what"):
        folder.contents(model, "other.onnx")


def test_a_graph_without_a_form_in_c_is_one_clear_error(toy: Any) -> None:
    model = toy()
    model.graph.node[0].op_type = "ReduceProd"
    with pytest.raises(
        UserError, match=r"^model\.onnx: has no form in C: ReduceProd mean: the operator ReduceProd; make"
    ):
        folder.contents(model, "model.onnx")


def test_the_stated_memory_is_what_the_model_asks_for(
    exported: onnx.ModelProto, cc: Any, kernels: Any, tmp_path: Path
) -> None:
    folder.write(tmp_path / "c", exported, "model.onnx")
    (said,) = [line for line in (tmp_path / "c" / "README.md").read_text().splitlines() if "MB" in line]
    program = tmp_path / "c" / "print.c"
    program.write_text(
        '#include "model.h"\n#include <stdio.h>\n'
        'int main(void) { printf("%.1f MB", mobilenetv1_memory(MOBILENETV1_DEFAULT) / 1e6); return 0; }\n'
    )
    library = Path(kernels._name)
    cc(tmp_path / "print", program, tmp_path / "c" / "model.c", library, f"-Wl,-rpath,{library.parent}", "-lm")
    found = subprocess.run([tmp_path / "print"], capture_output=True).stdout.decode()
    assert f" {found} of memory for 10 s of sound." in said
    assert float(found.split()[0]) < 64


@pytest.fixture(scope="session")
def exported(exported_pann: Path, pann: Any) -> onnx.ModelProto:
    """PANN as it ships."""
    from exporters.onnx.metadata import describe
    from exporters.onnx.simplify import simplify
    from recipes.base.facts import facts_of

    model = simplify(onnx.load(str(exported_pann)))
    describe(model, pann, facts_of(pann, "synthetic", "0" * 64, tuple(f"class {n}" for n in range(527))))
    return model


@pytest.mark.parametrize("name", ["inputs", "outputs", "metadata"])
def test_programs_are_told_what_is_fed_and_given(toy: Any, name: str) -> None:
    said = json.loads(folder.contents(toy(), "model.onnx")["model.json"])
    assert (
        said[name]
        == {
            "inputs": [{"name": "x", "axes": [1, "samples"]}],
            "outputs": [{"name": "scores", "axes": [1, 2]}],
            "metadata": said["metadata"] | {"variant": "toy", "sample_rate": "1000"},
        }[name]
    )


def test_a_model_without_classes_is_c_too(toy: Any, cc: Any, tmp_path: Path) -> None:
    model = toy(scores=None, scores_kind=None)
    for prop in model.metadata_props:
        if prop.key == "labels":
            prop.value = "[]"
    folder.write(tmp_path / "c", model, "model.onnx")
    assert "labels" not in (tmp_path / "c" / "model.h").read_text()
    for name in ("model", "labels"):
        cc(tmp_path / f"{name}.o", "-c", tmp_path / "c" / f"{name}.c")
    cc(tmp_path / "tag.o", "-Wno-unused-function", "-c", tmp_path / "c" / "tag.c")
