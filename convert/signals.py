"""Signals that end a command: each raises, so that whatever is half-written is removed on the way out."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

# Of a terminal's Ctrl-C, of whoever stops a job or a container, and of a terminal that is closed.
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """A signal came that ends the command; `number` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def raised() -> Iterator[list[int]]:
    """Within it, such signals raise Interrupted; yields the list of those that came, for what swallows exceptions.

    What is ignored stays so: `nohup` asks for that.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        raise Interrupted(number)

    before = {number: signal.getsignal(number) for number in _ENDING}
    kept = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
    for number in kept:
        signal.signal(number, note)
    try:
        yield came
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


@contextmanager
def held() -> Iterator[None]:
    """Within it, such signals wait; the first that came is raised at its end.

    For what must not stop halfway. By handlers and not by a mask, which is a thread's own: any other would take them.
    """
    if threading.current_thread() is not threading.main_thread():
        # Python runs no handlers there.
        yield
        return
    came: list[int] = []
    try:
        # It goes on with the others where a signal comes between one and the next.
        with ExitStack() as restored:
            for number in _ENDING:
                if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None):
                    restored.callback(signal.signal, number, handler)
                    signal.signal(number, lambda number, _: came.append(number))
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


def told(error: KeyboardInterrupt) -> tuple[int, str]:
    """The exit code that shells give a command that such a signal ended, and what ended it in words."""
    number = getattr(error, "number", signal.SIGINT)
    return 128 + number, "interrupted" if number == signal.SIGINT else f"ended by {signal.Signals(number).name}"
