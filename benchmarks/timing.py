"""Fair timing of a few callables against each other."""

import time
from collections.abc import Callable, Mapping
from statistics import median


def medians(contenders: Mapping[str, Callable[[], object]], rounds: int = 9) -> dict[str, float]:
    """Seconds a call, the median of `rounds` after one to warm up; taken in turns, so that drift hits all alike."""
    for call in contenders.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in times.items()}
