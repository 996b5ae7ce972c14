"""`convert bisect`: the first divergence of two models, rounding apart from faults, exit codes, and one clear error."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from markdown_it import MarkdownIt
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from convert import bisection, bisection_report
from convert.suggestion import Suggestion
from recipes.base.quiet import quiet
from tests.reading import read
from validators.runners.runtime import Runtime
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
    # A block for each op, on both sides, in 80 columns; and of the growth what grows.
    lines = said.stdout.splitlines()
    assert lines.count("-> Conv wide") == 2
    assert max(map(len, lines)) <= 80
    assert any(re.match(" {6}gives wide: float32 .*, no partner *$", line) for line in lines)
    assert "  with  " in said.stdout
    assert not re.search(r"0\.00e\+00 +0\.00e\+00 *$", said.stdout, re.MULTILINE)
    assert "0.00e+00" in said.stdout


def test_what_a_ci_shows_of_it(bisect: Callable[..., Said], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert bisect("net.onnx", "faulty.onnx", "--markdown", page).exit_code == 1
    html = MarkdownIt("commonmark").enable("table").render(page.read_text("utf-8"))
    assert html.startswith("<h3>DIVERGES at Conv wide: a fault of the graph")
    assert html.count("<table>") == 1
    assert html.count("<strong>Conv wide</strong>") == 2
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
    assert [one["used"] > 1 for one in told["outputs"]] == [True, False]
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


WEIGHTS = np.random.RandomState(5).randn(2, 16, 8).astype(np.float32)


def _two(path: Path, names: dict[str, str], **factors: float) -> Path:
    """Two outputs of one shape, `one` and `two`, under these names, each times its factor; or one of them alone."""
    nodes, constants = [], []
    for own, weight in zip(("one", "two"), WEIGHTS, strict=True):
        constants.append(numpy_helper.from_array(weight * np.float32(factors.get(own, 1)), f"weight_{own}"))
        nodes.append(helper.make_node("MatMul", ["x", f"weight_{own}"], [f"product_{own}"]))
        nodes.append(helper.make_node("Tanh", [f"product_{own}"], [names.get(own, own)]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 8)) for name in names.values()]
    fed = helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 16))
    graph = helper.make_graph(nodes, "two", [fed], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_operatorsetid("", 17)], ir_version=8), path)
    return path


def _called(path: str) -> Callable[..., Any]:
    module, _, function = path.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What models are held to, in this process, which spares three starts of a worker a command."""
    monkeypatch.setattr(Runtime, "open", lambda self, path, *_, **__: _called(self.opener)(path))
    monkeypatch.setattr(Runtime, "trace", lambda self, path, inputs: _called(self.tracer)(path, inputs))
    return _two(tmp_path / "a.onnx", {"one": "one", "two": "two"})


def test_outputs_are_paired_as_compare_pairs_them(convert: Callable[..., Said], tmp_path: Path, pair: Path) -> None:
    """By their values, and what is near nothing is held to what is left over."""
    other = _two(tmp_path / "b.onnx", {"two": "right", "one": "wrong"}, one=-3)
    assert convert("compare", pair, other).exit_code == 1
    said = convert("bisect", pair, other)
    assert said.exit_code == 1
    assert said.stdout.startswith("DIVERGES at MatMul product_one: a fault of the graph")
    same = _two(tmp_path / "same.onnx", {"two": "right", "one": "left"})
    assert convert("bisect", pair, same).exit_code == 0


def test_an_output_without_a_partner_is_no_agreement(convert: Callable[..., Said], tmp_path: Path, pair: Path) -> None:
    fewer = _two(tmp_path / "fewer.onnx", {"one": "one"})
    page, markdown = tmp_path / "page.html", tmp_path / "page.md"
    said = convert("bisect", pair, fewer, "--html", page, "--markdown", markdown)
    assert said.exit_code == 1
    assert said.stdout.startswith("UNPAIRED: nothing stands against A's 'two'; in the rest fewer.onnx")
    assert ["nothing", "two", "-", "-", "no", "partner"] in [line.split() for line in said.stdout.splitlines()]
    assert markdown.read_text("utf-8").startswith("### UNPAIRED")
    assert "| nothing | two | \\- | \\- | no partner |" in markdown.read_text("utf-8")
    shown = read(page.read_text("utf-8"))
    assert shown.of("verdict")[0].attributes["class"] == "verdict failed"
    assert "nothing stands against A's 'two': --map A_NAME=B_NAME says what does" in shown.text
    assert "each output agrees with the one that it is held to" in shown.text
    found = json.loads(convert("bisect", pair, fewer, "--json").stdout)
    assert (found["exit_code"], found["verdict"], found["missing"], found["extra"]) == (1, "unpaired", ["two"], [])
    said = convert("bisect", fewer, pair)
    assert said.exit_code == 1
    assert ["two", "nothing", "-", "-", "no", "partner"] in [line.split() for line in said.stdout.splitlines()]


