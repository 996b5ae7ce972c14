"""What `convert list` shows: every variant that has a configuration, or all that is known of one."""

from collections.abc import Iterable
from dataclasses import asdict, fields, is_dataclass
from itertools import groupby
from math import inf
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from convert.targets import TARGETS
from recipes.base import cost
from recipes.base.config import BY_NAME
from recipes.base.download import cached
from recipes.base.spec import LogMelVariant, Variant
from recipes.base.tensor import Input, Output, Tolerance

FORMATS = tuple(target.name for target in TARGETS)

_UNKNOWN = "-"
_COUNTED = "multiply-accumulates of convolutions, linear layers and matrix products, behind the front end"


def entry(variant: Variant) -> dict[str, Any]:
    """All of it as plain data; `configuration` is what the variant's file and its family's say together."""
    configuration = asdict(variant)
    for key in BY_NAME:
        configuration[key] = {item.pop("name"): item for item in configuration[key]}
    known = cost.known().get(variant.name)
    return {
        "configuration": configuration,
        "cost": known and {**asdict(known), "seconds": _seconds(variant)},
        "formats": list(FORMATS),
        "checkpoint": _checkpoint(variant),
    }


def _checkpoint(variant: Variant) -> str:
    if not variant.trained:
        return "not needed"
    if variant.source is None or variant.source.size is None:
        return "by --checkpoint"
    return "cached" if cached(variant) else "not cached"


def _seconds(variant: Variant) -> float:
    return cost.samples(variant) / variant.sample_rate


def table(variants: Iterable[Variant]) -> RenderableType:
    """A line a variant, by family and then by what it costs; at most 80 columns."""
    shown = Table(box=None, pad_edge=False)
    shown.add_column("variant", no_wrap=True)
    for head in ("params\n(M)", "MACs\n(M)", "published\n(%)", "file\n(MB)"):
        shown.add_column(head, justify="right", no_wrap=True)
    shown.add_column("licence", no_wrap=True)
    shown.add_column("cached", no_wrap=True)
    notes = [
        f"MACs: {_COUNTED}, for {cost.SECONDS} s of sound.",
        "cached: -, where the file is not fetched, since no checksum of it is known or nobody publishes one: give it "
        "with --checkpoint; mel needs none.",
        "A family's name stands for the variant in brackets. `convert list NAME` shows the rest.",
    ]
    ordered = sorted(variants, key=_by_cost)
    for family, members in groupby(ordered, key=lambda variant: variant.family):
        rows = list(members)
        default = ", ".join(variant.name for variant in rows if variant.default)
        shown.add_row(Text(f"{family} ({default})", style="bold"))
        for variant in rows:
            shown.add_row(*_row(variant))
    if any(_shorter(variant) for variant in ordered):
        notes.insert(1, f"* For the longest clip that it takes, which is shorter than {cost.SECONDS} s.")
    return Group(shown, "", *(Text(note) for note in notes))


def _by_cost(variant: Variant) -> tuple[str, float, float, str]:
    known = cost.known().get(variant.name)
    return (variant.family, *((known.macs, known.parameters) if known else (inf, inf)), variant.name)


def _shorter(variant: Variant) -> bool:
    return _seconds(variant) < cost.SECONDS


def _row(variant: Variant) -> tuple[str, ...]:
    known = cost.known().get(variant.name) if variant.trained else None
    published, size = variant.published, variant.source.size if variant.source else None
    return (
        f"  {variant.name}",
        f"{known.parameters / 1e6:.2f}" if known else _UNKNOWN,
        f"{known.macs / 1e6:.0f}{'*' if _shorter(variant) else ''}" if known else _UNKNOWN,
        f"{published.metric} {published.percent:.1f}" if published else _UNKNOWN,
        f"{size / 1e6:.1f}" if size else _UNKNOWN,
        variant.licence,
        {"cached": "yes", "not cached": "no"}.get(_checkpoint(variant), _UNKNOWN),
    )


