"""Checks go to JSON and back, and add up to an exit code in which unchecked is not passed."""

import json
import pickle
from dataclasses import asdict, replace

import numpy as np
import pytest

from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.results import Check, Comparison, exit_code, unverified

PASSED = Check("model.onnx", "onnxruntime", "fp32", "rich", "clipwise", "values", "passed")
ABSENT = Check("model.onnx", "tract", "fp32", "", "", "values", "not verified", "pip install tract")
FAILED = replace(PASSED, status="failed", message="far off")


def test_a_check_survives_json_and_pickle() -> None:
    zeros = np.zeros((1, 3), np.float32)
    comparison = compare(Sampled.of(zeros), zeros + 1, Tolerance(0.5, 0.0, "for this test"), "logit")
    for check in (ABSENT, replace(FAILED, comparison=comparison)):
        data = json.loads(json.dumps(asdict(check), allow_nan=False))
        figures = data.pop("comparison")
        assert Check(**data, comparison=figures and Comparison(**figures)) == check
        assert pickle.loads(pickle.dumps(check)) == check


@pytest.mark.parametrize(
    ("checks", "code"),
    [
        ([], 3),
        ([PASSED], 0),
        ([PASSED, ABSENT], 0),
        ([ABSENT, PASSED], 0),
        ([ABSENT], 3),
        ([PASSED, FAILED], 1),
        ([ABSENT, FAILED], 1),
        ([PASSED, replace(PASSED, kind="rules", status="failed")], 1),
        ([PASSED, replace(ABSENT, artifact="model.mlpackage")], 3),
        ([PASSED, replace(PASSED, artifact="model.mlpackage", kind="shape")], 3),
        ([replace(PASSED, artifact="", kind="checksum")], 3),
        ([replace(PASSED, artifact="", kind="checksum"), PASSED], 0),
        ([replace(PASSED, artifact="", kind="checksum", status="failed"), PASSED], 1),
    ],
)
def test_exit_code(checks: list[Check], code: int) -> None:
    assert exit_code(checks) == code
    assert exit_code(iter(checks)) == code


def test_unverified_artifacts_are_named_once() -> None:
    other = replace(ABSENT, artifact="model.mlpackage")
    assert unverified([other, PASSED, ABSENT, other]) == ["model.mlpackage"]


def test_values_that_are_wrong_were_compared_and_those_that_no_runtime_gave_were_not() -> None:
    assert unverified([FAILED, ABSENT]) == []
    for nothing in (replace(FAILED, output=""), replace(FAILED, kind="shape"), replace(FAILED, status="not verified")):
        assert unverified([nothing, ABSENT]) == ["model.onnx"]
