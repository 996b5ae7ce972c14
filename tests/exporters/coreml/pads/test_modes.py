"""Every pad PyTorch can do, against eager PyTorch, through both frontends."""

from contextlib import nullcontext

import coremltools as ct
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporters.coreml.pads import MODES, PadError, installed

SHAPES = {2: (4, 6), 3: (3, 4, 6), 4: (2, 3, 5, 6), 5: (2, 3, 4, 5, 6)}
SIGNS = {1: [(2, 3), (0, 1), (-1, 2), (3, -2), (-2, -1)], 2: [(1, 2, 3, 0), (-1, 2, 0, -2)], 3: [(1, 2, 0, 3, 2, 1)]}
SIGNS[3] += [(-1, 2, 3, -1, 2, 2), (0, 0, 0, 0, 1, 2)]


def pads_of_rank(rank, mode):
    """The amounts PyTorch accepts for a tensor of this rank: any axis for constant, the last ones for the others."""
    if mode == "constant":
        return [amounts for axes in range(1, min(rank, 3) + 1) for amounts in SIGNS[axes]] + [
            (0, 0) * (rank - 1) + (1, 2)
        ]
    return [amounts for axes in (rank - 2, rank - 1) for amounts in SIGNS.get(axes, [])]


def assert_no_refused_form(conversion):
    """What Core ML refuses when it loads a program, though the converter writes it."""
    for op in conversion.operations:
        if op.op_type != "pad":
            continue
        pairs = np.reshape(op.pad.val, (-1, 2))
        assert (pairs >= 0).all()
        assert op.mode.val in ("constant", "reflect", "replicate")
        assert op.x.dtype.__name__ in ("fp16", "fp32")
        if op.mode.val != "constant":
            assert not pairs[:-2].any()


def assert_matches(conversion, function, x):
    expected = function(x)
    results = conversion(x)
    assert len(results) == len(expected)
    for result, reference in zip(results, expected, strict=True):
        assert result.shape == tuple(reference.shape)
        np.testing.assert_array_equal(result, reference.numpy())


@pytest.mark.parametrize("rank", SHAPES)
def test_every_mode_and_rank_is_exact(convert, frontend, rank):
    cases = [(amounts, mode) for mode in MODES for amounts in pads_of_rank(rank, mode)]

    def function(x):
        return tuple(F.pad(x, amounts, mode, 1.5 if mode == "constant" else None) for amounts, mode in cases)

    x = torch.randn(SHAPES[rank])
    conversion = convert(function, x, frontend)
    assert [decision.mode for decision in conversion.decisions] == [mode for _, mode in cases]
    assert_no_refused_form(conversion)
    assert_matches(conversion, function, x)


def test_crops_come_after_the_borders_they_feed(convert, frontend):
    """PyTorch reflects from what it crops away: nothing is left to reflect from once it is gone."""

    def function(x):
        return tuple(F.pad(x, pad, mode) for mode in ("reflect", "replicate") for pad in ((-5, 4), (3, -5)))

    x = torch.randn(1, 2, 6)
    assert_matches(convert(function, x, frontend), function, x)


def test_large_integers_are_padded_exactly(convert, frontend):
    def function(x):
        return tuple(
            F.pad(x, pad, mode, -3 if mode == "constant" else None) for mode in MODES for pad in [(2, 1), (-1, 2)]
        )

    # Odd numbers past 2**24 have no float32 of their own.
    x = torch.arange(2 * 3 * 5, dtype=torch.int32).reshape(2, 3, 5) * 2 + 16_777_219
    conversion = convert(function, x, frontend)
    assert_no_refused_form(conversion)
    assert {decision.handler for decision in conversion.decisions} == {"concat", "concat + crop", "crop + concat"}
    assert_matches(conversion, function, x)


def test_an_integer_value_that_the_frontend_rounds_is_refused(convert, frontend):
    with pytest.raises(PadError, match="below 2\\*\\*24"):
        convert(lambda x: F.pad(x, (1, 1), value=16_777_217), torch.ones(2, 3, dtype=torch.int32), frontend)


def test_booleans_are_padded_exactly(convert, frontend):
    def function(x):
        mask = x > 0
        return tuple(F.pad(mask, (1, 2, 2, -1), value=value).to(torch.float32) for value in (True, False))

    x = torch.randn(2, 4, 5)
    conversion = convert(function, x, frontend)
    assert_no_refused_form(conversion)
    assert_matches(conversion, function, x)