def details(variant: Variant) -> RenderableType:
    """All that is known of it."""
    known, published, source = cost.known().get(variant.name), variant.published, variant.source
    own = {field.name for field in fields(variant)} - {field.name for field in fields(LogMelVariant)}
    # What outputs are held to is said with them.
    own = {name for name in own - {"tolerances"} if not isinstance(getattr(variant, name), Tolerance)}
    facts = {
        "family": variant.family + (", whose name stands for this variant" if variant.default else ""),
        **(_cost(variant, known) if variant.trained else {}),
        "published": (
            f"{published.metric} {published.percent} % on {published.dataset} ({published.source})"
            if published
            else variant.trained and _UNKNOWN
        ),
        "licence": variant.licence,
        "authors": variant.author,
        "paper": variant.paper,
        "checkpoint": _file(variant),
        "md5": source and source.md5,
        "sha256": source and source.sha256,
        "formats": ", ".join(FORMATS),
        "classes": variant.classes and f"{variant.classes}, of {variant.labels or 'its own'}",
        "network": _said(_flat({key: getattr(variant, key) for key in sorted(own)})),
        "sound": f"mono at {variant.sample_rate} Hz",
        "preparation": variant.preparation and f"peak to {variant.preparation.peak:g}, cut or padded with zeros",
        "front end": _said(variant.front_end_numbers()),
        "--set": ", ".join(variant.settable()),
        "mixed": variant.trained
        and variant.coreml.float32_through
        and f"float32 up to {variant.coreml.float32_through}, then float16",
    }
    rows = Table.grid(padding=(0, 2))
    rows.add_column(no_wrap=True)
    rows.add_column(overflow="fold")
    for name, fact in facts.items():
        if fact:
            rows.add_row(name, Text(fact))
    return Group(
        Text(f"{variant.name}: {variant.title}", style="bold"),
        Text(variant.description),
        # Whole, so that it can be copied.
        *([Text(source.url, no_wrap=True, overflow="ignore")] if source else []),
        "",
        rows,
        *(part for tensor in (variant.input, *variant.alternative_inputs) for part in _input(tensor)),
        *(part for output in variant.outputs for part in _output(output, scores=output.name == variant.scores)),
    )


def _cost(variant: Variant, known: cost.Cost | None) -> dict[str, str]:
    return {
        "parameters": f"{known.parameters:,}" if known else _UNKNOWN,
        "MACs": f"{known.macs:,} for {_seconds(variant):.4g} s of sound: {_COUNTED}" if known else _UNKNOWN,
    }


def _flat(facts: dict[str, Any]) -> dict[str, Any]:
    """With what stands in a dataclass among the rest."""
    parts = ({key: value} if not is_dataclass(value) else vars(value) for key, value in facts.items())
    return {key: value for part in parts for key, value in part.items() if not key.startswith("_")}


def _file(variant: Variant) -> str:
    source = variant.source
    if not variant.trained:
        return "none needed: all follows from the numbers, which --set KEY=VALUE and --config FILE.yaml change"
    if source is None:
        return "published by nobody: give a training run's with --checkpoint"
    size = [f"{source.size:,} bytes"] if source.size else []
    return ", ".join([source.file, *size, _checkpoint(variant)])


def _said(facts: dict[str, Any]) -> str:
    def plain(value: object) -> str:
        if isinstance(value, tuple):
            return " ".join(map(plain, value))
        return f"{value:g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{key} {plain(value)}" for key, value in facts.items() if value not in ({}, None))


def _axes(axes: tuple[str | int, ...]) -> str:
    return f"({', '.join(map(str, axes))})"


def _input(tensor: Input) -> tuple[RenderableType, ...]:
    size = f"{tensor.axes[-1]}: {tensor.least} to {tensor.most}, such as {tensor.default}"
    if tensor.fixed:
        size = f"exactly {tensor.default} samples"
    return (
        "",
        Text(f"input {tensor.name} {_axes(tensor.axes)}", style="bold"),
        Padding(Text(f"{tensor.description}\n{size}"), (0, 2)),
    )


def _output(output: Output, scores: bool) -> tuple[RenderableType, ...]:
    bounds = Table.grid(padding=(0, 2))
    for precision, bound in output.tolerances.items():
        bounds.add_row(precision, f"atol {bound.atol:g}, rtol {bound.rtol:g}", Text(bound.reason))
    return (
        "",
        Text(f"output {output.name} {_axes(output.axes)}", style="bold"),
        Padding(Text(f"{output.description}; {output.kind}{', which is ranked' if scores else ''}"), (0, 2)),
        Padding(bounds, (0, 2)),
    )
