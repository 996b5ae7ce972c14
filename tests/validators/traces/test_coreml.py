"""The executor shows every op of a package, as the file rounds it and without."""

from pathlib import Path

import numpy as np
import pytest

from recipes.base.quiet import quiet
from validators.runners.runner import RunnerError

with quiet("coremltools"):
    import coremltools as ct

    from tests import planted_net
    from validators.traces.coreml import trace_float32, trace_stored


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    with quiet("coremltools"):
        planted_net.write_coreml(folder / "whole.mlpackage")
        planted_net.write_coreml(folder / "half.mlpackage", ct.precision.FLOAT16)
    return folder


def test_every_op_is_there_with_what_it_takes_and_gives(packages: Path) -> None:
    found = trace_stored(packages / "whole.mlpackage", {"image": planted_net.X})
    kinds = [op.kind for op in found.ops]
    assert kinds[:5] == ["pad", "conv", "batch_norm", "leaky_relu", "conv"]
    assert (found.source, found.runtime) == ("whole.mlpackage", "executor")
    assert (found.inputs, found.outputs) == (("image",), ("peaks", "means"))
    pad, conv = found.ops[:2]
    assert pad.parameters["mode"] == "reflect"
    assert pad.parameters["pad"] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert conv.inputs[0] == pad.outputs[0]
    (weight,) = (name for name in conv.inputs if found.constants.get(name, np.zeros(0)).ndim == 4)
    np.testing.assert_array_equal(found.constants[weight], planted_net.WEIGHTS["first"])
    assert all(name in found.values for op in found.ops for name in op.outputs)


def test_in_float32_nothing_is_rounded_but_what_the_file_holds(packages: Path) -> None:
    stored, whole = (
        trace(packages / "half.mlpackage", {"image": planted_net.X}) for trace in (trace_stored, trace_float32)
    )
    assert [op.name for op in stored.ops] == [op.name for op in whole.ops]
    halves = [name for name, value in stored.values.items() if value.dtype == np.float16]
    assert len(halves) > 8
    assert all(whole.values[name].dtype == np.float32 for name in halves)
    assert any(value.dtype == np.float16 for value in stored.constants.values())
    assert whole.runtime == "executor-float32"


def test_what_cannot_be_run_is_a_runners_error(packages: Path, tmp_path: Path) -> None:
    with pytest.raises(RunnerError):
        trace_stored(tmp_path, {})
    with pytest.raises(RunnerError, match="image"):
        trace_stored(packages / "whole.mlpackage", {"other": planted_net.X})
