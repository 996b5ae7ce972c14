"""`convert bisect`: the first divergence of two models, rounding apart from faults, exit codes, and one clear error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from markdown_it import MarkdownIt

from recipes.base.quiet import quiet
from tests.reading import read
from validators.traces.onnx import trace_model

with quiet("coremltools"):
    import coremltools as ct

    from tests import planted_coreml, planted_net, planted_onnx

Said = Any


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One net as net.onnx, net.mlpackage and mixed.mlpackage; the other three have faults."""
    folder = tmp_path_factory.mktemp("nets")
    model = onnx.load(str(planted_net.write_onnx(folder / "net.onnx")))
    trace = trace_model(model, {"x": planted_net.X}, "net")
    for name, fault, place in (("faulty", "asymmetric pad", "wide"), ("broken", "float16 overflow", "wide")):
        onnx.save(planted_onnx.plant(model, trace, fault, place)[0], str(folder / f"{name}.onnx"))
    with quiet("coremltools"):
        planted_net.write_coreml(folder / "net.mlpackage")
        planted_net.write_coreml(folder / "mixed.mlpackage", ct.precision.FLOAT16)
        program = planted_coreml.open_program(folder / "mixed.mlpackage")
        conv = next(
            op for op in program.operations if op.type == "conv" and any(program.fixed(program.given(op, "pad")))
        )
        program.set(conv, "pad", np.array([0, 2, 1, 1], np.int32))
        program.save(folder / "faulty.mlpackage")
    np.savez(folder / "on.npz", x=planted_net.X)
    return folder


@pytest.fixture
def bisect(nets: Path, convert: Callable[..., Said]) -> Callable[..., Said]:
    """`bisect("net.onnx", "faulty.onnx", ...)`: fed the net's own input."""

    def run(a: str, b: str, *words: object) -> Said:
        return convert("bisect", nets / a, nets / b, "--on", nets / "on.npz", *words)

    return run


@pytest.mark.parametrize(("a", "b"), [("net.onnx", "net.onnx"), ("net.onnx", "net.mlpackage")])
def test_models_that_agree_do_not_diverge(bisect: Callable[..., Said], a: str, b: str) -> None:
    said = bisect(a, b)
    assert said.exit_code == 0
    assert said.stdout.startswith("NO DIVERGENCE")


def test_the_first_op_that_goes_wrong_is_shown_with_what_stands_around_it(bisect: Callable[..., Said]) -> None:
    said = bisect("net.onnx", "faulty.onnx")
    assert said.exit_code == 1
    assert said.stdout.startswith("DIVERGES at Conv wide: a fault of the graph")
    assert "pads is [0, 1, 2, 1] where the other model has [1, 1, 1, 1]" in said.stdout
    for part in ("leaky", "smooth", "peaks", "differs", "means", "agrees"):
        assert part in said.stdout


