"""Writes `docs/coreml-ops.md`: which MIL ops the executor runs, and what was checked.

Run it from the project's root: `python tests/validators/coreml/op_coverage.py`. It runs the executor's tests, less the
slow ones, and counts for each op the tests in which one of its kernels ran.
"""

import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import coremltools as ct
import pytest
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

TESTS = Path(__file__).parent
ROOT = TESTS.parents[2]
DOCUMENT = ROOT / "docs" / "coreml-ops.md"
OPSETS = ("iOS15", "iOS16", "iOS17", "iOS18")

# Ops of coremltools' registry that hold no computation of an ML program.
NOT_COMPUTED = {
    "const": "a constant, read with the file",
    "_const_symbolic": "exists in coremltools' own tests only",
}

HEADING = """# Core ML ops that the executor runs

Written by `python tests/validators/coreml/op_coverage.py`, which runs the tests and counts; do not edit.

*Op sets*: where the op begins and where a later op set redefines it. *Kernels*: the op sets for which the executor has
one of its own; an older kernel serves the newer sets where the redefinition only widens the accepted types.
*Cases*: tests in which the op ran, alone or in a program. *Verdict*: whether they all passed.

| op | op sets | kernels | cases | verdict |
| --- | --- | --- | ---: | --- |
"""


def op_sets() -> dict[str, tuple[str, ...]]:
    """For every op of coremltools' registry and the state dialect: the op sets that define or redefine it."""
    defined: dict[str, tuple[str, ...]] = {"coreml_update_state": ("iOS18",)}
    for op, versions in SSAOpRegistry.core_ops.items():
        classes = [versions.get(ct.target[opset]) for opset in OPSETS]
        defined[op] = tuple(
            opset
            for opset, this, before in zip(OPSETS, classes, [None, *classes], strict=False)
            if this is not None and this is not before
        )
    return {op: versions for op, versions in sorted(defined.items()) if op not in NOT_COMPUTED}


class Recorder:
    """A pytest plugin: which ops ran in which test, and how that test ended."""

    def __init__(self) -> None:
        self.ran: dict[str, set[str]] = defaultdict(set)
        self.failed: set[str] = set()
        self._test = ""

    def pytest_sessionstart(self) -> None:
        """Make every kernel report that it ran."""
        from validators.coreml import kernels, registry

        assert kernels.GROUPS
        for op, versions in registry._KERNELS.items():
            versions[:] = [replace(kernel, run=self._reporting(op, kernel.run)) for kernel in versions]

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Remember which test runs."""
        self._test = item.nodeid

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember which tests did not pass."""
        if report.failed:
            self.failed.add(report.nodeid)

    def _reporting(self, op: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def reporting(**arguments: Any) -> Any:
            self.ran[op].add(self._test)
            return run(**arguments)

        return reporting


def document(recorder: Recorder) -> str:
    """The text of the document."""
    from validators.coreml.registry import registered

    kernels = registered()
    lines = []
    for op, versions in op_sets().items():
        cases = recorder.ran.get(op, set())
        failures = len(cases & recorder.failed)
        verdict = "no kernel" if op not in kernels else "not checked" if not cases else "passes"
        if failures:
            verdict = f"{failures} failed"
        own = ", ".join(kernel.opset for kernel in kernels.get(op, ()))
        lines.append(f"| {op} | {', '.join(versions)} | {own} | {len(cases)} | {verdict} |")
    left_out = "\n".join(f"- `{op}`: {reason}" for op, reason in NOT_COMPUTED.items())
    return f"{HEADING}{chr(10).join(lines)}\n\nLeft out, because there is nothing to compute:\n\n{left_out}\n"


def main() -> int:
    """Run the tests and write the document; the exit status is pytest's."""
    recorder = Recorder()
    # The test that holds the document to the registry would judge the document before this one.
    ignored = f"--ignore={TESTS / 'test_op_coverage.py'}"
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider", ignored, str(TESTS), *sys.argv[1:]]
    status = pytest.main(options, plugins=[recorder])
    DOCUMENT.write_text(document(recorder))
    return int(status)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
