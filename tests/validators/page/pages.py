"""What the tests' pages are made of, small and at hand."""

from dataclasses import replace
from typing import Any

import numpy as np

from recipes.base.tensor import Tolerance
from validators.compare import Sampled, compare
from validators.coreml.hazards import Hazard
from validators.coreml.rules import Breach
from validators.divergence import Array, Divergence, Growth, OutputPair, Partner
from validators.divergence import Seen as Around
from validators.page import Answer, Evidence, Held, Located, Stage, Wrote
from validators.results import Check
from validators.traces import Op

TOLERANCE = Tolerance(1e-3, 0.0, "for these tests")
LABELS = tuple(f"class {index}" for index in range(8))
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7 * 7 }} \x1b[31m\u202e\ud800 $x_{1}$'


def held_of(name: str, axes: tuple[str | int, ...], kind: str, shape: tuple[int, ...], error: float = 1e-4) -> Held:
    random = np.random.RandomState(len(name))
    expected = random.rand(*shape).astype(np.float32)
    actual = expected + np.float32(error) * random.rand(*shape).astype(np.float32)
    return Held(name, axes, kind, TOLERANCE, expected, actual)


def answer_of(runtime: str = "onnxruntime", error: float = 1e-4, artifact: str = "model.onnx") -> Answer:
    outputs = (
        held_of("melspec", ("batch", "frames", 4), "feature", (1, 6, 4), error),
        held_of("scores", ("batch", 8), "probability", (2, 8), error),
    )
    return Answer(artifact, runtime, "fp32", "rich", outputs, 0.5, True)


def check_of(answer: Answer, held: Held) -> Check:
    bad = not np.isfinite(held.actual).all()
    comparison = None if bad else compare(Sampled.of(held.expected), held.actual, held.tolerance, held.kind)
    passed = comparison is not None and comparison.passed
    message = "" if passed else "values are NaN or infinite" if bad else "values are over atol"
    status = "passed" if passed else "failed"
    return Check(answer.artifact, answer.runtime, "fp32", answer.case, held.name, "values", status, message, comparison)


def checks_of(*answers: Answer) -> list[Check]:
    return [check_of(answer, held) for answer in answers for held in answer.outputs]


def evidence_of(*answers: Answer, **more: Any) -> Evidence:
    known = {"title": "A model: artifacts/a", "labels": LABELS, "scores": "scores", "front_end": "melspec"}
    return Evidence(answers=answers, **{**known, **more})


def whole(word: str = "a") -> tuple[list[Check], Evidence]:
    """Every part of a page, with `word` for each name in it."""
    answer = replace(answer_of(runtime=word, artifact=word), case=word)
    answer = replace(answer, outputs=tuple(replace(held, name=f"{held.name}{word}") for held in answer.outputs))
    op = Op(word, word, (word,), (word,), {word: word})
    array = Array(word, word, (1, 2), 0.0, 1.0, None, word)
    around = (Around("here", op, (array,), (array,)),)
    divergence = Divergence(
        op,
        op,
        (Partner(word, word, word, 0.1),),
        (Growth(op, None, 1e-6), Growth(op, 1e-6, 1e-3)),
        (word,),
        (OutputPair(word, word, 0.1, False),),
        around,
    )
    checks = [*checks_of(answer), Check(word, "coreml", word, word, "", "values", "not verified", word)]
    checks += [replace(checks[0], status="failed", message=word), replace(checks[0], kind="rules", message=word)]
    evidence = Evidence(
        title=word,
        facts={word: word},
        versions={word: word},
        rewrites=(word,),
        artifacts=(Wrote(word, word, 1234),),
        files=(Wrote(word, word, 1234, word),),
        answers=(answer,),
        labels=(word,) * 8,
        scores=f"scores{word}",
        front_end=f"melspec{word}",
        rules={word: (Breach(word, "error", word, word, word, word, word),)},
        hazards={word: (Hazard(word, word, word, word, "overflow", np.inf, word),)},
        stages=(Stage(word, word, "failed", checks[0]), Stage(word, word, "not verified", None)),
        located=(Located(word, (word,), divergence, divergence.growth),),
        notes=(word,),
        unseen=(word,),
    )
    return checks, evidence
