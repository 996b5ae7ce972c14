"""`--html`: the page of a check and of a recipe, refused early where it cannot be, and whole or not there."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.evidence import gather
from convert.folder import entries
from convert.pipeline import Made
from tests.reading import Element, read
from validators.page import Evidence
from validators.results import Check, exit_code

Convert = Callable[..., Any]

GOOD = Check("model.onnx", "onnxruntime", "fp32", "rich", "clipwise", "values", "passed")
BAD = Check("model.onnx", "onnxruntime", "fp32", "rich", "clipwise", "values", "failed", "not a number")


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`checked(GOOD)`: what a check of any folder finds, at once."""

    def found(*checks: Check) -> None:
        monkeypatch.setattr("convert.verify.verify", lambda *_, **__: list(checks))
        monkeypatch.setattr("convert.evidence.gather", lambda folder, *_: Evidence(f"a model: {folder}"))

    return found


def _section(page: Element, heading: str) -> Element:
    return next(section for section in page.all("section") if next(section.all("h2", "h3")).text.startswith(heading))


def test_a_made_folder_has_its_page(
    convert: Convert, made_pann: Any, here: Callable[..., None], tmp_path: Path
) -> None:
    here("onnxruntime", "executor")
    before = sorted(name for name, _ in entries(made_pann.path))
    said = convert("check", made_pann.path, "--html", tmp_path / "page.html")
    assert said.exit_code == 0
    assert sorted(name for name, _ in entries(made_pann.path)) == before
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert len(text.encode()) < 1_500_000
    page = read(text)
    assert "synthetic weights" in next(page.all("h1")).text
    assert page.of("verdict")[0].attributes["class"] == "verdict passed"
    assert "NOT VERIFIED" in page.of("faults")[0].text
    files = {
        row.text.strip().split("model.")[1][:4]
        for row in _section(page, "At a glance").all("tr")
        if "model." in row.text
    }
    assert files == {"onnx", "mlpa"}
    package = _section(page, "model.mlpackage")
    assert "Rules of Core ML's runtime" in package.text
    assert "What to do:" in package.text
    assert "What float16 cannot hold" in package.text
    assert any("keep the op in float32" in cell.text for cell in package.all("td"))
    drawn = [figure.text for figure in package.all("figcaption")]
    assert drawn[:3] == ["melspec: expected", "melspec: actual", "melspec: difference"]
    assert "framewise: error over time" in drawn
    assert "clipwise: error over classes" in drawn
    # One that has no melspec in front of it, and is not in float16.
    assert "What float16 cannot hold" not in _section(page, "model.onnx").text
    made = _section(page, "What was made")
    assert "convert recipe pann" in made.text
    assert "synthetic" in made.text
    assert "model.mlpackage" in made.text
    assert "coremltools" in made.text


