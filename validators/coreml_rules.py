"""Whether a .mlpackage keeps the rules of Core ML's runtime, as a check among others."""

from collections.abc import Iterable
from pathlib import Path

from recipes.base.quiet import quiet
from recipes.base.tensor import Precision
from validators.results import Check

with quiet("coremltools"):
    from validators.coreml import CoreMLError
    from validators.coreml.rules import Breach, check_rules


def check_coreml_rules(path: Path, precision: Precision) -> Check:
    """Failed where a rule is broken whose breach Core ML refuses; what only leaves a processor is in the message."""
    try:
        breaches = check_rules(path)
    except CoreMLError as error:
        return Check(path.name, "", precision, "", "", "rules", "failed", str(error))
    errors = [str(breach) for breach in breaches if breach.severity == "error"]
    message = "; ".join(errors) if errors else _summary(breaches)
    return Check(path.name, "", precision, "", "", "rules", "failed" if errors else "passed", message)


def _summary(breaches: Iterable[Breach]) -> str:
    """The broken rules by name, each with the ops that break it; empty where there are none."""
    places: dict[str, list[str]] = {}
    for breach in breaches:
        places.setdefault(breach.rule, []).append(breach.op)
    return ", ".join(f"{rule} ({', '.join(ops)})" for rule, ops in places.items())
