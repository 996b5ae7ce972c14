"""What may have happened at an op: known mistakes that would explain how two results, or two ops, differ."""

from collections.abc import Iterator, Mapping

import numpy as np

from recipes.base.tensor import Tolerance
from validators.compare import Sampled, shifted, within
from validators.layout import Pair, explained
from validators.traces import Op, Parameter, Trace
from validators.traces.parameters import apart

_ROUNDED = Tolerance(atol=2.0**-24, rtol=2.0**-10, reason="twice what rounding to float16 moves a number by")
_LEAST = 4


def clues(a: Trace, b: Trace, ours: Op | None, theirs: Op, limit: float) -> Iterator[str]:
    """In words, what explains that `theirs`, an op of B, does not give what `ours`, the op of A, does.

    `limit` is how far off a value may be, as a share of the greatest magnitude.
    """
    for name in theirs.outputs:
        yield from _broken(name, theirs, b)
    if ours is None:
        return
    if ours.kind == theirs.kind:
        yield from _parameters(ours.parameters, theirs.parameters)
    yield from _constants(_constant(a, ours), _constant(b, theirs), limit)
    for one, other in zip(ours.outputs, theirs.outputs, strict=False):
        if one in a.values and other in b.values:
            yield from _results(a.values[one], b.values[other], limit)


def _broken(name: str, op: Op, trace: Trace) -> Iterator[str]:
    value = trace.values.get(name)
    if value is None or value.dtype.kind != "f" or np.isfinite(value).all():
        return
    fed = [trace.values[one] for one in op.inputs if one in trace.values and trace.values[one].dtype.kind == "f"]
    if not all(np.isfinite(one).all() for one in fed):
        return
    count = int(np.count_nonzero(~np.isfinite(value)))
    overflow = value.dtype == np.float16 and np.isinf(value).any()
    why = ": float16 ends at 65504" if overflow else ""
    yield f"{count} of {value.size} values become NaN or infinite here{why}"


def _parameters(ours: Mapping[str, Parameter], theirs: Mapping[str, Parameter]) -> Iterator[str]:
    for key in sorted(ours.keys() | theirs.keys()):
        # Text, since what is no number equals nothing.
        if repr(ours.get(key)) != repr(theirs.get(key)):
            one, other = apart(theirs.get(key, "not set"), ours.get(key, "none set"))
            yield f"its {key} is {one} where the other model has {other}"


def _constant(trace: Trace, op: Op) -> list[tuple[str, np.ndarray]]:
    held = [(name, trace.constants[name]) for name in op.inputs if name in trace.constants]
    return [(name, value) for name, value in held if value.dtype.kind == "f" and value.size]


def _constants(ours: list[tuple[str, np.ndarray]], theirs: list[tuple[str, np.ndarray]], limit: float) -> Iterator[str]:
    """Weights of one size: other numbers, or the same in another order; those that agree are left aside."""
    left = [(name, value) for name, value in ours if value.size > 1]
    for other, a in sorted(theirs, key=lambda one: -one[1].size):
        alike = [(name, e) for name, e in left if e.size == a.size]
        same = next((name for name, e in alike if _as_laid(e, a, limit)), None)
        if same is not None:
            left = [one for one in left if one[0] != same]
        elif len(alike) == 1 and a.size > 1:
            ((one, e),) = alike
            yield _reordered(one, e, other, a, limit)


def _as_laid(e: np.ndarray, a: np.ndarray, limit: float) -> bool:
    """Whether one is the other as it lies, or laid as the other format wants it."""
    flat, tolerance = a.reshape(-1), _tolerance(e, limit)
    return within(e.reshape(-1), flat, tolerance) or (
        e.ndim == a.ndim == 2 and e.shape != a.shape == e.shape[::-1] and within(e.T.reshape(-1), flat, tolerance)
    )


def _reordered(one: str, e: np.ndarray, other: str, a: np.ndarray, limit: float) -> str:
    tolerance = _tolerance(e, limit)
    if e.ndim == a.ndim and (order := explained(Pair(Sampled.of(e), a.astype(np.float32, copy=False)), tolerance)):
        return f"its constant {other!r} {order}"
    if within(np.sort(e, axis=None), np.sort(a, axis=None), tolerance):
        return f"its constant {other!r} holds the numbers of {one!r} in another order: transposed?"
    if within(e.reshape(-1), a.reshape(-1), _ROUNDED):
        return f"its constant {other!r} is {one!r} rounded to float16"
    apart = int(np.count_nonzero(np.abs(e.reshape(-1) - a.reshape(-1)) > tolerance.atol))
    return f"its constant {other!r} has other numbers than {one!r}, {apart} of {e.size}: a stale weight?"


def _results(e: np.ndarray, a: np.ndarray, limit: float) -> Iterator[str]:
    bare = [size for size in e.shape if size != 1]
    if bare != [size for size in a.shape if size != 1]:
        if e.size != a.size:
            yield f"is {list(a.shape)} where the other model has {list(e.shape)}: padding, stride or dilation?"
        return
    a = a.reshape(e.shape)
    if not e.size or a.dtype.kind != "f" or not (np.isfinite(e).all() and np.isfinite(a).all()):
        return
    tolerance = _tolerance(e, limit)
    wide = a.astype(np.float32, copy=False)
    if within(e, wide, tolerance):
        return
    if e.dtype.kind == "f" and within(e, wide, _ROUNDED):
        yield "differs by no more than rounding to float16 would"
    if order := explained(Pair(Sampled.of(e), wide), tolerance):
        yield order
    for axis, size in enumerate(e.shape):
        if size >= _LEAST and shifted(Sampled.of(e), wide, axis, tolerance):
            yield f"agrees when shifted by 1 along axis {axis}: off-by-one padding?"
    yield from _edges(e, wide, tolerance)
    yield from _affine(e, wide, tolerance)


def _edges(e: np.ndarray, a: np.ndarray, tolerance: Tolerance) -> Iterator[str]:
    """Where all that is wrong lies at the ends of an axis."""
    wrong = np.abs(a - e) > tolerance.atol
    for axis, size in enumerate(e.shape):
        along = np.flatnonzero(wrong.any(axis=tuple(other for other in range(e.ndim) if other != axis)))
        if size < _LEAST or not along.size or along.size > size // 4:
            continue
        first, last = (along < size // 4).any(), (along >= size - size // 4).any()
        if set(along) <= {*range(size // 4), *range(size - size // 4, size)}:
            where = "both ends" if first and last else "the beginning" if first else "the end"
            yield f"differs only at {where} of axis {axis}, in {along.size} of {size} places: padding?"
            return


def _affine(e: np.ndarray, a: np.ndarray, tolerance: Tolerance) -> Iterator[str]:
    """A constant factor, or a constant that is added."""
    power = float((e.astype(np.float64) ** 2).sum())
    factor = float((e.astype(np.float64) * a).sum()) / power if power else 0.0
    if factor and within(e, a / np.float32(factor), tolerance):
        yield f"agrees when divided by {factor:.4g}: a wrong factor?"
    offset = float(np.mean(a.astype(np.float64) - e))
    if within(e, a - np.float32(offset), tolerance):
        yield f"agrees when {offset:.4g} is taken away: a wrong constant that is added?"


def _tolerance(e: np.ndarray, limit: float) -> Tolerance:
    scale = float(np.abs(e).max()) if e.size else 0.0
    return Tolerance(atol=limit * scale, rtol=0.0, reason="a share of the greatest magnitude")
