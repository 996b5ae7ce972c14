"""The rate of a plain matrix product in ONNX Runtime, which is as fast as a network's products could ever be.

A network's floor is its multiply-accumulates at that rate: nothing is moved, padded, added or activated.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import RandomState
from onnx import TensorProto, helper

from benchmarks.sessions import run, session

# Large enough for the kernel's full rate, and small enough for the caches of any machine that runs this.
_SIZE = 768

MACS = _SIZE**3


def contender(threads: int) -> Callable[[], object]:
    shape = [_SIZE, _SIZE]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    matrix = RandomState(0).uniform(-1, 1, shape).astype(np.float32)
    stored = helper.make_tensor("matrix", TensorProto.FLOAT, shape, matrix.tobytes(), raw=True)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "matrix"], ["y"])], "gemm", values[:1], values[1:], [stored]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    opened = session(model, threads)
    return lambda: run(opened, matrix)
