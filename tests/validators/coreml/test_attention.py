"""scaled_dot_product_attention against PyTorch's."""

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb

LENGTH, SOURCE, WIDTH, VALUE = 4, 6, 8, 5
MASKS = {
    "none": lambda rng: None,
    "bool": lambda rng: rng.random((LENGTH, SOURCE)) > 0.4,
    "float": lambda rng: rng.standard_normal((2, 1, LENGTH, SOURCE)).astype(np.float32),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("batch", [(2,), (2, 3)])
def test_attention(execute, batch, mask):
    rng = np.random.default_rng(5)
    q, k, v = (
        rng.standard_normal((*batch, *shape)).astype(np.float32)
        for shape in ((LENGTH, WIDTH), (SOURCE, WIDTH), (SOURCE, VALUE))
    )
    m = MASKS[mask](rng)
    if m is not None and m.dtype == bool:
        m[:, 0] = True
    if m is not None and len(batch) == 1:
        m = m.reshape(-1, LENGTH, SOURCE)

    def build(q, k, v):
        return mb.scaled_dot_product_attention(query=q, key=k, value=v, **({} if m is None else {"attn_mask": m}))

    expected = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.from_numpy, (q, k, v)), attn_mask=None if m is None else torch.from_numpy(m)
    )
    np.testing.assert_allclose(execute(build, {"q": q, "k": k, "v": v}, opset="iOS18"), expected, atol=1e-6)


def test_a_fully_masked_row_is_nan(execute):
    x = np.ones((1, 2, 3), np.float32)
    mask = np.array([[True, True], [False, False]])
    result = execute(
        lambda x: mb.scaled_dot_product_attention(query=x, key=x, value=x, attn_mask=mask), {"x": x}, opset="iOS18"
    )
    np.testing.assert_array_equal(result[0, 0], 1)
    assert np.isnan(result[0, 1]).all()
