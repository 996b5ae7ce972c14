"""Compares a model's outputs with those expected: names, dtypes, shapes, axes, values, and every fault reported."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from functools import partial
from itertools import islice
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recipes.base.tensor import SCORES, Tolerance
from validators.results import Check, Comparison, Kind, Status

TOP_K = 5
FLOAT32_MAX = float(np.finfo(np.float32).max)
_THREE_DIGITS_UP = Context(prec=3, rounding=ROUND_CEILING)
_LONG = {np.dtype(np.int64), np.dtype(np.uint64)}
_MOST_LISTED = 5
THRESHOLDS = {"probability": 0.5, "logit": 0.0}

Axes = Sequence[str | int]


@dataclass(frozen=True)
class Sampled:
    """Elements 0, stride, 2 * stride, ... of an array of that shape, flattened in C order; stride 1 has them all."""

    shape: tuple[int, ...]
    stride: int
    values: NDArray[np.generic]

    @classmethod
    def of(cls, array: "NDArray[np.generic] | Sampled", stride: int = 1) -> "Sampled":
        """What `array` holds at that stride; what is sampled already stays as it is."""
        if isinstance(array, Sampled):
            return array
        array = np.asarray(array)
        return cls(array.shape, stride, array.reshape(-1)[::stride])

    def sampled(self, actual: NDArray[np.generic]) -> NDArray[np.generic]:
        """The elements of a whole array that stand against `values`."""
        return Sampled.of(actual, self.stride).values

    def spread(self) -> NDArray[np.generic]:
        """The whole array, with NaN for each element that is not there, and so of floats then."""
        if self.stride == 1:
            return self.values.reshape(self.shape)
        whole = np.full(prod(self.shape), np.nan, np.result_type(self.values, np.float16))
        whole[:: self.stride] = self.values
        return whole.reshape(self.shape)

    def index(self, position: int) -> list[int]:
        """Where in the whole array the element at that position of `values` is."""
        return [int(i) for i in np.unravel_index(position * self.stride, self.shape)]


def compare_outputs(
    expected: Mapping[str, "NDArray[np.generic] | Sampled"],
    actual: Mapping[str, NDArray[np.generic]],
    outputs: "Sequence[Compared]",
    tolerances: Mapping[str, Tolerance],
    *,
    artifact: str,
    runtime: str,
    precision: str,
    case: str,
    dtype: str = "float32",
) -> list[Check]:
    """Checks of names, dtypes, shapes, axes and values, in this order, each for every output.

    Outputs must be of `dtype`, and |actual - expected| <= atol + rtol * |expected| must hold for each element, in
    float64. NaN and infinity on either side fail, as do empty arrays and an output without a tolerance. Values that
    cannot be compared, because the output or its shape is wrong, are reported as not verified beside the failure that
    says why.
    """
    wanted = {name: Sampled.of(array) for name, array in expected.items()}
    got = {name: np.asarray(array) for name, array in actual.items()}
    known = {output.name for output in outputs}

    check = partial(Check, artifact, runtime, precision, case)

    def report(kind: Kind, output: str, faults: Iterable[str]) -> Check:
        message = "; ".join(faults)
        return check(output, kind, "failed" if message else "passed", message)

    checks = []
    for name in [*(output.name for output in outputs), *sorted((wanted.keys() | got.keys()) - known)]:
        checks.append(report("names", name, _name_faults(name, known, wanted, got)))
    present = [output for output in outputs if output.name in got]
    for output in present:
        found = got[output.name].dtype
        checks.append(report("dtype", output.name, [] if found == dtype else [f"is {found}, not {dtype}"]))
    comparable = [output for output in present if output.name in wanted]
    for output in comparable:
        shapes = wanted[output.name].shape, got[output.name].shape
        faults = [] if shapes[0] == shapes[1] else [f"{list(shapes[1])}, expected {list(shapes[0])}"]
        checks.append(report("shape", output.name, faults))
    for name, faults in axis_faults({output.name: got[output.name].shape for output in present}, present).items():
        checks.append(report("axes", name, faults))
    return checks + _value_checks(wanted, got, outputs, tolerances, check)


def _name_faults(name: str, known: set[str], wanted: Mapping[str, object], got: Mapping[str, object]) -> Iterator[str]:
    if name not in known:
        holder = "model" if name in got else "reference"
        yield f"the {holder} has an output {name!r} that the configuration does not name"
        return
    if name not in got:
        yield f"the output {name!r} is missing; the model has {', '.join(sorted(got)) or 'no outputs'}"
    if name not in wanted:
        yield f"the reference has nothing for the output {name!r}; write it anew"


class Named(Protocol):
    """An output as far as axes go: `recipes.base.tensor.Output`, or its line in a reference."""

    @property
    def name(self) -> str: ...
    @property
    def axes(self) -> Axes: ...


class Compared(Named, Protocol):
    """An output as far as comparing its values goes."""

    @property
    def kind(self) -> str: ...


def axis_faults(shapes: Mapping[str, tuple[int, ...]], outputs: Sequence[Named]) -> dict[str, list[str]]:
    """What each output's shape has against its axes: their count, fixed sizes, one size per name in all outputs."""
    sizes: dict[str, dict[int, list[str]]] = {}
    for output in outputs:
        shape = shapes[output.name]
        # With a wrong count nobody knows which axis is which; that is a fault of its own.
        for axis, size in zip(output.axes, shape, strict=True) if len(output.axes) == len(shape) else ():
            if isinstance(axis, str):
                sizes.setdefault(axis, {}).setdefault(size, []).append(output.name)
    return {output.name: list(_axis_faults(output, shapes[output.name], sizes)) for output in outputs}


