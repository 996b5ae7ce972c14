"""What every validator reports: plain dataclasses, and the exit code they add up to."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from typing import Literal

Status = Literal["passed", "failed", "not verified"]
Kind = Literal["checksum", "file", "names", "axes", "dtype", "shape", "values", "rules", "metadata"]


@dataclass(frozen=True)
class Comparison:
    """How far one output is from what is expected. Every figure is finite; None where it is not defined.

    Errors are |actual - expected|, in float64. Relative ones leave out elements whose expected value is zero.
    """

    max_abs: float
    max_rel: float | None
    mean_abs: float
    q999: float
    """The 99.9 % quantile of the absolute error."""
    cosine: float | None
    """None where either side is all zero."""
    snr_db: float | None
    """None where the error is zero (an infinite ratio) or all that is expected is zero."""
    top_k: int | None
    top_k_agreement: float | None
    """The share of the k greatest expected classes that are among the k greatest actual ones; ties agree."""
    flips: int | None
    """Decisions that differ: probabilities at 0.5, logits at 0, the first class of one of many; None for others."""
    atol: float
    rtol: float
    passing_atol: float
    """The smallest atol that would have passed at this rtol."""
    exceeding: int
    """How many elements are over the tolerance."""
    worst: list[int]
    """Index of the element that needs the most atol."""
    worst_expected: float
    worst_actual: float
    passed: bool

    @property
    def used(self) -> float:
        """The share of atol that is needed: at most 1 where it passed, and infinite where none is allowed and some is.

        Of two that need an infinite share, the one with the greater `passing_atol` is worse.
        """
        if not self.atol:
            return inf if self.passing_atol else 0.0
        share = self.passing_atol / self.atol
        # `passing_atol` may be an ulp more than what passed: it is a difference, and what is compared is a sum.
        return min(share, 1.0) if self.passed else share


@dataclass(frozen=True)
class Check:
    """One question asked of one file and its answer. Fields that do not apply are empty.

    `artifact` is the model file in question, by its path in the folder that it was made in. It stays empty in checks of
    other things, such as a checkpoint's checksum: whatever is named here must have its values verified (`exit_code`).
    """

    artifact: str
    runtime: str
    precision: str
    case: str
    output: str
    kind: Kind
    status: Status
    message: str = ""
    comparison: Comparison | None = None


def judged(artifact: str, precision: str, kind: Kind, faults: Iterable[str]) -> Check:
    """A check of a file itself, before it runs: passed where there are no faults, else failed with all of them."""
    message = "; ".join(faults)
    return Check(artifact, "", precision, "", "", kind, "failed" if message else "passed", message)


def unverified(checks: Iterable[Check]) -> list[str]:
    """Artifacts of which no runtime has given values that could be compared, in order of first mention.

    Values that are wrong were compared; a runtime that refused the artifact, which is of no output, compared nothing.
    """
    compared: dict[str, bool] = {}
    for check in checks:
        if check.artifact:
            seen = check.kind == "values" and check.output != "" and check.status != "not verified"
            compared[check.artifact] = compared.get(check.artifact, False) or seen
    return [artifact for artifact, seen in compared.items() if not seen]


def exit_code(checks: Iterable[Check]) -> int:
    """0: all passed. 1: a check failed. 3: nothing failed, but an artifact's values were verified by no runtime.

    Unchecked is not passed, so that no artifact at all is 3 too. A runtime that is absent while another one verified
    the same artifact does not count.
    """
    checks = list(checks)
    if any(check.status == "failed" for check in checks):
        return 1
    if unverified(checks) or not any(check.artifact for check in checks):
        return 3
    return 0
