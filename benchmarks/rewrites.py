"""What each rewrite gains and what it costs in exactness: applied one after another, measured in turn."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import onnx

from benchmarks.machine import load, threads
from benchmarks.sessions import macs, run, session
from benchmarks.subject import NOT_LOWERED, Settings, Subject, say
from benchmarks.tables import Clip, Table, table
from benchmarks.timing import measure
from benchmarks.whole import worst
from exporters.lowering import REWRITES, lowered
from exporters.onnx.export import export
from exporters.onnx.simplify import simplify

CLIP = Clip(10)


def one_after_another(subject: Subject, settings: Settings) -> list[Table]:
    """A row for each rewrite that found a place: the graph with it and all before it."""
    graphs = dict(_graphs(subject))
    sound = subject.sound(CLIP)
    truth = subject.truth(sound)
    products = {name: macs(graph, sound.shape) for name, graph in graphs.items()}
    done = []
    for count in settings.threads:
        with threads(count):
            contenders: dict[str, Callable[[], object]] = {
                name: partial(run, session(graph, count), sound) for name, graph in graphs.items()
            }
            errors = {name: worst(call(), truth) for name, call in contenders.items()}
            before = load()
            rounds = measure(contenders, settings.rounds)
        done.append(table(subject.name, CLIP, count, rounds, before, errors=errors, macs=products))
        say(f"{subject.name}, rewrites one after another, {count} threads, load {before:.1f}")
    return done


def _graphs(subject: Subject) -> list[tuple[str, onnx.ModelProto]]:
    found = [(NOT_LOWERED, subject.graph(NOT_LOWERED))]
    names = list(REWRITES)
    for count, name in enumerate(names, start=1):
        done = lowered(subject.model, subject.variant, {name: REWRITES[name] for name in names[:count]})
        if any(step.rewrite == name for step in done.applied):
            found.append((name, simplify(export(done.module, subject.variant))))
            say(f"{subject.name}: with {name}")
    return found