def test_half_precision_tensors(convert, frontend):
    def function(x):
        half = x.to(torch.float16)
        return tuple(F.pad(half, (2, 1), mode=mode).to(torch.float32) for mode in MODES)

    x = torch.arange(-6.0, 6.0).reshape(1, 2, 6)
    conversion = convert(function, x, frontend)
    assert_no_refused_form(conversion)
    assert_matches(conversion, function, x)


def test_a_pad_of_nothing_stays_a_copy(convert, frontend):
    conversion = convert(lambda x: (F.pad(x, (0, 0)) + 1,), torch.randn(2, 3), frontend)
    assert [d.handler for d in conversion.decisions] == ["identity"]
    assert_matches(conversion, lambda x: (x + 1,), torch.randn(2, 3))


def test_three_dimensional_reflection_keeps_two_axes_native(convert, frontend):
    """Core ML refuses the third axis from the end; only that one is joined from slices."""
    conversion = convert(
        lambda x: (F.pad(x, (1, 1, 2, 2, 3, 3), mode="reflect"),), torch.randn(1, 2, 5, 6, 7), frontend
    )
    (pad,) = [op for op in conversion.operations if op.op_type == "pad"]
    assert pad.pad.val.tolist() == [0, 0, 0, 0, 0, 0, 2, 2, 1, 1]
    (concat,) = [op for op in conversion.operations if op.op_type == "concat"]
    assert int(concat.axis.val) == 2
    (decision,) = conversion.decisions
    assert decision.handler == "pad + concat"
    assert "last two axes only" in decision.why


def test_replication_beyond_the_axis_is_joined(convert, frontend):
    conversion = convert(lambda x: (F.pad(x, (9, 7), mode="replicate"),), torch.randn(1, 2, 4), frontend)
    assert [d.handler for d in conversion.decisions] == ["concat"]
    x = torch.randn(1, 2, 4)
    assert_matches(conversion, lambda x: (F.pad(x, (9, 7), mode="replicate"),), x)


@st.composite
def pads(draw):
    """A mode, a shape and several amounts that PyTorch accepts for them; one conversion serves them all."""
    mode = draw(st.sampled_from(MODES))
    axes = draw(st.integers(1, 3))
    shape = draw(st.lists(st.integers(1, 7), min_size=axes + 1, max_size=min(axes + 2, 5)))
    return mode, shape, draw(st.lists(amounts_of(mode, shape[-axes:]), min_size=1, max_size=10))


@st.composite
def amounts_of(draw, mode, sizes):
    amounts = []
    for size in reversed(sizes):
        top = {"reflect": size - 1, "circular": size}.get(mode, 6)
        before = draw(st.integers(1 - size, top))
        after = draw(st.integers(max(1 - size - before, 1 - size), top))
        if mode == "circular":
            left = size + min(before, 0) + min(after, 0)
            before, after = min(before, left), min(after, left)
        amounts += [before, after]
    return amounts


@settings(max_examples=12, deadline=None)
@given(pads())
@example(("circular", [1, 3], [[3, 1]]))
def test_any_pad_pytorch_accepts_is_exact(convert, pads):
    mode, shape, several = pads

    def function(x):
        return tuple(F.pad(x, amounts, mode=mode) + 1 for amounts in several)

    x = torch.arange(float(np.prod(shape))).reshape(shape)
    conversion = convert(function, x, "traced")
    assert_no_refused_form(conversion)
    assert_matches(conversion, function, x)


FLEXIBLE_PADS = [
    ("constant", (3, 2)),
    ("constant", (-3, 2)),
    ("reflect", (7, 5)),
    ("reflect", (4, -2)),
    ("replicate", (9, 3)),
    ("replicate", (-2, 9)),
    ("circular", (8, 1)),
    ("circular", (-3, 4)),
]


def test_flexible_axes_are_exact_at_every_size(convert, frontend):
    def function(x):
        return tuple(F.pad(x, amounts, mode=mode) for mode, amounts in FLEXIBLE_PADS)

    conversion = convert(function, torch.randn(1, 2, 11), frontend, flexible={2: (8, 40)})
    assert_no_refused_form(conversion)
    handlers = {(d.mode, d.amounts[-1]): d.handler for d in conversion.decisions}
    assert handlers["reflect", (7, 5)] == "pad"
    assert handlers["replicate", (9, 3)] == "concat"  # 9 is more than the 8 that may be there
    for size in (8, 9, 23, 40):
        assert_matches(conversion, function, torch.randn(1, 2, size))


