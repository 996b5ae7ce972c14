"""A page whose model is small enough to be checked by eye: bands of 10 ms of sound, and three classes of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import soundfile
from onnx import helper, numpy_helper

from exporters.onnx.metadata import describe
from exporters.web import folder as page
from recipes.base.config import find
from recipes.base.facts import facts_of
from recipes.base.spec import CoreML, Preparation, Variant
from recipes.base.tensor import Input

RATE, HOP, BANDS = 32000, 320, 8
# A name that would be a picture, and run a script, where it is taken for HTML.
LABELS = ("Low", "<img src=x onerror=\"document.title='run'\">", "High")


def variant(fixed: bool = False) -> Variant:
    """Of any length, or as EAT of one alone, whose peak is set and whose scores are logits of one class of many."""
    pann = find("mobilenetv1")
    clip, _, frames, _, mel = pann.outputs
    free = replace(
        pann,
        name="tiny",
        title="Tiny <b>model</b>",
        sample_rate=RATE,
        classes=3,
        input=Input("waveform", ("batch", "samples"), "Mono sound", least=2 * HOP, default=RATE, most=4 * RATE),
        outputs=(
            replace(clip, axes=("batch", 3)),
            replace(frames, axes=("batch", "frames", 3)),
            replace(mel, axes=("batch", "frames", BANDS)),
        ),
        scores="clipwise",
        coreml=CoreML(float32_through="melspec"),
    )
    if not fixed:
        return free
    return replace(
        free,
        input=Input("waveform", ("batch", RATE), "Mono sound"),
        preparation=Preparation(peak=0.95),
        outputs=(replace(free.outputs[0], kind="multiclass_logit"),),
        coreml=CoreML(float32_through=None),
    )


def model(scale: float = 1.0, fixed: bool = False) -> onnx.ModelProto:
    """Cosines by HOP samples, their logarithm, three means of it; `scale` other than 1 makes another model of it."""
    pitch = (np.arange(BANDS) + 0.5) / BANDS
    cosines = np.cos(np.pi * (np.arange(HOP)[:, None] * pitch + 0.25)).astype(np.float32) / HOP
    low, high = pitch < 0.2, pitch > 0.6
    groups = np.stack([low, ~low & ~high, high], axis=1)
    classes = (scale * groups / groups.sum(axis=0)).astype(np.float32)
    constants = {
        "hop": np.array([HOP], np.int64),
        "zero": np.array([0], np.int64),
        "frames_of": np.array([0, -1, HOP], np.int64),
        "one": np.array([1], np.int64),
        "cosines": cosines,
        "floor": np.float32(1e-4),
        "classes": classes,
        "offset": np.float32(7),
    }
    steps = [
        helper.make_node("Shape", ["waveform"], ["samples"], start=1),
        helper.make_node("Div", ["samples", "hop"], ["count"]),
        helper.make_node("Mul", ["count", "hop"], ["end"]),
        helper.make_node("Slice", ["waveform", "zero", "end", "one"], ["whole"]),
        helper.make_node("Reshape", ["whole", "frames_of"], ["cut"]),
        helper.make_node("MatMul", ["cut", "cosines"], ["bands"]),
        helper.make_node("Abs", ["bands"], ["size"]),
        helper.make_node("Add", ["size", "floor"], ["above"]),
        helper.make_node("Log", ["above"], ["melspec"]),
        helper.make_node("MatMul", ["melspec", "classes"], ["sums"]),
        helper.make_node("Add", ["sums", "offset"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["framewise"]),
        helper.make_node("ReduceMean", ["logits" if fixed else "framewise"], ["clipwise"], axes=[1], keepdims=0),
    ]
    tiny = variant(fixed)
    ports = [
        helper.make_tensor_value_info(port.name, onnx.TensorProto.FLOAT, port.axes)
        for port in (tiny.input, *tiny.outputs)
    ]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(steps, "tiny", ports[:1], ports[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_operatorsetid("", 17)], ir_version=8)


def tone(hertz: float, seconds: float, rate: int = RATE) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write(folder: Path, package: Path, scale: float = 1.0, fixed: bool = False) -> Path:
    """`web` in the folder, with the sounds `low` and `high`."""
    tiny = variant(fixed)
    facts = facts_of(tiny, "synthetic", "0" * 64, LABELS)
    made = model(scale, fixed)
    describe(made, tiny, facts)
    onnx.save(made, folder / "model.onnx")
    sounds = {"low": folder / "low.wav", "high": folder / "high.wav"}
    soundfile.write(sounds["low"], tone(1000, 1), RATE, "FLOAT")
    soundfile.write(sounds["high"], tone(13000, 1), RATE, "FLOAT")
    (folder / "web").mkdir()
    page.write(folder / "web", folder / "model.onnx", tiny, facts, sounds, package)
    return folder / "web"
