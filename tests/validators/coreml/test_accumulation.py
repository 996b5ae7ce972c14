"""The bound on float16 summation, against sums really done in float16, in several orders."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

from validators.coreml import CoreMLModel, accumulation_bounds

RNG = np.random.default_rng(2)


def half(*shape, scale=1.0):
    return (RNG.standard_normal(shape) * scale).astype(np.float16)


def summed(terms, order):
    """float16 sums of the last axis of `terms` (float16 products), one after the other in `order`."""
    total = np.zeros(terms.shape[:-1], np.float16)
    for index in order:
        total = (total + terms[..., index]).astype(np.float16)
    return total


@pytest.mark.parametrize("width", [1, 16, 700, 5000])
def test_no_order_of_summation_exceeds_the_bound(make_model, width):
    x, weight, bias = half(4, width), half(3, width), half(3)
    model = CoreMLModel(make_model(lambda x: mb.linear(x=x, weight=weight, bias=bias), {"x": x}))
    (value,) = model.predict({"x": x}).values()
    (bound,) = accumulation_bounds(model, {"x": x})
    assert (bound.op, bound.terms) == ("linear", width + 1)

    products = (x[:, None, :] * weight[None]).astype(np.float16)
    terms = np.concatenate([products, np.broadcast_to(bias[:, None], (4, 3, 1))], axis=-1)
    orders = [np.arange(width + 1), np.arange(width + 1)[::-1], RNG.permutation(width + 1)]
    distance = np.max([np.abs(summed(terms, order).astype(float) - value) for order in orders], axis=0)
    assert (distance <= bound.error).all()
    assert bound.error.max() < (width + 3) * 2.0**-10 * np.abs(terms.astype(float)).sum(-1).max()


def test_terms_are_counted_at_the_edges_of_a_convolution(make_model):
    x, weight = half(1, 2, 8), half(4, 2, 3)

    def build(x):
        return mb.conv(x=x, weight=weight, pad_type="custom", pad=[1, 1], strides=[1], dilations=[1], groups=1)

    model = CoreMLModel(make_model(build, {"x": x}))
    (bound,) = accumulation_bounds(model, {"x": x})
    assert bound.terms == 6
    magnitude = np.abs(x).astype(float).sum()
    assert (bound.error[..., 0] < magnitude * np.abs(weight).max() * 2.0**-8).all()


def test_a_partial_sum_that_could_overflow_is_unbounded(make_model):
    x = np.full((1, 4), 200, np.float16)
    weight = np.array([[200, 200, -200, -200], [1, 1, -1, -1]], np.float16)
    model = CoreMLModel(make_model(lambda x: mb.linear(x=x, weight=weight), {"x": x}))
    (bound,) = accumulation_bounds(model, {"x": x})
    assert np.isinf(bound.error[0, 0])
    assert np.isfinite(bound.error[0, 1])


def test_float32_ops_have_no_bound(make_model):
    x = half(2, 3).astype(np.float32)
    model = CoreMLModel(make_model(lambda x: mb.matmul(x=x, y=x, transpose_y=True), {"x": x}))
    assert accumulation_bounds(model, {"x": x}) == []
