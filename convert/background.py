"""Proofs and checks that go on while the next file is made: they wait for a worker, and making waits for nothing."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Protocol, TypeVar

_T = TypeVar("_T")


class Submit(Protocol):
    """Takes what is to be done, and gives what waits for its result, and raises what it raised."""

    def __call__(self, work: Callable[[], _T]) -> Callable[[], _T]: ...


@contextmanager
def in_background(threads: int = 1) -> Iterator[Submit]:
    """What is submitted runs in so many threads, in the order in which it came, with the limits that hold here.

    A block that ends in an exception waits for none of it.
    """
    pool = ThreadPoolExecutor(threads, "checks")

    def submit(work: Callable[[], _T]) -> Callable[[], _T]:
        return pool.submit(copy_context().run, work).result

    try:
        yield submit
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()