def test_enumerated_sizes_are_judged_by_the_smallest():
    module = torch.nn.ReflectionPad1d(7)
    source = torch.jit.trace(module, torch.randn(1, 2, 30))
    for sizes, allowed in (((30, 8, 12), True), ((30, 7, 12), False)):
        shapes = ct.EnumeratedShapes([(1, 2, size) for size in sizes])
        with installed() as decisions, nullcontext() if allowed else pytest.raises(PadError, match="as small as 7"):
            ct.convert(source, inputs=[ct.TensorType(name="x", shape=shapes)], skip_model_load=True)
        assert [decision.handler for decision in decisions] == ["pad"] * allowed


@pytest.mark.parametrize("mode", ["reflect", "circular"])
def test_a_lower_bound_that_is_too_small_is_refused(convert, mode):
    """Traced at a size where it works, the pad breaks at the smallest size that the model claims to take."""
    with pytest.raises(PadError, match=r"can be as small as 4.*raise the lower bound"):
        convert(lambda x: F.pad(x, (6, 6), mode=mode), torch.randn(1, 2, 11), "traced", flexible={2: (4, 40)})


def test_a_crop_that_may_leave_nothing_is_refused(convert):
    with pytest.raises(PadError, match="would leave nothing"):
        convert(lambda x: F.pad(x, (-2, -2)), torch.randn(1, 2, 11), "traced", flexible={2: (4, 40)})


def test_a_size_behind_a_convolution(convert, frontend):
    """MIL forgets the range of a flexible axis at a convolution; an exported program still knows it."""
    kernel = torch.ones(2, 2, 3)

    def function(x):
        y = F.conv1d(x, kernel)  # as short as 7
        return tuple(F.pad(y, (n, n), mode=mode) for n, mode in [(6, "reflect"), (7, "replicate"), (8, "replicate")])

    conversion = convert(function, torch.randn(1, 2, 20), frontend, flexible={2: (9, 40)})
    assert [decision.handler for decision in conversion.decisions] == {
        "traced": ["concat", "concat", "concat"],
        "exported": ["pad", "pad", "concat"],
    }[frontend]
    assert ("lower bound of the axis is unknown" in conversion.decisions[0].why) == (frontend == "traced")
    for size in (9, 31):
        x = torch.randint(-9, 9, (1, 2, size)).float()
        assert_matches(conversion, function, x)


def test_amounts_that_depend_on_the_input(convert, frontend):
    def function(x):
        return (F.pad(x, (0, 40 - x.shape[0])),)

    conversion = convert(function, torch.randn(11), frontend, flexible={0: (4, 39)})
    (decision,) = conversion.decisions
    assert decision.amounts is None
    assert_matches(conversion, function, torch.randn(23))


def test_amounts_that_depend_on_the_input_are_refused_beyond_one_dimension(convert, frontend):
    with pytest.raises(PadError, match=r"depend on the input.*rank 2"):
        convert(lambda x: F.pad(x, (0, 40 - x.shape[1])), torch.randn(1, 11), frontend, flexible={1: (4, 39)})


def test_complex_tensors_are_refused(convert):
    with pytest.raises(PadError, match="complex"):
        convert(lambda x: F.pad(torch.complex(x, x), (1, 1)).real, torch.randn(1, 4), "traced")


@pytest.mark.parametrize("operator", ["reflection_pad", "replication_pad"])
def test_operators_that_name_their_mode(convert, frontend, operator):
    def function(x):
        ops = (getattr(torch.ops.aten, f"{operator}{axes}d") for axes in (2, 3))
        return tuple(op(x, [1, 2] * axes) for axes, op in zip((2, 3), ops, strict=True))

    x = torch.randn(2, 4, 5, 6)
    conversion = convert(function, x, frontend)
    assert_no_refused_form(conversion)
    assert_matches(conversion, function, x)


def test_convolutions_with_a_padding_mode(convert, frontend):
    modes = ("reflect", "replicate", "circular")
    layers = torch.nn.Sequential(*(torch.nn.Conv1d(2, 2, 5, padding=2, padding_mode=mode) for mode in modes))
    x = torch.randn(1, 2, 9)
    conversion = convert(layers, x, frontend)
    assert [decision.mode for decision in conversion.decisions] == list(modes)
    np.testing.assert_allclose(conversion(x)[0], layers(x).detach().numpy(), atol=1e-6)