def test_files_that_were_changed_are_not_opened_for_a_page(convert: Convert, folder: Path, tmp_path: Path) -> None:
    (folder / "model.onnx").write_bytes(b"not what was made")
    said = convert("check", folder, "--html", tmp_path / "page.html")
    assert said.exit_code == 1
    page = read((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.of("verdict")[0].attributes["class"] == "verdict failed"
    assert "its size or SHA-256 differs" in page.of("faults")[0].text
    assert "nothing is drawn" in _section(page, "What is not drawn").text
    assert not page.of("chart")


def test_a_runtime_that_fails_on_the_way_changes_no_verdict(
    made_pann: Any, here: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    here("onnxruntime")
    checks = [GOOD]
    monkeypatch.setattr("convert.evidence.run_batch", _fail)
    found = gather(made_pann.path, checks, lambda _: nullcontext())
    assert found.answers == ()
    assert any("model.onnx in onnxruntime: out of order" in line for line in found.unseen)
    assert exit_code(checks) == 0


def test_a_package_of_another_form_is_not_fed_the_cases(made_pann: Any) -> None:
    """Its inputs may have any names."""
    name = made_pann.mlpackage.name
    for kind in ("names", "axes", "dtype"):
        wrong = Check(name, "", "mixed", "", "", kind, "failed", "are others")
        found = gather(made_pann.path, [wrong], lambda _: nullcontext())
        assert name in found.rules
        assert found.hazards == {}
        assert any("since its form failed" in line for line in found.unseen)


def _fail(*_: object) -> None:
    from validators.runners.runner import RunnerError

    raise RunnerError("out of order")


def test_the_page_says_what_the_exit_code_says(convert: Convert, checked: Callable[..., None], tmp_path: Path) -> None:
    for checks, code, status in (((GOOD,), 0, "passed"), ((GOOD, BAD), 1, "failed"), ((), 3, "not-verified")):
        checked(*checks)
        said = convert("check", tmp_path / "made", "--html", tmp_path / "page.html")
        assert said.exit_code == code
        page = read((tmp_path / "page.html").read_text(encoding="utf-8"))
        (banner,) = page.of("verdict")
        assert banner.attributes["class"] == f"verdict {status}"
        assert f"Exit code {code}." in banner.text
        assert f"a model: {tmp_path / 'made'}" in next(page.all("h1")).text


def test_a_recipe_has_its_page(
    convert: Convert, checked: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checked()
    monkeypatch.setattr("convert.pipeline.make", lambda *_: Made(checks=[GOOD, BAD], warnings=["it is <loud>"]))
    said = convert("recipe", "pann", "-o", tmp_path / "made", "--html", tmp_path / "page.html")
    assert said.exit_code == 1
    page = read((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.of("verdict")[0].attributes["class"] == "verdict failed"
    assert "Warning: it is <loud>" in _section(page, "Notes").text


def test_a_comparison_has_its_page(convert: Convert, tmp_path: Path) -> None:
    random = np.random.RandomState(1)
    expected = {"melspec": random.rand(1, 20, 8).astype(np.float32), "scores": random.rand(1, 6).astype(np.float32)}
    got = {"melspec": expected["melspec"] + np.float32(0.5), "scores": expected["scores"].copy()}
    got["melspec"][0, 3, 2] = np.nan
    for name, arrays in (("expected.npz", expected), ("got.npz", got)):
        np.savez(tmp_path / name, **arrays)  # type: ignore[arg-type]
    said = convert("compare", tmp_path / "expected.npz", tmp_path / "got.npz", "--html", tmp_path / "page.html")
    assert said.exit_code == 1
    page = read((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert page.of("verdict")[0].attributes["class"] == "verdict failed"
    assert "1 of 160 actual values are NaN or infinite" in page.of("faults")[0].text
    drawn = [figure.text for figure in page.all("figcaption")]
    assert drawn == [
        "melspec: expected",
        "melspec: actual",
        "melspec: difference",
    ]
    assert "no known value of scores differs" in page.text
    assert "tolerances: atol 0.0001" in _section(page, "Notes").text
    for place in ("expected.npz", "got.npz"):
        said = convert("compare", tmp_path / "expected.npz", tmp_path / "got.npz", "--html", tmp_path / place)
        assert said.is_one_clear_error("is what is read, and would be replaced")


def test_a_comparison_of_a_made_folder_names_its_classes(convert: Convert, made_pann: Any, tmp_path: Path) -> None:
    sound = made_pann.path / "reference" / "rich.wav"
    assert convert("run", made_pann.onnx, sound, "-o", tmp_path / "got.npz").exit_code == 0
    words = ["compare", made_pann.path, tmp_path / "got.npz", "--case", "rich", "--html", tmp_path / "page.html"]
    assert convert(*words).exit_code == 0
    page = read((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "the same, in the same order" in page.of("top")[0].text
    drawn = [figure.text for figure in page.all("figcaption")]
    assert drawn[0] == "melspec: expected"
    assert "framewise: error over classes" in drawn


@pytest.mark.parametrize("command", ["check", "recipe"])
def test_what_cannot_be_written_is_told_before_anything_is_computed(
    convert: Convert, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    def computed(*_: object, **__: object) -> None:
        raise AssertionError("it has begun")

    monkeypatch.setattr("convert.verify.verify", computed)
    monkeypatch.setattr("convert.pipeline.make", computed)
    (tmp_path / "made").mkdir()
    words = [command, tmp_path / "made"] if command == "check" else [command, "pann", "-o", tmp_path / "made"]
    for place, part in (
        (tmp_path / "absent" / "page.html", "there is no folder"),
        (tmp_path, "is a folder"),
        (tmp_path / "made" / "page.html", "lies in the folder"),
    ):
        assert convert(*words, "--html", place).is_one_clear_error(part)
    monkeypatch.setattr("validators.page.page.find_spec", lambda _: None)
    said = convert(*words, "--html", tmp_path / "page.html")
    assert said.is_one_clear_error('pip install "soundport[report]"')
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_full_disk_is_one_clear_error(convert: Convert, checked: Callable[..., None], tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs a disk that is full: /dev/full")
    checked(GOOD)
    assert convert("check", tmp_path, "--html", "/dev/full").is_one_clear_error("free space")


def test_one_file_is_not_written_twice(convert: Convert, checked: Callable[..., None], tmp_path: Path) -> None:
    checked(GOOD)
    said = convert("check", tmp_path / "made", "--html", tmp_path / "one", "--junit", tmp_path / "one")
    assert said.is_one_clear_error("--junit and --html")


def test_a_check_without_a_page_needs_nothing_of_it(imported: Callable[..., tuple[str, set[str]]]) -> None:
    _, modules = imported("check", "absent", "--json")
    assert not {"matplotlib", "jinja2", "validators.page.charts"} & modules
