"""Holds the registry to coremltools' op sets, and the published table to the registry."""

import importlib.util
import re
from pathlib import Path

import pytest

from validators.coreml.registry import lookup, registered

_SPEC = importlib.util.spec_from_file_location("op_coverage", Path(__file__).with_name("op_coverage.py"))
op_coverage = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(op_coverage)

OP_SETS = op_coverage.op_sets()


def rows():
    """Cells of the table by op."""
    lines = re.findall(r"^\| ([a-z]\w*) \| (.*) \|$", op_coverage.DOCUMENT.read_text(), flags=re.MULTILINE)
    return {op: [cell.strip() for cell in rest.split("|")] for op, rest in lines if op != "op"}


@pytest.mark.parametrize("op", OP_SETS)
def test_every_op_has_a_kernel_from_the_op_set_that_brings_it(op):
    assert lookup(op, OP_SETS[op][0]) is not None


def test_no_kernel_is_for_an_op_or_op_set_that_does_not_exist():
    for op, kernels in registered().items():
        assert {kernel.opset for kernel in kernels} <= set(OP_SETS.get(op, ())), op


def test_the_table_lists_the_ops_their_op_sets_and_kernels():
    kernels = {op: ", ".join(kernel.opset for kernel in versions) for op, versions in registered().items()}
    assert {op: row[:2] for op, row in rows().items()} == {
        op: [", ".join(versions), kernels[op]] for op, versions in OP_SETS.items()
    }, "run python tests/validators/coreml/op_coverage.py"


@pytest.mark.parametrize("op", OP_SETS)
def test_every_op_was_checked_and_passed(op):
    _, _, cases, verdict = rows()[op]
    assert int(cases) > 0
    assert verdict == "passes"
