"""What `convert compare` does: answers of two sides, dumps or models that are run, held to each other."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from convert import models
from convert.manifest import MANIFEST
from convert.models import Answers, Names, made
from convert.request import limits_given
from recipes.base.errors import UserError
from recipes.base.near import meant
from recipes.base.tensor import Precision, Tolerance
from validators import dumps
from validators.compare import compare_outputs
from validators.dumps import Dump, Tensor, Tensors
from validators.layout import Pair, explained, undone
from validators.matching import split
from validators.page import Answer, Held
from validators.pairing import Match, cases, matches, pair, squeezed
from validators.reference.format import OutputPort
from validators.results import Check

_FLOAT16 = Tolerance(atol=2e-2, rtol=1e-2, reason="float16 has 11 bits, and errors add up over the layers")
DEFAULTS: dict[Precision, Tolerance] = {
    "fp32": Tolerance(atol=1e-4, rtol=1e-4, reason="other orders of adding up, and dumps that print six decimals"),
    "mixed": _FLOAT16,
    "fp16": _FLOAT16,
}
_SAME = Tolerance(atol=0, rtol=0, reason="one index or label is not nearly another")
_MANY = 8


@dataclass(frozen=True)
class Found:
    """The checks, what was assumed or undone before comparing, and the arrays that were compared, case by case."""

    checks: list[Check]
    notes: list[str]
    held: list[Answer]


@dataclass(frozen=True)
class _Output:
    """What is known of an output; its name may be any, as simulators rename."""

    name: str
    axes: tuple[str | int, ...]
    kind: str


def compare(
    expected: Path,
    got: Path,
    *,
    case: str | None = None,
    on: Sequence[Path] = (),
    names: Sequence[str] = (),
    outputs: Sequence[str] = (),
    runtime: str | None = None,
    precision: Precision | None = None,
    atol: Sequence[str] = (),
    rtol: Sequence[str] = (),
) -> Found:
    """Every case and output of two sides, models fed with `on` or what fits; `names` are --map's, as they were given.

    Of EXPECTED's `outputs`, where any is named, no other is compared.
    Raises UserError for what cannot be read, a case that must be chosen, and inputs that nothing tells.
    """
    given = split(names)
    if models.among(expected, got):
        answers = models.answered(expected, got, case=case, on=on, given=given, runtime=runtime)
    elif on or runtime:
        flag = "--on" if on else "--runtime"
        raise UserError(f"{flag} is for models, and both sides are dumps; leave it out, or name an .onnx or .mlpackage")
    else:
        ours, theirs = dumps.read(expected), dumps.read(got)
        answers = [Answers(got.resolve().name, "", "fp32", ours, theirs, (Names.of_dump(ours), Names.of_dump(theirs)))]
    refuse_unknown(given, [one.names for one in answers])
    if all(one.names is not None for one in answers):
        refuse_missing(outputs, [name for one in answers if one.names for name in one.names[0].outputs])
    found = [
        _compared(expected, one, case, given, outputs, precision or one.precision, (atol, rtol)) for one in answers
    ]
    return Found(
        [check for one in found for check in one.checks],
        [*_variants(expected, got), *dict.fromkeys(note for one in found for note in one.notes)],
        [answer for one in found for answer in one.held],
    )


def _variants(expected: Path, got: Path) -> Iterator[str]:
    """That two made folders are of two models, which explains all that follows."""
    ours, theirs = (found and found[1].variant for found in map(made, (expected, got)))
    if ours and theirs and ours != theirs:
        yield f"EXPECTED is of {ours}, and GOT of {theirs}: two models, which do not give the same"


def refuse_unknown(
    given: Mapping[str, str],
    known: Sequence[tuple[Names, Names] | None],
    called: tuple[str, str] = ("EXPECTED", "GOT"),
) -> None:
    """UserError for a --map that maps nothing of any artifact: a slip of the pen would change what is compared.

    `called` is what the two sides are to the user.
    """
    both = [one for one in known if one is not None]
    if len(both) < len(known):
        # What did not open may have it.
        return
    for name, other in given.items():
        if any(
            (name in ours.inputs and other in theirs.inputs) or (name in ours.outputs and other in theirs.outputs)
            for ours, theirs in both
        ):
            continue
        for side, wanted in enumerate((name, other)):
            has = sorted(frozenset().union(*(one[side].inputs | one[side].outputs for one in both)))
            if wanted not in has:
                told = f"{called[side]} has no {wanted!r}{meant(wanted, has)}; it has {_some(has)}"
                raise UserError(f"--map {name}={other}: {told}")
        raise UserError(f"--map {name}={other}: one is an input and the other an output; map inputs to inputs")


def refuse_missing(outputs: Iterable[str], known: Collection[str], called: str = "EXPECTED") -> None:
    """UserError for an --output that the side called so does not have."""
    for name in outputs:
        if name not in known:
            raise UserError(
                f"--output {name}: {called} has no such output{meant(name, known)}; it has {_some(sorted(set(known)))}"
            )


def left_out(chosen: Sequence[str], found: Match) -> list[str]:
    """What is said of all that --output leaves aside."""
    names = [name for name in (*found.names, *found.missing) if name not in chosen]
    if not chosen or not (names or found.extra):
        return []
    return [f"left out, since --output says {', '.join(chosen)}: {_some([*names, *found.extra])}"]


def _compared(
    expected: Path,
    answers: Answers,
    case: str | None,
    given: Mapping[str, str],
    outputs: Sequence[str],
    precision: Precision,
    limits: tuple[Sequence[str], Sequence[str]],
) -> Found:
    """One artifact's answers, or one dump."""
    ours, theirs = answers.expected, answers.got
    # What no side could answer is told already.
    chosen = cases(ours, theirs, case) if ours.cases and theirs.cases else []
    types = {name: tensor.values.dtype for _, tensors, _ in chosen for name, tensor in (tensors or {}).items()}
    names = list(types)
    tolerances, origin = tolerances_for(expected, types, precision)
    atol, rtol = limits
    for name, limit in limits_given("--atol", atol, names).items() if chosen else ():
        tolerances[name] = replace(tolerances[name], atol=limit)
    for name, limit in limits_given("--rtol", rtol, names).items() if chosen else ():
        tolerances[name] = replace(tolerances[name], rtol=limit)
    matched = matches(ours, theirs, chosen, given)
    sides = _Sides(ours, theirs, tolerances, {name: found.only(outputs) for name, found in matched.items()}, outputs)
    blank = Check(answers.artifact, answers.runtime, precision, "", "", "names", "passed")
    checks = [replace(fault, precision=precision) for fault in answers.faults]
    checks += [check for name, e, g in chosen for check in _case(replace(blank, case=name), e, g, sides)]
    overridden = ", but for --atol and --rtol" if atol or rtol else ""
    said = [": ".join(filter(None, (c.output, c.message))) for c in checks if c.status == "passed" and c.message]
    aside = [note for found in matched.values() for note in left_out(outputs, found)]
    notes = [*dict.fromkeys([*answers.notes, *said, *aside]), f"tolerances: {origin}{overridden}"]
    return Found(checks, notes, sides.held)


