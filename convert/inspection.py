"""What `convert inspect` shows of a Core ML package: read from its bytes, on any machine."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recipes.base.errors import UserError
from recipes.base.facts import COREML_PREFIX
from recipes.base.quiet import quiet
from recipes.base.shown import shown
from recipes.base.worker import Worker, WorkerError
from validators import reference
from validators.reference.format import FILE

with quiet("coremltools"):
    import coremltools as ct

    from validators.coreml import CoreMLError
    from validators.coreml.cost import macs
    from validators.coreml.hazards import Hazard, hazards
    from validators.coreml.rules import Breach, Program, check_programs, programs
    from validators.coreml.rules.program import MOST_SHAPES

if TYPE_CHECKING:
    from validators.coreml.rules.program import Feature

_LONGEST_VALUE = 80
_FLOATS = {"fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True)
class Region:
    """Ops in a row whose float results are of one type; ops on integers and booleans belong to no region."""

    precision: str
    ops: int
    first: str
    last: str


@dataclass(frozen=True)
class Function:
    """One function of the program; a feature is (name, element type, shapes in words). `states` outlive a call.

    `macs` are the products that are summed, by op type, at `macs_at`, the default shape of each input; they are a part
    of all where `macs_unknown` names ops.
    """

    name: str
    op_set: str
    inputs: tuple[tuple[str, str, str], ...]
    outputs: tuple[tuple[str, str, str], ...]
    states: tuple[tuple[str, str, str], ...]
    ops: dict[str, int]
    regions: tuple[Region, ...]
    macs: dict[str, int]
    macs_total: int
    macs_at: dict[str, tuple[int, ...]]
    macs_unknown: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """Everything about a package that needs no run, and the hazards where they were asked for.

    `sizes` are in bytes. `metadata` holds this project's keys without their prefix.
    """

    package: str
    version: int
    functions: tuple[Function, ...]
    sizes: dict[str, int]
    metadata: dict[str, str]
    rules: tuple[Breach, ...]
    hazards: tuple[Hazard, ...] | None

    @property
    def broken(self) -> bool:
        """Whether Core ML would refuse it."""
        return any(breach.severity == "error" for breach in self.rules)

    def as_json(self) -> dict[str, Any]:
        """Ready for `json.dumps`; an infinite figure of a hazard becomes null."""
        data = asdict(self)
        for hazard in data["hazards"] or ():
            hazard["figure"] = hazard["figure"] if isfinite(hazard["figure"]) else None
        return data


def isolated(package: Path, with_hazards: bool) -> Inspection:
    """As `inspect`, in a worker, which a package may kill; UserError then, too."""
    with Worker((__name__,)) as worker:
        try:
            return worker.call(inspect, package, with_hazards, returns=Inspection, raises=(UserError,))
        except WorkerError as error:
            raise UserError(f"{package}: what reads it {error}; `convert check` tells whether it is whole") from error


def inspect(package: Path, with_hazards: bool) -> Inspection:
    """Read a package; UserError when it is none, or when there are no reference cases to find hazards with."""
    try:
        found = programs(package)
        return Inspection(
            package=str(package),
            version=found[0].version,
            functions=tuple(map(_function, found)),
            sizes=_sizes(package),
            metadata=_metadata(package),
            rules=tuple(check_programs(found)),
            hazards=_hazards(package) if with_hazards else None,
        )
    except CoreMLError as error:
        raise UserError(" ".join(str(error).split())) from None


def _hazards(package: Path) -> tuple[Hazard, ...]:
    folder = package.absolute().parent
    if not (folder / FILE).is_file():
        raise UserError(
            f"{folder}: holds no {FILE}, and --hazards runs the package on the cases in it; "
            "inspect a package in a folder that `convert recipe` made, or leave --hazards out"
        )
    return tuple(hazards(package, reference.read(folder).cases))


def _function(program: Program) -> Function:
    counts = Counter(op.type for op in program.ops if op.type != "const")
    cost = macs(program)
    return Function(
        name=program.function,
        op_set=f"CoreML{program.opset} (iOS {_ios(program.opset)})",
        inputs=tuple(map(_in_words, program.features)),
        outputs=tuple(
            (feature.name, feature.dtype.lower(), _declared(program, feature)) for feature in program.results
        ),
        states=tuple(map(_in_words, program.states)),
        ops=dict(counts.most_common()),
        regions=tuple(_regions(program)),
        macs=dict(cost.by_op),
        macs_total=cost.total,
        macs_at={feature.name: feature.shape for feature in program.features},
        macs_unknown=cost.unknown,
    )


def _ios(opset: int) -> int:
    # CoreML5 came with iOS 15, and both counted up together until Apple went from 18 to 26.
    return opset + 10 if opset < 9 else opset + 17


def _in_words(feature: "Feature") -> tuple[str, str, str]:
    return feature.name, feature.dtype.lower(), _sizes_in_words(feature)


def _sizes_in_words(feature: "Feature") -> str:
    if feature.enumerated:
        more = len(feature.enumerated) - MOST_SHAPES
        words = " or ".join(_listed(shape) for shape in feature.enumerated[:MOST_SHAPES])
        return f"{words} or {more:,} more" if more > 0 else words
    if feature.ranges:
        return _listed(
            low if low == high else f"{low} to {'any' if high is None else high}" for low, high in feature.ranges
        )
    return _listed(feature.shape)


def _declared(program: Program, feature: "Feature") -> str:
    """An output's shape as the program declares it: the description is silent where that is flexible."""
    shapes = {value.name: value.type.shape for value in program.outputs}
    shape = shapes.get(feature.name)
    return _listed(feature.shape if shape is None else ("any" if size is None else size for size in shape))


