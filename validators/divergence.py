"""The first op of a graph that goes wrong: what goes in has a partner in the other graph, what comes out has none."""

from dataclasses import dataclass

from validators.traces import Op


@dataclass(frozen=True)
class Partner:
    """A value of B and the value of A that it equals: after `how` ("", "axes 0 2 1 3", "times 4.343", "flattened").

    `error` is the greatest difference as a share of A's greatest magnitude.
    """

    b: str
    a: str
    how: str
    error: float


@dataclass(frozen=True)
class Growth:
    """How far off an op's result is, in order of the graph: `error_in` is the worst of its inputs'.

    Both are shares of the greatest magnitude; None where the value has no partner.
    """

    op: Op
    error_in: float | None
    error_out: float | None


@dataclass(frozen=True)
class Divergence:
    """What comparing two traces found.

    `culprit` is the first op of B whose inputs all have a partner in A and whose output has none, and None where all
    outputs agree. `opposite` is the op of A that should have given the same, where that is known. `hints` are known
    mistakes that would explain it.
    """

    culprit: Op | None
    opposite: Op | None
    partners: tuple[Partner, ...]
    growth: tuple[Growth, ...]
    hints: tuple[str, ...]