def tolerances_for(
    expected: Path, types: Mapping[str, np.dtype], precision: Precision
) -> tuple[dict[str, Tolerance], str]:
    """By output, and where they are from: the manifest of the made folder that EXPECTED lies in, else the defaults.

    `types` are those of what is expected, by output: whole numbers are the same, or they are not.
    """
    found = made(expected)
    own = {} if found is None else {output.name: output.tolerances[precision] for output in found[1].outputs}
    known = {name: own[name] for name in types if name in own}
    whole = [name for name, dtype in types.items() if dtype.kind in "biu" and name not in known]
    rest = [name for name in types if name not in known and name not in whole]
    default = DEFAULTS[precision]
    plain = f"atol {default.atol:g}, rtol {default.rtol:g}, the defaults of {precision}"
    origins = [f"those of {found[0] / MANIFEST} for {precision}"] if found is not None and known else []
    if rest or not (known or whole):
        origins.append(f"for {_some(rest)} {plain}" if origins else plain)
    if whole:
        origins.append(f"for {_some(whole)}, whole numbers, none")
    tolerances = known | dict.fromkeys(whole, _SAME) | dict.fromkeys(rest, default)
    return {name: tolerances[name] for name in types}, "; ".join(origins)


@dataclass(frozen=True)
class _Sides:
    """What holds for all cases; `matched` says of each what stands against what, of `chosen` outputs where some are.

    `held` is added to while they are compared.
    """

    expected: Dump
    got: Dump
    tolerances: Mapping[str, Tolerance]
    matched: Mapping[str, Match]
    chosen: Sequence[str] = ()
    held: list[Answer] = field(default_factory=list)

    @property
    def loose(self) -> str:
        """Who adds axes of size 1, if anybody does."""
        if self.expected.simulator or self.got.simulator:
            return "a simulator's axes"
        return "axes" if self.expected.loose or self.got.loose else ""


