"""Random ops: shape, type, distribution and seeds. Five standard deviations of the mean bound every estimate."""

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from scipy import stats

COUNT = 20_000
ANY = {"x": np.zeros(1, np.float32)}


def draw(execute, op, dtype=np.float32, **arguments):
    typed = {name: dtype(value) if isinstance(value, float) else value for name, value in arguments.items()}

    def build(x):
        shape = mb.cast(x=mb.mul(x=mb.add(x=x, y=1.0), y=float(COUNT)), dtype="int32")
        return getattr(mb, op)(shape=shape, **typed)

    return execute(build, ANY)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_normal(execute, dtype):
    drawn = draw(execute, "random_normal", dtype, mean=1.0, stddev=2.0, seed=3)
    assert (drawn.shape, drawn.dtype) == ((COUNT,), dtype)
    assert stats.kstest(drawn.astype(np.float64), stats.norm(1, 2).cdf).pvalue > 1e-3


def test_uniform(execute):
    drawn = draw(execute, "random_uniform", low=-2.0, high=5.0, seed=3)
    assert drawn.min() >= -2
    assert drawn.max() < 5
    assert stats.kstest(drawn, stats.uniform(-2, 7).cdf).pvalue > 1e-3


def test_bernoulli(execute):
    drawn = draw(execute, "random_bernoulli", prob=0.3, seed=3)
    assert set(np.unique(drawn)) == {0, 1}
    assert abs(drawn.mean() - 0.3) < 5 * (0.3 * 0.7 / COUNT) ** 0.5


@pytest.mark.parametrize("mode", ["logits", "probs"])
def test_categorical(execute, mode):
    chances = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]], np.float32)
    with np.errstate(divide="ignore"):
        x = np.log(chances) if mode == "logits" else chances
    drawn = execute(lambda x: mb.random_categorical(x=x, mode=mode, size=COUNT, seed=3), {"x": x})
    assert (drawn.shape, drawn.dtype) == ((2, COUNT), np.float32)
    for row, expected in zip(drawn, chances, strict=True):
        counts = np.bincount(row.astype(int), minlength=3) / COUNT
        assert np.abs(counts - expected).max() < 5 * 0.5 / COUNT**0.5


def test_a_seed_repeats_itself_and_no_seed_does_not(execute):
    seeded, again = (draw(execute, "random_normal", seed=11) for _ in range(2))
    fresh, other = (draw(execute, "random_normal") for _ in range(2))
    np.testing.assert_array_equal(seeded, again)
    assert not np.array_equal(fresh, other)