@pytest.mark.parametrize(("factor", "code"), [(1e-9, 0), (0.5, 1)])
def test_an_output_of_zeros_agrees_where_it_does_in_compare(
    convert: Callable[..., Said], tmp_path: Path, pair: Path, factor: float, code: int
) -> None:
    names = {"one": "one", "two": "two"}
    sides = _two(pair, names, one=0), _two(tmp_path / "b.onnx", names, one=factor)
    assert convert("compare", *sides).exit_code == code
    page = tmp_path / "page.html"
    said = convert("bisect", *sides, "--html", page)
    assert said.exit_code == code
    assert "greatest is 0" in said.stdout
    assert "greatest is 0" in read(page.read_text("utf-8")).text


def test_where_nothing_of_a_stands_for_the_op_that_is_told(tmp_path: Path, pair: Path) -> None:
    found = bisection.bisect(pair, _two(tmp_path / "b.onnx", {"one": "one", "two": "two"}, one=1.5))
    alone = replace(found, divergence=replace(found.divergence, opposite=None, ours=()))
    for one, told in ((found, False), (alone, True)):
        shown = StringIO()
        Console(file=shown, width=80).print(bisection_report.text(one))
        assert ("   no op of A stands for it" in shown.getvalue().splitlines()) == told
        assert ("no op of A stands for it" in bisection_report.as_markdown(one)) == told


def test_a_divergence_is_named_beside_an_output_without_a_partner(
    convert: Callable[..., Said], tmp_path: Path, pair: Path
) -> None:
    said = convert("bisect", pair, _two(tmp_path / "b.onnx", {"one": "one"}, one=1.5))
    assert said.exit_code == 1
    told = " ".join(said.stdout.split())
    assert told.startswith("DIVERGES at MatMul product_one: a fault of the graph; and nothing stands against A's 'two'")


def test_outputs_that_are_alone_on_purpose(convert: Callable[..., Said], tmp_path: Path, pair: Path) -> None:
    fewer = _two(tmp_path / "fewer.onnx", {"one": "one"})
    for command in ("compare", "bisect"):
        for words in ((pair, fewer), (fewer, pair)):
            said = convert(command, *words, "--output", "one")
            assert said.exit_code == 0, said
            assert "note: left out, since --output says one: two\n" in said.stderr
        assert convert(command, pair, fewer, "--output", "two").exit_code != 0
        unknown = convert(command, pair, fewer, "--output", "three")
        assert unknown.is_one_clear_error("--output three: "), unknown
    assert convert("bisect", tmp_path, "--output", "one").is_one_clear_error("--output: is of two models")


@pytest.mark.usefixtures("pair")
def test_whole_numbers_are_the_same_or_not(convert: Callable[..., Said], tmp_path: Path) -> None:
    def write(name: str, index: int) -> Path:
        nodes = [
            helper.make_node("ArgMax", ["x"], ["best"], keepdims=0),
            helper.make_node("Mul", ["best", "none"], ["zero"]),
            helper.make_node("Add", ["zero", "index"], ["y"]),
        ]
        constants = [numpy_helper.from_array(np.array(value), name) for name, value in (("none", 0), ("index", index))]
        fed = helper.make_tensor_value_info("x", TensorProto.FLOAT, (16,))
        graph = helper.make_graph(nodes, "index", [fed], [helper.make_tensor_value_info("y", TensorProto.INT64, ())])
        graph.initializer.extend(constants)
        onnx.save(
            helper.make_model(graph, opset_imports=[helper.make_operatorsetid("", 17)], ir_version=8), tmp_path / name
        )
        return tmp_path / name

    for size in (16777216, 2**53):
        first, next_ = write("a.onnx", size), write("b.onnx", size + 1)
        for command in ("compare", "bisect"):
            assert convert(command, first, first).exit_code == 0
            assert convert(command, first, next_).exit_code == 1
            assert convert(command, first, next_, "--atol", "1").exit_code == 0


def test_what_is_suggested_stands_everywhere(
    bisect: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    advice = Suggestion("mixed.mlpackage", ("a", "b", "c"), ("a", "b", "c"), 0, 3, 9, "convert recipe it")
    monkeypatch.setattr("convert.models.homes", lambda *_: [tmp_path / "made"])
    page, markdown = tmp_path / "page.html", tmp_path / "page.md"
    for found, told in (
        ([advice], "SUGGESTED for mixed.mlpackage: passes with 3 more ops"),
        ([], "nothing to suggest"),
    ):
        monkeypatch.setattr("convert.suggestion.for_package", lambda *_, found=found: found)
        said = bisect("net.onnx", "mixed.mlpackage", "--suggest", "--html", page, "--markdown", markdown)
        assert said.exit_code == 0
        for text in (" ".join(said.stdout.split()), read(page.read_text("utf-8")).text, markdown.read_text("utf-8")):
            assert told in text.replace("\\", "")


@pytest.mark.parametrize("b", ["faulty.onnx", "mixed.mlpackage", "nosuch.mlpackage"])
def test_what_has_nothing_to_suggest_is_refused_at_once(
    bisect: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, b: str
) -> None:
    monkeypatch.delattr("convert.bisection.bisect")
    said = bisect("net.onnx", b, "--suggest")
    assert said.is_one_clear_error("is no .mlpackage in a folder that `convert recipe` made"), said


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