def _case(blank: Check, expected: Tensors | None, got: Tensors | None, sides: _Sides) -> list[Check]:
    if expected is None or got is None:
        side = "EXPECTED" if expected is None else "GOT"
        return [replace(blank, status="failed", message=f"{side} has no case {blank.case!r}")]
    matched = sides.matched[blank.case]
    if sides.chosen and not matched.names and not matched.missing:
        told = f"EXPECTED has none of {', '.join(sides.chosen)} in this case, which --output asks for"
        return [replace(blank, kind="values", status="not verified", message=told)]
    pairs, done = {}, {}
    for name, other in matched.names.items():
        pairs[name], done[name] = _paired(expected[name], got[other], sides.tolerances[name], sides.loose)
    return [*_names(blank, matched, got, sides), *_arrays(blank, pairs, done, sides)]


def _paired(expected: Tensor, got: Tensor, tolerance: Tolerance, loose: str) -> tuple[Pair, str]:
    """The two arrays, and what had to be done to them."""
    found, done = undone(pair(expected, got), tolerance)
    narrower = squeezed(found) if loose else None
    if narrower is None:
        return found, done
    shapes = f"{list(found.actual.shape)} as {list(narrower.expected.shape)}"
    return narrower, f"{loose} of size 1 left aside: {shapes}"


def _names(blank: Check, matched: Match, got: Tensors, sides: _Sides) -> Iterator[Check]:
    """What stands against what, and what nothing stands against; of dumps of every layer, only the outputs must."""
    for name, other in matched.names.items():
        told = f"compared with GOT's {other!r}, the only one of its shape" if name in matched.by_shape else ""
        if name in matched.by_values:
            told = f"compared with GOT's {other!r}, whose values are nearest; names and shapes do not tell"
        yield replace(blank, output=name, message=told)
    has = f"GOT has {_some(list(got))}"
    if sides.expected.layers and matched.names:
        if matched.missing:
            told = f"{len(matched.missing)} tensors of EXPECTED are not in GOT: {_some(matched.missing)}"
            yield replace(blank, status="not verified", message=told)
    else:
        for name in matched.missing:
            told = (
                f"GOT has no {name!r}, and no other that its shape or its values tell; {has}; --map {name}=NAME says it"
            )
            yield replace(blank, output=name, status="failed", message=told)
            told = "not compared: one of the two arrays is missing"
            yield replace(blank, output=name, kind="values", status="not verified", message=told)
    if sides.got.layers and matched.names:
        if matched.extra:
            yield replace(
                blank, message=f"{len(matched.extra)} other tensors of GOT, which holds all layers, left aside"
            )
    else:
        for name in matched.extra:
            told = (
                f"EXPECTED has nothing for GOT's {name!r}; if that is meant, --output NAME compares chosen ones alone"
            )
            yield replace(blank, output=name, status="failed", message=told)


def _arrays(blank: Check, pairs: Mapping[str, Pair], done: Mapping[str, str], sides: _Sides) -> Iterator[Check]:
    """Shapes, values, and axes where a side says them; a dump's type of numbers says nothing of the model's."""
    ports = {port.name: port for port in (*sides.got.ports, *sides.expected.ports)}
    outputs = [_output(name, found, ports.get(name)) for name, found in pairs.items()]
    held = (_held(output, pairs[output.name], sides.tolerances[output.name]) for output in outputs)
    sides.held.append(Answer(blank.artifact, blank.runtime, blank.precision, blank.case, tuple(filter(None, held))))
    for check in compare_outputs(
        {name: found.expected for name, found in pairs.items()},
        {name: found.actual for name, found in pairs.items()},
        outputs,
        sides.tolerances,
        artifact=blank.artifact,
        runtime=blank.runtime,
        precision=blank.precision,
        case=blank.case,
    ):
        if check.kind not in ("shape", "values") and not (check.kind == "axes" and check.output in ports):
            continue
        said = [check.message]
        if check.kind == "shape":
            said.append(done[check.output])
        if check.status == "failed" and check.kind != "axes":
            said.append(explained(pairs[check.output], sides.tolerances[check.output]))
        yield replace(check, message="; ".join(filter(None, said)))


def _held(output: _Output, found: Pair, tolerance: Tolerance) -> Held | None:
    """What can be drawn: two of one shape."""
    if found.expected.shape != found.actual.shape or not found.actual.size:
        return None
    return Held(output.name, output.axes, output.kind, tolerance, found.expected.spread(), found.actual)


def _output(name: str, found: Pair, port: OutputPort | None) -> _Output:
    if port is not None:
        return _Output(name, port.axes, port.kind)
    # Nobody says whether these are probabilities, nor which axes of two outputs are the same.
    return _Output(name, tuple(f"axis {axis} of {name}" for axis in range(found.actual.ndim)), "feature")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MANY} more" if len(names) > _MANY else ""
    return ", ".join(names[:_MANY]) + more
