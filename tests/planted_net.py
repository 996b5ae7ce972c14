"""One small network in both formats, made by hand, with an op for every kind of fault."""

from pathlib import Path

import coremltools as ct
import numpy as np
import onnx
from coremltools.converters.mil import Builder as mb
from onnx import TensorProto, helper, numpy_helper

_RANDOM = np.random.RandomState(11)
SHAPE = (1, 4, 19, 19)
X = _RANDOM.randn(*SHAPE).astype(np.float32)
EPSILON, SLOPE = 1e-5, 0.2


def _drawn(*shape: int) -> np.ndarray:
    return (_RANDOM.randn(*shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


WEIGHTS = {
    "first": _drawn(6, 4, 3, 3),
    "second": _drawn(6, 6, 3, 3),
    "turn": _drawn(6, 6),
    "gain": _RANDOM.uniform(0.5, 2, 6).astype(np.float32),
    "offset": _drawn(6),
    "mean": _drawn(6),
    "variance": _RANDOM.uniform(0.05, 0.5, 6).astype(np.float32),
}


def write_onnx(path: Path) -> Path:
    """As ONNX, in opset 17."""
    fixed = {
        "around": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        "twice": np.array([1, 1, 2, 2], np.float32),
        "flat": np.array([1, 6, 400]),
        **WEIGHTS,
    }
    nodes = [
        helper.make_node("Pad", ["x", "around"], ["padded"], mode="reflect"),
        helper.make_node("Conv", ["padded", "first"], ["conv"], kernel_shape=[3, 3]),
        helper.make_node(
            "BatchNormalization", ["conv", "gain", "offset", "mean", "variance"], ["normal"], epsilon=EPSILON
        ),
        helper.make_node("LeakyRelu", ["normal"], ["leaky"], alpha=SLOPE),
        helper.make_node("Conv", ["leaky", "second"], ["wide"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node(
            "AveragePool", ["wide"], ["smooth"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
        ),
        helper.make_node("MaxPool", ["smooth"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
        helper.make_node(
            "Resize",
            ["pooled", "", "twice"],
            ["large"],
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        ),
        helper.make_node("Reshape", ["large", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["columns", "turn"], ["turned"]),
        helper.make_node("Softmax", ["turned"], ["shares"], axis=-1),
        helper.make_node("ReduceMax", ["shares"], ["peaks"], axes=[1], keepdims=0),
        helper.make_node("MaxPool", ["leaky"], ["halved"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ReduceMean", ["halved"], ["means"], axes=[2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 6]) for name in ("peaks", "means")],
        [numpy_helper.from_array(value, name) for name, value in fixed.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def write_coreml(path: Path, precision: ct.precision = ct.precision.FLOAT32) -> Path:
    """As an ML program; names are others than in ONNX."""

    @mb.program(input_specs=[mb.TensorSpec(SHAPE)], opset_version=ct.target.iOS16)
    def net(image):  # type: ignore[no-untyped-def]
        value = mb.pad(x=image, pad=[0, 0, 0, 0, 1, 1, 1, 1], mode="reflect")
        value = mb.conv(x=value, weight=WEIGHTS["first"])
        value = mb.batch_norm(
            x=value,
            mean=WEIGHTS["mean"],
            variance=WEIGHTS["variance"],
            gamma=WEIGHTS["gain"],
            beta=WEIGHTS["offset"],
            epsilon=np.float32(EPSILON),
        )
        leaky = mb.leaky_relu(x=value, alpha=np.float32(SLOPE))
        value = mb.conv(x=leaky, weight=WEIGHTS["second"], pad_type="custom", pad=[1, 1, 1, 1])
        value = mb.avg_pool(
            x=value,
            kernel_sizes=[3, 3],
            strides=[1, 1],
            pad_type="custom",
            pad=[1, 1, 1, 1],
            exclude_padding_from_average=False,
        )
        value = mb.max_pool(x=value, kernel_sizes=[2, 2], strides=[2, 2], pad_type="custom", pad=[0, 1, 0, 1])
        value = mb.upsample_bilinear(
            x=value,
            scale_factor_height=np.float32(2),
            scale_factor_width=np.float32(2),
            align_corners=False,
            half_pixel_centers=True,
        )
        value = mb.transpose(x=mb.reshape(x=value, shape=[1, 6, 400]), perm=[0, 2, 1])
        value = mb.softmax(x=mb.matmul(x=value, y=WEIGHTS["turn"]), axis=-1)
        peaks = mb.reduce_max(x=value, axes=[1], keep_dims=False, name="peaks")
        halved = mb.max_pool(x=leaky, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid", ceil_mode=False)
        return peaks, mb.reduce_mean(x=halved, axes=[2, 3], keep_dims=False, name="means")

    # What would be folded is left as it is: a fault needs a place.
    passes = ct.PassPipeline.EMPTY if precision is ct.precision.FLOAT32 else ct.PassPipeline.DEFAULT
    made = ct.convert(
        net,
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=precision,
        pass_pipeline=passes,
        skip_model_load=True,
    )
    made.save(str(path))
    return path