def _axis_faults(output: Named, shape: tuple[int, ...], sizes: dict[str, dict[int, list[str]]]) -> Iterator[str]:
    if len(shape) != len(output.axes):
        yield f"has {len(shape)} axes, not {len(output.axes)}: {', '.join(map(str, output.axes))}"
        return
    for place, (axis, size) in enumerate(zip(output.axes, shape, strict=True)):
        if isinstance(axis, int):
            if size != axis:
                yield f"axis {place} is {size}, not {axis}"
        elif len(sizes[axis]) > 1:
            others = (f"{other} in {name}" for other, names in sizes[axis].items() if other != size for name in names)
            # A file may have any number of outputs, and each of them differ from all the others.
            listed = list(islice(others, _MOST_LISTED + 1))
            more = " and more" if len(listed) > _MOST_LISTED else ""
            yield f"{axis} is {size}, but {', '.join(listed[:_MOST_LISTED])}{more}"


def _value_checks(
    wanted: Mapping[str, Sampled],
    got: Mapping[str, NDArray[np.generic]],
    outputs: Sequence[Compared],
    tolerances: Mapping[str, Tolerance],
    check: Callable[..., Check],
) -> list[Check]:
    faults = {output.name: _fault(output.name, wanted, got, tolerances) for output in outputs}
    sound = [output for output in outputs if not faults[output.name][1]]
    found = {o.name: compare(wanted[o.name], got[o.name], tolerances[o.name], o.kind) for o in sound}
    failing = [output for output in sound if not found[output.name].passed]

    checks = []
    for name, (status, fault) in faults.items():
        comparison = found.get(name)
        if comparison is None:
            checks.append(check(name, "values", status, fault))
        elif comparison.passed:
            checks.append(check(name, "values", "passed", "", comparison))
        else:
            hints = _hints(name, failing, wanted, got, tolerances)
            checks.append(check(name, "values", "failed", "; ".join([_excess(comparison), *hints]), comparison))
    return checks


def _fault(
    name: str,
    wanted: Mapping[str, Sampled],
    got: Mapping[str, NDArray[np.generic]],
    tolerances: Mapping[str, Tolerance],
) -> tuple[Status, str]:
    """Why the values of this output cannot be compared; an empty message where they can be."""
    if name not in wanted or name not in got:
        return "not verified", "not compared: one of the two arrays is missing"
    if wanted[name].shape != got[name].shape:
        return "not verified", "not compared: the shapes differ"
    if name not in tolerances:
        return "failed", f"no tolerance is set for {name!r}; give it one in the configuration"
    faults = []
    for side, array in (("expected", wanted[name].values), ("actual", wanted[name].sampled(got[name]))):
        if array.size == 0:
            faults.append(f"the {side} array is empty")
        elif not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
            faults.append(f"the {side} values are {array.dtype}, not real numbers")
        # Comparing with the limit catches NaN as well, and keeps squares in float64 from overflowing.
        elif bad := np.flatnonzero(~(np.abs(array.astype(np.float64)) <= FLOAT32_MAX)).tolist():
            first = wanted[name].index(bad[0])
            which = "beyond float32" if np.isfinite(array[bad].astype(np.float64)).all() else "NaN or infinite"
            faults.append(f"{len(bad)} of {array.size} {side} values are {which}, the first at {first}")
    return ("failed", "; ".join(faults)) if faults else ("passed", "")


