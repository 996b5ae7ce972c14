"""Checks that go on while the next file is made: they wait for a worker's answers, and making waits for nothing."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context

from validators.results import Check

Checking = Callable[[], list[Check]]
"""Waits for the checks, and raises what they raised."""

Submit = Callable[[Checking], Checking]


@contextmanager
def in_background() -> Iterator[Submit]:
    """What is submitted runs in a thread, one after the other, with the limits that hold here.

    A block that ends in an exception waits for none of it.
    """
    pool = ThreadPoolExecutor(1, "checks")

    def submit(check: Checking) -> Checking:
        return pool.submit(copy_context().run, check).result

    try:
        yield submit
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
