"""How many of the hostile files a test takes."""

from collections.abc import Iterable
from typing import Any

import pytest


def some(names: Iterable[str], each: int) -> list[Any]:
    """The first of every so many always, and the others in `make test-all`, for tests that take a while with each."""
    return [pytest.param(name, marks=pytest.mark.slow if index % each else ()) for index, name in enumerate(names)]