def test_what_a_ci_shows_of_it(bisect: Callable[..., Said], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert bisect("net.onnx", "faulty.onnx", "--markdown", page).exit_code == 1
    html = MarkdownIt("commonmark").enable("table").render(page.read_text("utf-8"))
    assert html.startswith("<h3>DIVERGES at Conv wide: a fault of the graph")
    assert html.count("<table>") == 4
    assert "pads is [0, 1, 2, 1] where the other model has [1, 1, 1, 1]" in html
    assert '<td style="text-align:left">differs</td>' in html


def test_json_has_all_of_it(bisect: Callable[..., Said]) -> None:
    said = bisect("net.onnx", "faulty.onnx", "--json")
    found = json.loads(said.stdout)
    assert (found["exit_code"], found["verdict"]) == (said.exit_code, "graph") == (1, "graph")
    told = found["divergence"]
    assert told["culprit"]["outputs"] == told["opposite"]["outputs"] == ["wide"]
    assert [one["place"] for one in told["theirs"]] == ["before", "here", "after"]
    assert [(one["b"], one["agrees"]) for one in told["outputs"]] == [("peaks", False), ("means", True)]
    assert any(one["op"]["name"] == "wide" and one["error_in"] == 0 for one in told["growth"])


def test_a_fault_in_a_file_of_float16_is_told_from_rounding(bisect: Callable[..., Said]) -> None:
    assert bisect("net.onnx", "mixed.mlpackage").exit_code == 0
    found = json.loads(bisect("net.onnx", "faulty.mlpackage", "--json").stdout)
    assert found["verdict"] == "graph"
    assert found["divergence"]["culprit"]["kind"] == "conv"


def test_rounding_of_float16_is_no_fault_and_ends_with_the_ops_to_keep_in_float32(bisect: Callable[..., Said]) -> None:
    """No more differs than float16 makes, but more than the user allows."""
    said = bisect("net.onnx", "mixed.mlpackage", "--atol", "1e-6", "--rtol", "0")
    assert said.exit_code == 1
    assert "rounding of float16, not a fault" in " ".join(said.stdout.split())
    assert "keep in float32 first: " in said.stdout
    found = json.loads(bisect("net.onnx", "mixed.mlpackage", "--atol", "1e-6", "--rtol", "0", "--json").stdout)
    assert len(found["amplifiers"]) == 3


def test_an_overflow_inside_is_named(bisect: Callable[..., Said]) -> None:
    said = bisect("net.onnx", "broken.onnx")
    assert said.exit_code == 1
    assert "become NaN or infinite here: float16 ends at 65504" in " ".join(said.stdout.split())
    assert json.loads(bisect("net.onnx", "broken.onnx", "--json").stdout)["divergence"]["outputs"][0]["error"] is None


def test_without_a_feed_one_is_generated(nets: Path, convert: Callable[..., Said]) -> None:
    assert convert("bisect", nets / "net.onnx", nets / "net.mlpackage").exit_code == 0
    assert convert("bisect", nets / "net.onnx", nets / "faulty.onnx").exit_code == 1


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        ("net.onnx", "none.onnx", "no such file"),
        ("net.onnx", "rubbish.onnx", "cannot load it"),
        ("rubbish.mlpackage", "net.onnx", "rubbish.mlpackage"),
        ("net.onnx", "model.npu.onnx", "shows what it computes on the way"),
        ("net.onnx", "text.txt", "its name must end in"),
    ],
)
def test_what_cannot_be_run_is_one_clear_error(
    nets: Path, convert: Callable[..., Said], tmp_path: Path, a: str, b: str, told: str
) -> None:
    for name in ("rubbish.onnx", "text.txt", "model.npu.onnx"):
        (tmp_path / name).write_bytes(b"rubbish")
    (tmp_path / "rubbish.mlpackage").mkdir()
    paths = [nets / name if (nets / name).exists() else tmp_path / name for name in (a, b)]
    said = convert("bisect", *paths)
    assert said.is_one_clear_error(told), said


def test_a_name_that_maps_nothing_is_one_clear_error(bisect: Callable[..., Said]) -> None:
    assert bisect("net.onnx", "faulty.onnx", "--map", "nosuch=thing").is_one_clear_error(
        "--map nosuch=thing: A has no 'nosuch'; it has "
    )


def test_pann_in_float16_does_not_diverge_from_itself_in_float32(made_pann: Any, convert: Callable[..., Said]) -> None:
    said = convert("bisect", made_pann.onnx, made_pann.mlpackage, "--json")
    assert said.exit_code == 0
    found = json.loads(said.stdout)
    assert found["fed"] == "rich"
    assert len(found["amplifiers"]) == 3


@pytest.mark.slow
def test_a_lowered_graph_does_not_diverge_from_the_authors(
    made_pann: Any, convert: Callable[..., Said], tmp_path: Path
) -> None:
    words = ["recipe", "pann", "--weights", "synthetic", "--no-lowering", "-o", tmp_path / "plain"]
    assert convert(*words).exit_code == 0
    for pair in ((tmp_path / "plain/model.onnx", made_pann.onnx), (made_pann.onnx, tmp_path / "plain/model.onnx")):
        assert convert("bisect", *pair).exit_code == 0


def test_a_page_shows_the_place_and_how_the_error_grows(bisect: Callable[..., Said], tmp_path: Path) -> None:
    for b, code, status in (("faulty.onnx", 1, "failed"), ("net.mlpackage", 0, "passed")):
        said = bisect("net.onnx", b, "--html", tmp_path / "page.html")
        assert said.exit_code == code
        page = read((tmp_path / "page.html").read_text(encoding="utf-8"))
        (banner,) = page.of("verdict")
        assert banner.attributes["class"] == f"verdict {status}"
        assert said.stdout.splitlines()[0].strip() in banner.text
        assert f"Exit code {code}." in banner.text
        assert "behind each op" in page.of("chart")[0].attributes["aria-label"]
        assert ("pads is [0, 1, 2, 1] where the other model has [1, 1, 1, 1]" in page.text) == bool(code)
