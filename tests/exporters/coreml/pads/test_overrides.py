"""One node written as the config says, and what is said when the config is wrong."""

from importlib import resources

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from exporters.coreml.pads import PadError, PadNode, plan
from recipes.base.config import parse
from recipes.base.errors import UserError
from recipes.base.spec import PadOverride


def two_pads(x):
    """A front end's centring and a border further on, like the graphs where only one pad comes out wrong."""
    return F.pad(F.pad(x, (4, 4), mode="reflect") * 2, (1, 1)) + 1


X = torch.arange(3.0 * 12).reshape(1, 3, 12)


@pytest.fixture(scope="module")
def names(convert, frontend):
    return [decision.node for decision in convert(two_pads, X, frontend).decisions]


def test_the_override_replaces_that_node_only(convert, frontend, names):
    first, second = names
    conversion = convert(two_pads, X, frontend, {first: PadOverride(mode="replicate")})
    expected = F.pad(F.pad(X, (4, 4), mode="replicate") * 2, (1, 1)) + 1
    np.testing.assert_array_equal(conversion(X)[0], expected.numpy())
    assert [d.overridden for d in conversion.decisions] == [True, False]
    assert conversion.decisions[0].mode == "replicate"
    assert "mode=replicate" in conversion.decisions[0].why

    conversion = convert(two_pads, X, frontend, {second: PadOverride(value=7.0)})
    expected = F.pad(F.pad(X, (4, 4), mode="reflect") * 2, (1, 1), value=7.0) + 1
    np.testing.assert_array_equal(conversion(X)[0], expected.numpy())


def test_a_handler_can_be_named(convert, frontend, names):
    first, _ = names
    conversion = convert(two_pads, X, frontend, {first: PadOverride(handler="concat")})
    assert conversion.decisions[0].handler == "concat"
    np.testing.assert_array_equal(conversion(X)[0], two_pads(X).numpy())


def test_the_true_amounts_change_nothing(convert, frontend, names):
    first, _ = names
    conversion = convert(two_pads, X, frontend, {first: PadOverride(pad=((0, 0), (0, 0), (4, 4)))})
    np.testing.assert_array_equal(conversion(X)[0], two_pads(X).numpy())


@pytest.mark.parametrize(
    "amounts", [((0, 0), (0, 0), (3, 5)), ((0, 0), (2, 2), (4, 4)), ((0, 0), (4, 4), (0, 0))], ids=str
)
def test_wrong_amounts_are_visible(convert, frontend, names, amounts):
    """Off by one, one axis too many, the wrong axis: none of them may pass for the right answer."""
    first, _ = names
    override = PadOverride(pad=amounts, mode="replicate" if amounts[1] == (4, 4) else None)
    (result,) = convert(two_pads, X, frontend, {first: override})(X)
    expected = two_pads(X).numpy()
    assert result.shape != expected.shape or np.abs(result - expected).max() >= 1


def test_the_amounts_must_fit_the_rank(convert, frontend, names):
    first, _ = names
    with pytest.raises(PadError, match=f"{first}: 2 pairs.*rank 3"):
        convert(two_pads, X, frontend, {first: PadOverride(pad=((0, 0), (4, 4)))})


def test_constant_amounts_can_replace_those_that_depend_on_the_input(convert, frontend):
    def function(x):
        return F.pad(x, (0, 40 - x.shape[1]))

    x = torch.randn(1, 11)
    flexible = {1: (4, 39)}
    with pytest.raises(PadError, match="override the node's pad") as refusal:
        convert(function, x, frontend, flexible=flexible)
    name = str(refusal.value).split(":")[0]
    conversion = convert(function, x, frontend, {name: PadOverride(pad=((0, 0), (0, 29)))}, flexible)
    np.testing.assert_array_equal(conversion(x)[0], function(x).numpy())


def test_a_name_that_matches_nothing_is_an_error(convert, frontend, names):
    first, second = names
    with pytest.raises(PadError, match=f"'pad_9'.*{first}, {second}"):
        convert(two_pads, X, frontend, {"pad_9": PadOverride(mode="replicate")})


def test_a_handler_that_cannot_is_an_error():
    node = PadNode("pad_3", "circular", ((0, 0), (1, 1)), 0.0, (1, 8), "fp32")
    with pytest.raises(PadError, match=r"pad_3: handler 'pad' cannot write axis 1.*circular"):
        plan(node, handler="pad")


def test_an_unknown_mode_of_the_graph_is_an_error():
    with pytest.raises(PadError, match=r"pad_3: unknown pad mode 'symmetric'.*circular"):
        plan(PadNode("pad_3", "symmetric", ((0, 0), (1, 1)), 0.0, (1, 8), "fp32"))


def test_an_unknown_handler_is_an_error():
    with pytest.raises(PadError, match=r"pad_3: unknown handler 'onnx'.*pad, concat"):
        plan(PadNode("pad_3", "reflect", ((0, 0), (1, 1)), 0.0, (1, 8), "fp32"), handler="onnx")


CONFIG = resources.files("configs").joinpath("pann", "mobilenetv1.yaml").read_text(encoding="utf-8")


def test_a_config_is_read():
    pads = "  pads: {input.3: {pad: [[0, 0], [512, 512]], mode: reflect}, '504': {value: 3.0, handler: concat}}\n"
    assert parse(CONFIG + pads, "x.yaml").coreml.pads == {
        "input.3": PadOverride(pad=((0, 0), (512, 512)), mode="reflect"),
        "504": PadOverride(value=3.0, handler="concat"),
    }


@pytest.mark.parametrize(
    "entry",
    [
        "{mode: mirror}",
        "{axis: 2}",
        "{pad: [512, 512]}",
        "{pad: [[1, 2, 3]]}",
        "{pad: [[1.5, 2]]}",
        "{value: zero}",
        "{value: .nan}",
        "{}",
        "reflect",
    ],
)
def test_a_malformed_config_is_an_error_that_names_the_node(entry):
    with pytest.raises(UserError, match=r"line \d+, coreml.pads.pad_1"):
        parse(f"{CONFIG}  pads: {{pad_1: {entry}}}\n", "x.yaml")
