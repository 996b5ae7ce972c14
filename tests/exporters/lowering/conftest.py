"""Each rewrite is tried in both precisions."""

from collections.abc import Iterator

import pytest
import torch

from recipes.base.threads import one_thread


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Small products gain nothing from threads, and lose much where cores are shared."""
    with one_thread():
        yield


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def kind(request: pytest.FixtureRequest) -> torch.dtype:
    torch.manual_seed(0)
    kind: torch.dtype = request.param
    return kind
