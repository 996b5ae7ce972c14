"""Weights as the kernels read them."""

import numpy as np

from exporters.c.program import PANEL


def panels(matrix: np.ndarray) -> np.ndarray:
    """(depth, columns) as (columns / 16, depth, 16), filled up with zeros."""
    depth, columns = matrix.shape
    filled = np.pad(matrix, ((0, 0), (0, -columns % PANEL)))
    return np.ascontiguousarray(filled.reshape(depth, -1, PANEL).transpose(1, 0, 2))


def convolution(weights: np.ndarray, groups: int) -> np.ndarray:
    """(outputs, channels of a group, height, width) as panels of each group; a row is (height, width, channels)."""
    matrices = weights.reshape(groups, -1, *weights.shape[1:]).transpose(0, 3, 4, 2, 1)
    return np.stack([panels(matrix.reshape(-1, matrix.shape[-1])) for matrix in matrices])


def depthwise(weights: np.ndarray) -> np.ndarray:
    """(channels, 1, height, width) as (height, width, channels)."""
    return weights[:, 0].transpose(1, 2, 0)


def bias(values: np.ndarray, groups: int = 1) -> np.ndarray:
    """A row for each group, filled up to whole panels."""
    rows = values.reshape(groups, -1)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % PANEL)))
