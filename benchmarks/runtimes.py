"""Naive against lowered in the other runtimes: tract, and the executor of Core ML packages beside eager PyTorch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import onnx

from benchmarks.files import File, size
from benchmarks.machine import load, threads
from benchmarks.subject import FOR_TRACT, NOT_LOWERED, Settings, Subject, say
from benchmarks.tables import LOWERED, NAIVE, Clip, Table, table
from benchmarks.timing import measure
from benchmarks.whole import EAGER, worst
from exporters.coreml.convert import convert
from exporters.coreml.package import save
from exporters.lowering import lower, shipped
from exporters.lowering.shipped import Shipped
from recipes.base import labels
from recipes.base.facts import facts_of
from validators.runners import coreml
from validators.runners.pytorch import answers
from validators.runners.runner import RunnerError

CLIP = Clip(10)
TRACT = "tract"
EXECUTOR = "Core ML executor"


def in_tract(subject: Subject, settings: Settings) -> Table:
    """On one thread, which is all that it has; tract reads shapes of a graph only where they are given."""
    from validators.runners import tract

    sound = subject.sound(CLIP)
    fed = {subject.variant.input.name: sound}
    contenders: dict[str, Callable[[], object]] = {}
    notes = []
    with tempfile.TemporaryDirectory() as folder:
        for form in (*subject.forms, FOR_TRACT):
            file = Path(folder) / f"{form}.onnx"
            # onnxsim notes shapes of one trace, with which tract refuses every other one.
            model = onnx.ModelProto()
            model.CopyFrom(subject.graph(form))
            del model.graph.value_info[:]
            onnx.save(model, str(file))
            try:
                runner = tract.open_file(file)
                runner.run(fed)
            except RunnerError as error:
                notes.append(f"{form}: {error}")
                continue
            contenders[form] = partial(runner.run, fed)
        return _table(f"{subject.name} in {TRACT}", subject, contenders, settings, notes)


def in_executor(subject: Subject, settings: Settings) -> Table:
    """Packages in mixed precision with a free length, run op by op as stored."""
    fed = {subject.variant.input.name: subject.sound(CLIP)}
    contenders: dict[str, Callable[[], object]] = {EAGER: partial(answers, subject.model, fed)}
    with tempfile.TemporaryDirectory() as folder:
        for form, make in ((NOT_LOWERED, shipped), (LOWERED, lower)):
            file = Path(folder) / f"{form}.mlpackage"
            save_package(make(subject.model, subject.variant), subject, file)
            contenders[form] = partial(coreml.open_stored(file).run, fed)
        return _table(f"{subject.name} in the {EXECUTOR}", subject, contenders, settings, [])


def packages(subject: Subject) -> list[File]:
    """What the packages weigh."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for form, make in ((NOT_LOWERED, shipped), (LOWERED, lower)):
            file = Path(folder) / "model.mlpackage"
            save_package(make(subject.model, subject.variant), subject, file)
            found.append(File(subject.name, f"{form}, Core ML", size(file), {}))
        return found


def save_package(module: Shipped, subject: Subject, file: Path) -> None:
    variant = subject.variant
    facts = facts_of(variant, "synthetic", "", tuple(label.name for label in labels.load(variant.labels)))
    save(convert(module, variant, precision="mixed").model, file, variant, facts, "mixed")


def _table(
    name: str, subject: Subject, contenders: dict[str, Callable[[], object]], settings: Settings, notes: list[str]
) -> Table:
    truth = subject.truth(subject.sound(CLIP))
    with threads(1):
        errors = {form: worst(call(), truth) for form, call in contenders.items()}
        before = load()
        rounds = measure(contenders, settings.rounds)
    done = table(name, CLIP, 1, rounds, before, errors=errors, notes=notes)
    first = NAIVE if NAIVE in done.rows else NOT_LOWERED
    last = FOR_TRACT if FOR_TRACT in done.rows else LOWERED
    said = f"{done.ratio(first, last).median:.2f}" if {first, last} <= done.rows.keys() else "nothing to compare"
    say(f"{name}: {said}, load {before:.1f}")
    return done