def compare(expected: Sampled, actual: NDArray[np.generic], tolerance: Tolerance, kind: str) -> Comparison:
    """All figures of two arrays of one shape; both must be real, finite and not empty. `kind` is the output's."""
    held, got = expected.values, expected.sampled(actual)
    e, a = held.astype(np.float64), got.astype(np.float64)
    error = _apart(held, got, e, a)
    excess = error - tolerance.rtol * np.abs(e)
    over = error > tolerance.atol + tolerance.rtol * np.abs(e)
    worst = int(np.argmax(excess))
    told = np.abs(e) > 0
    # NumPy's own sums: those of a BLAS depend on how many threads it has.
    noise, power = float((error * error).sum()), float((e * e).sum())
    cross = float(np.sqrt(power) * np.sqrt((a * a).sum()))
    ranked = kind in SCORES and expected.stride == 1 and len(expected.shape) > 0
    return Comparison(
        max_abs=float(error.max()),
        max_rel=float((error[told] / np.abs(e[told])).max()) if told.any() else None,
        mean_abs=float(error.mean()),
        q999=float(np.quantile(error, 0.999)),
        cosine=float((e * a).sum()) / cross if cross > 0 else None,
        snr_db=10 * float(np.log10(power) - np.log10(noise)) if power > 0 and noise > 0 else None,
        top_k=min(TOP_K, expected.shape[-1]) if ranked else None,
        top_k_agreement=_top_k_agreement(e, a, expected.shape[-1]) if ranked else None,
        flips=_flips(e, a, kind, expected.shape[-1] if ranked else None),
        atol=tolerance.atol,
        rtol=tolerance.rtol,
        passing_atol=_passing_atol(error, tolerance.rtol * np.abs(e)),
        exceeding=int(np.count_nonzero(over)),
        worst=expected.index(worst),
        worst_expected=held[worst].item(),
        worst_actual=got[worst].item(),
        passed=not over.any(),
    )


def _passing_atol(error: NDArray[np.float64], relative: NDArray[np.float64]) -> float:
    atol = max(0.0, float((error - relative).max()))
    # The difference was rounded, so that atol + relative may fall an ulp of the sum short of the error.
    step = float(np.spacing(atol))
    while (error > atol + relative).any():
        atol, step = atol + step, 2 * step
    return atol


def _flips(e: NDArray[np.float64], a: NDArray[np.float64], kind: str, classes: int | None) -> int | None:
    """Decisions that differ: of each class, or of each row where just one class is there at a time."""
    if kind in THRESHOLDS:
        return int(np.count_nonzero((e > THRESHOLDS[kind]) != (a > THRESHOLDS[kind])))
    if kind != "multiclass_logit" or classes is None:
        return None
    e, a = e.reshape(-1, classes), a.reshape(-1, classes)
    # Of two classes that tie in what is expected, either is right.
    chosen = np.take_along_axis(e, a.argmax(axis=1)[:, None], axis=1)[:, 0]
    return int(np.count_nonzero(chosen < e.max(axis=1)))


def _top_k_agreement(e: NDArray[np.float64], a: NDArray[np.float64], classes: int) -> float:
    k = min(TOP_K, classes)
    e, a = e.reshape(-1, classes), a.reshape(-1, classes)
    best = np.argpartition(-e, k - 1, axis=1)[:, :k]
    entry = np.partition(a, classes - k, axis=1)[:, classes - k, None]
    return float(np.mean(np.take_along_axis(a, best, axis=1) >= entry))


def rounded_up(atol: float) -> float:
    """To three digits; a tolerance that is told to people must pass when they set it."""
    return float(_THREE_DIGITS_UP.create_decimal_from_float(atol))


