"""What a CI needs around a fleet of variants: the list of jobs before it, and one table of all manifests after it.

    convert list --json > variants.json
    python fleet.py matrix variants.json "pann efficientat"     # a JSON list of their variants, for a matrix
    python fleet.py table manifests '["mobilenetv1", "mn04_as"]'  # Markdown, of manifests/manifest-VARIANT

Needs nothing but Python. `table` ends with 1 unless all variants passed; a job that left nothing is none that did.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path
from typing import Any

HEADS = ("variant", "file", "precision", "MB", "output", "max abs", "of its tolerance", "verdict")
NUMBERS = ("MB", "max abs", "of its tolerance")


def matrix(listed: Path, families: str) -> list[str]:
    """The names of all variants of these families, divided by blanks; of all where there are none."""
    found = [entry["configuration"] for entry in json.loads(listed.read_text("utf-8"))]
    wanted = families.split() or sorted({each["family"] for each in found})
    if unknown := set(wanted) - {each["family"] for each in found}:
        raise SystemExit(f"there is no family {', '.join(sorted(unknown))}; `convert list` shows them")
    return [each["name"] for each in found if each["family"] in wanted]


def rows(variant: str, path: Path) -> Iterator[dict[str, str]]:
    """One an artifact: its size, and the output that uses most of its tolerance in any runtime."""
    blank = dict.fromkeys(HEADS, "") | {"variant": variant}
    if not path.is_file():
        yield blank | {"verdict": "NOT VERIFIED: no manifest"}
        return
    manifest = json.loads(path.read_text("utf-8"))
    results = manifest["results"]
    for name, artifact in manifest["artifacts"].items():
        sizes = [
            entry["size"] for file, entry in manifest["files"].items() if file == name or file.startswith(f"{name}/")
        ]
        checks = [check for check in results["checks"] if check["artifact"] == name]
        failed = sum(check["status"] == "failed" for check in checks)
        compared = [check for check in checks if check["comparison"]]
        worst = max(compared, key=used, default=None)
        row = blank | {"file": name, "precision": artifact["precision"], "MB": f"{sum(sizes) / 1e6:.2f}"}
        if worst is not None:
            row |= {"output": worst["output"], "max abs": f"{worst['comparison']['max_abs']:.2e}"}
            row |= {"of its tolerance": f"{used(worst):.0%}"}
        row["verdict"] = f"FAILED: {failed}" if failed else "passed" if compared else "NOT VERIFIED"
        yield row
    if results["verdict"] != "passed":
        yield blank | {"verdict": f"{results['verdict'].upper()} as a whole"}


def used(check: dict[str, Any]) -> float:
    """The share of the tolerance that the worst case takes; more than 1 fails."""
    found = check["comparison"]
    none = inf if found["passing_atol"] else 0.0
    return float(found["passing_atol"] / found["atol"]) if found["atol"] else none


def table(found: Sequence[dict[str, str]]) -> str:
    """GitHub's Markdown, in which no name is markup."""
    lines = [list(HEADS), ["--:" if head in NUMBERS else ":--" for head in HEADS]]
    lines += [[re.sub(r"([^\w\s,.:%+-])", r"\\\1", row[head]) for head in HEADS] for row in found]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(command: str, place: str, names: str) -> int:
    if command == "matrix":
        sys.stdout.write(f"{json.dumps(matrix(Path(place), names))}\n")
        return 0
    variants = json.loads(names)
    found = [row for name in variants for row in rows(name, Path(place) / f"manifest-{name}" / "manifest.json")]
    passed = sum(all(row["verdict"] == "passed" for row in found if row["variant"] == name) for name in variants)
    sys.stdout.write(f"{table(found)}\n\n{passed} of {len(variants)} variants passed\n")
    return int(passed < len(variants))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