def _listed(sizes: Any) -> str:
    return f"({', '.join(map(str, sizes))})"


def _regions(program: Program) -> Iterator[Region]:
    run: list[str] = []
    current = ""
    for op in program.ops:
        dtype = op.outputs[0].type.dtype if op.outputs else ""
        if op.type == "const" or dtype not in _FLOATS:
            continue
        if run and dtype != current:
            yield Region(_FLOATS[current], len(run), run[0], run[-1])
            run = []
        current = dtype
        run.append(op.name)
    if run:
        yield Region(_FLOATS[current], len(run), run[0], run[-1])


def _sizes(package: Path) -> dict[str, int]:
    files = [path for path in package.rglob("*") if path.is_file()] if package.is_dir() else [package]
    weights = sum(path.stat().st_size for path in files if path.parent.name == "weights")
    program = sum(path.stat().st_size for path in files if path.suffix == ".mlmodel")
    return {"weights": weights, "program": program, "total": sum(path.stat().st_size for path in files)}


def _metadata(package: Path) -> dict[str, str]:
    entries = ct.utils.load_spec(str(package)).description.metadata.userDefined
    own = {key.removeprefix(COREML_PREFIX): text for key, text in entries.items() if key.startswith(COREML_PREFIX)}
    return dict(sorted(own.items()))


def text(inspection: Inspection) -> RenderableType:
    """For people: tables for what is tabular, and each broken rule and each hazard at its worst."""
    parts: list[Any] = []
    for function in inspection.functions:
        parts += [
            Text(
                shown(f"{inspection.package}: function {function.name}, {function.op_set}, ")
                + f"specification version {inspection.version}\n"
            ),
            _grid(("input", "dtype", "shape"), function.inputs),
            _grid(("output", "dtype", "shape"), function.outputs),
            *([_grid(("state", "dtype", "shape"), function.states)] if function.states else []),
            _grid(("op", "count"), function.ops.items()),
            _cost(function),
            _grid(
                ("precision", "ops", "first", "last"),
                ((region.precision, region.ops, region.first, region.last) for region in function.regions),
            ),
        ]
    parts.append(_grid(("size", "bytes"), ((name, f"{size:,}") for name, size in inspection.sizes.items())))
    if inspection.metadata:
        parts.append(_grid(("metadata", "value"), ((k, _short(v)) for k, v in inspection.metadata.items())))
    parts.append(_rules(inspection.rules))
    if inspection.hazards is not None:
        parts.append(_worst(inspection.hazards))
    return Group(*parts)


def _cost(function: Function) -> RenderableType:
    at = ", ".join(f"{name} {_listed(shape)}" for name, shape in function.macs_at.items())
    rows = [*function.macs.items(), ("total", function.macs_total)]
    grid = _grid((f"products at {at}", "MACs"), ((name, f"{count:,}") for name, count in rows))
    if not function.macs_unknown:
        return grid
    return Group(grid, f"not counted, since the file leaves their sizes open: {', '.join(function.macs_unknown)}\n")


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}… ({len(value)} characters)"


def _rules(breaches: tuple[Breach, ...]) -> RenderableType:
    if not breaches:
        return "rules: all kept\n"
    groups: dict[str, list[Breach]] = {}
    for breach in breaches:
        groups.setdefault(breach.rule, []).append(breach)
    lines = []
    for name, group in groups.items():
        lines.append(f"{group[0].severity} {name}: {group[0].why}")
        lines += [f"  {breach.op_type} {breach.op} {breach.matter}" for breach in group]
        lines += [f"  What to do: {group[0].fix}", ""]
    return Text("\n".join(map(shown, lines)))


def _worst(found: tuple[Hazard, ...]) -> RenderableType:
    if not found:
        return "float16: no hazard in any reference case\n"
    groups: dict[tuple[str, str, str], list[Hazard]] = {}
    for hazard in found:
        groups.setdefault((hazard.op, hazard.operand, hazard.kind), []).append(hazard)
    rows = []
    for (op, operand, kind), group in groups.items():
        worst = max(group, key=lambda hazard: hazard.figure)
        figure = f"{worst.figure:.3g}" if kind == "overflow" else f"{worst.figure:.1%}"
        where = f"{worst.op_type} {op}" + (f", its {operand}" if operand else "")
        rows.append((kind, where, figure, worst.case, len(group), worst.advice))
    return _grid(("float16", "where", "at worst", "case", "cases", "what to do"), rows)


def _grid(head: tuple[str, ...], rows: Any) -> RenderableType:
    grid = Table(*head, box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for row in rows:
        grid.add_row(*(Text(shown(str(cell))) for cell in row))
    return grid