def _excess(c: Comparison) -> str:
    expected, actual = told_apart(c.worst_expected, c.worst_actual)
    return (
        f"{c.exceeding} values are over atol {c.atol:.3g} + rtol {c.rtol:.3g}, the worst at {c.worst}: expected "
        f"{expected}, actual {actual}; atol {rounded_up(c.passing_atol):.3g} would have passed"
    )


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers for people: whole ones as they are, others in 9 digits, which tell every float32, or in 17."""
    digits = 9 if f"{one:.9g}" != f"{other:.9g}" or one == other else 17
    first, second = (str(x) if isinstance(x, int) else f"{x:.{digits}g}" for x in (one, other))
    return first, second


def _hints(
    name: str,
    failing: Sequence[Compared],
    wanted: Mapping[str, Sampled],
    got: Mapping[str, NDArray[np.generic]],
    tolerances: Mapping[str, Tolerance],
) -> Iterator[str]:
    """Known mistakes that would explain this failure exactly."""
    one = wanted[name]
    for output in failing:
        two = wanted[output.name]
        if output.name == name or one.shape != two.shape or one.stride != two.stride:
            continue
        if _agree(one, got[output.name], tolerances[name]) and _agree(two, got[name], tolerances[output.name]):
            yield f"agrees with the actual {output.name!r}, and that one with this: are they swapped?"
    axes = next(output.axes for output in failing if output.name == name)
    if one.stride == 1 and len(axes) == len(one.shape):
        for place, axis in enumerate(axes):
            # A batch is no sequence: padding cannot shift it.
            if isinstance(axis, str) and axis != "batch" and shifted(one, got[name], place, tolerances[name]):
                yield f"agrees when shifted by 1 along {axis}: off-by-one padding?"


def _agree(expected: Sampled, actual: NDArray[np.generic], tolerance: Tolerance) -> bool:
    return within(expected.values, expected.sampled(actual), tolerance)


def shifted(expected: Sampled, actual: NDArray[np.generic], axis: int, tolerance: Tolerance) -> bool:
    """Whether all but the ends agree when moved by one, and do not where they are: a lone bad end is no shift."""
    e, a = (np.moveaxis(array, axis, 0) for array in (expected.values.reshape(expected.shape), actual))
    if len(e) < 3 or within(e[1:-1], a[1:-1], tolerance):
        return False
    return within(e[1:], a[:-1], tolerance) or within(e[:-1], a[1:], tolerance)


def within(expected: NDArray[np.generic], actual: NDArray[np.generic], tolerance: Tolerance) -> bool:
    """Whether |actual - expected| <= atol + rtol * |expected| holds for each element; NaN is within nothing."""
    e, a = expected.astype(np.float64), actual.astype(np.float64)
    return bool((_apart(expected, actual, e, a) <= tolerance.atol + tolerance.rtol * np.abs(e)).all())


def apart(expected: NDArray[np.generic], actual: NDArray[np.generic]) -> NDArray[np.float64]:
    """|actual - expected| of real numbers, in float64; not 0 where they differ, integers beyond 2**53 among them."""
    return _apart(expected, actual, expected.astype(np.float64), actual.astype(np.float64))


def _apart(
    expected: NDArray[np.generic], actual: NDArray[np.generic], e: NDArray[np.float64], a: NDArray[np.float64]
) -> NDArray[np.float64]:
    """As `apart`; `e` and `a` are the same in float64, which rounds integers of 64 bits: those go in two halves."""
    if not {expected.dtype, actual.dtype} & _LONG:
        return np.asarray(np.abs(a - e))
    (high_e, low_e), (high_a, low_a) = _halves(expected, e), _halves(actual, a)
    return np.asarray(np.abs((high_a - high_e) + (low_a - low_e)))


def _halves(
    values: NDArray[np.generic], widened: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | float]:
    """All but the lower 32 bits of a long integer, and these; other numbers have no second half."""
    if values.dtype not in _LONG:
        return widened, 0.0
    high = np.right_shift(values, 32)
    low = np.bitwise_and(values, 0xFFFFFFFF)
    return high.astype(np.float64) * 2.0**32, low.astype(np.float64)
