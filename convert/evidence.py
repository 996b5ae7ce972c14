"""What a page shows of a made folder beside its checks: each file is run once more where pictures tell more."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from convert import manifest as manifests
from convert.bisection import Bisection
from convert.bisection_report import told
from convert.comparison import Found
from convert.manifest import Manifest, rewrites_in_words
from convert.models import made
from convert.progress import Step
from convert.targets import named
from convert.verify import File, cases_of, file_of
from recipes.base import labels
from recipes.base.errors import UserError
from recipes.base.quiet import quiet
from recipes.base.tensor import Input, Output, Precision
from recipes.base.worker import Worker, WorkerError
from validators import reference
from validators.compare import Sampled
from validators.page import Answer, Evidence, Held, Located, Outcome, Wrote
from validators.report import badness
from validators.results import Check
from validators.runners.runner import Arrays, RunnerError, run_batch
from validators.values import Case

if TYPE_CHECKING:
    from validators.coreml.hazards import Hazard
    from validators.coreml.rules import Breach

# Voices, of whose classes there is something to say; every reference has it.
_USUAL = "rich"
_LABELS = "labels.json"
_FORM = ("names", "axes", "dtype")


@dataclass
class _Looked:
    """What is gathered while one artifact after the other is looked at."""

    answers: list[Answer] = field(default_factory=list)
    rules: dict[str, "tuple[Breach, ...]"] = field(default_factory=dict)
    hazards: dict[str, "tuple[Hazard, ...]"] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)


def gather(folder: Path, checks: Sequence[Check], step: Step) -> Evidence:
    """Everything but the checks. Nothing that fails here changes them: it is told in `unseen`.

    Only what the checks have run is run again, on the case of the reference that fared worst and on `rich`. Raises
    UserError where the folder is none.
    """
    manifest = manifests.read(folder)
    found = _Looked()
    names: tuple[str, ...] = ()
    if any(check.kind == "checksum" and check.status == "failed" for check in checks):
        found.unseen.append("nothing is drawn: the files are not those that were made, and are not opened")
    else:
        try:
            cases = reference.read(folder).cases
            names = _labels(folder, manifest)
            for name in manifest.artifacts:
                with step(f"pictures of {name}"):
                    _look(found, folder, manifest, name, cases, checks)
        except UserError as error:
            found.unseen.append(str(error))
    return Evidence(
        title=f"{manifest.title}: {folder}",
        synthetic=manifest.weights == "synthetic",
        facts=_facts(manifest),
        versions=manifest.versions,
        rewrites=tuple(rewrites_in_words(manifest.lowering, manifest.artifacts)),
        artifacts=tuple(_artifacts(manifest)),
        files=tuple(Wrote(name, "file", entry.size, entry.sha256) for name, entry in sorted(manifest.files.items())),
        answers=tuple(found.answers),
        labels=names,
        scores=manifest.scores,
        front_end=_front_end(manifest),
        rules=found.rules,
        hazards=found.hazards,
        unseen=tuple(found.unseen),
    )


def compared(expected: Path, got: Path, found: Found) -> Evidence:
    """Of two dumps, or of what two models answered: the case that fared worst, and the usual one."""
    home = made(expected)
    manifest = home[1] if home else None
    answers = []
    for answer in found.held:
        of_this = [
            check for check in found.checks if (check.artifact, check.runtime) == (answer.artifact, answer.runtime)
        ]
        names = [one.case for one in found.held if (one.artifact, one.runtime) == (answer.artifact, answer.runtime)]
        chosen = _worst_and_usual(names, of_this)
        if answer.case in chosen:
            outputs = tuple(_named(held, manifest) for held in answer.outputs)
            answers.append(replace(answer, outputs=outputs, worst=answer.case == chosen[0]))
    return Evidence(
        title=f"{got}, held to {expected}",
        synthetic=manifest is not None and manifest.weights == "synthetic",
        facts=_facts(manifest) if manifest else {},
        versions=manifest.versions if manifest else {},
        answers=tuple(sorted(answers, key=lambda answer: not answer.worst)),
        labels=_labels(home[0], home[1]) if home else (),
        scores=manifest.scores if manifest else None,
        front_end=_front_end(manifest) if manifest else None,
        notes=tuple(found.notes),
    )


def bisected(found: Bisection, advice: Sequence[str] = ()) -> Evidence:
    """Of two models with all that they compute, and what is advised."""
    rounded = found.verdict == "rounding"
    kept = ", ".join(f"{one.op.kind} {one.op.name}" for one in found.amplifiers)
    place = Located(
        "Where it first goes wrong" if found.diverges else "All along the graph",
        (*found.remedy, *([f"keep in float32 first: {kept}"] if rounded and kept else [])),
        found.divergence,
        found.rounding,
    )
    return Evidence(
        title=f"{found.b} ({found.runtimes[1]}), held to {found.a} ({found.runtimes[0]})",
        outcome=Outcome(found.exit_code, told(found)),
        located=(place,),
        notes=(*advice, f"both were fed {found.fed}", *found.notes),
    )


def _named(held: Held, manifest: Manifest | None) -> Held:
    """With its kind and the names of its axes, where the manifest of what is right says them."""
    for output in manifest.outputs if manifest else ():
        if output.name == held.name and len(output.axes) == held.expected.ndim:
            return replace(held, axes=output.axes, kind=output.kind)
    return held


def _look(
    found: _Looked, folder: Path, manifest: Manifest, name: str, cases: Sequence[Case], checks: Sequence[Check]
) -> None:
    """Runs one artifact in each runtime that has answered, and asks what else its format can tell."""
    file = file_of(folder, manifest, name)
    own = cases_of(file, manifest, cases)
    of_this = [check for check in checks if check.artifact == name]
    if any(check.kind == "file" and check.status == "failed" for check in of_this):
        found.unseen.append(f"{name}: is not opened for pictures, since its form failed")
        return
    precision = file.artifact.precision
    with Worker(file.target.needs()) as worker:
        for runtime in file.runtimes():
            compared = [check for check in of_this if check.runtime == runtime.name and check.output]
            chosen = _chosen(own, compared)
            if not chosen:
                continue
            try:
                runner = runtime.open(file.path, worker, file.tensor)
                for case in chosen:
                    seconds = _seconds(case, file.tensor, manifest)
                    seen = tuple(_seen(case, run_batch(runner, case.inputs), file.outputs, precision))
                    worst = case is chosen[0]
                    found.answers.append(Answer(name, runtime.name, precision, case.name, seen, seconds, worst))
            except RunnerError as error:
                found.unseen.append(f"{name} in {runtime.name}: {error}")
        try:
            # A package of other inputs than the cases have cannot be fed them.
            formed = not any(check.status == "failed" and check.kind in _FORM for check in of_this)
            if file.target.hazards is not None and not formed:
                found.unseen.append(f"{name}: is not searched for what float16 cannot hold, since its form failed")
            _ask(found, file, worker, own if formed and precision != "fp32" else ())
        except (UserError, WorkerError) as error:
            found.unseen.append(f"{name}: {error}")


def _ask(found: _Looked, file: File, worker: Worker, cases: Sequence[Case]) -> None:
    """What the format can tell of the file, and of float16 on these cases, if any."""
    rules, hazards = file.target.rules, file.target.hazards
    if rules is None and hazards is None:
        return
    # Seconds to import, and needed only here.
    with quiet("coremltools"):
        from validators.coreml.hazards import Hazard
        from validators.coreml.rules import Breach
    if rules is not None:
        found.rules[file.name] = tuple(worker.call(rules, file.path, returns=list[Breach], raises=(UserError,)))
    if hazards is not None and cases:
        seen = worker.call(hazards, file.path, cases, returns=list[Hazard], raises=(UserError,))
        found.hazards[file.name] = tuple(seen)


def _chosen(cases: Sequence[Case], compared: Sequence[Check]) -> list[Case]:
    """The case that fared worst and the usual one, of those that were compared; a folder holds none of a sweep."""
    held = {case.name: case for case in cases}
    return [held[name] for name in _worst_and_usual(list(held), compared)]


def _worst_and_usual(names: Sequence[str], compared: Sequence[Check]) -> list[str]:
    values = [check for check in compared if check.kind == "values" and check.case in names]
    if not values:
        return []
    worst = max(values, key=badness).case
    return [name for name in dict.fromkeys((worst, _USUAL)) if any(check.case == name for check in values)]


def _seconds(case: Case, tensor: Input, manifest: Manifest) -> float | None:
    """Of its sound; None where the file is fed something else."""
    sound = tensor == manifest.input or tensor.stream
    return case.inputs[manifest.input.name].shape[-1] / manifest.sample_rate if sound else None


def _seen(case: Case, answer: Arrays, outputs: Sequence[Output], precision: Precision) -> Iterator[Held]:
    """Outputs that can be held to what is expected, element by element."""
    for output in outputs:
        if output.name not in case.expected or output.name not in answer:
            continue
        expected, actual = Sampled.of(case.expected[output.name]), answer[output.name]
        if expected.shape == actual.shape and actual.size:
            tolerance = output.tolerances[precision]
            yield Held(output.name, output.axes, output.kind, tolerance, expected.spread(), actual)


def _labels(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    classes = next((output.axes[-1] for output in manifest.outputs if output.name == manifest.scores), None)
    if not isinstance(classes, int) or not (folder / _LABELS).is_file():
        return ()
    return tuple(label.name for label in labels.read(folder / _LABELS, classes))


def _facts(manifest: Manifest) -> dict[str, str]:
    return {
        "command": manifest.command,
        "variant": f"{manifest.variant} ({manifest.family})",
        "weights": manifest.weights,
        "checkpoint": manifest.checkpoint_file,
        "SHA-256 of it": manifest.checkpoint_sha256,
        "licence": manifest.licence,
        "sample rate": f"{manifest.sample_rate} Hz",
    }


def _artifacts(manifest: Manifest) -> Iterator[Wrote]:
    for name, artifact in manifest.artifacts.items():
        inside = (entry.size for file, entry in manifest.files.items() if file == name or file.startswith(f"{name}/"))
        yield Wrote(name, f"{named(artifact.format).title}, {artifact.precision}, fed {artifact.input}", sum(inside))


def _front_end(manifest: Manifest) -> str | None:
    """The output that shows what the network hears; of a front end alone that is all there is."""
    given = {output.name: output.kind for output in manifest.outputs}
    if manifest.front_end in given:
        return manifest.front_end
    return next((name for name, kind in given.items() if kind == "feature"), None)
