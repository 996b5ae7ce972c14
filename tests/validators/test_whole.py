"""Frames of chunks against those of the whole: rounding beside a loud band passes, and nothing that was forgotten."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from recipes.base import config
from recipes.base.tensor import Stream
from recipes.mel.chunks import fed_chunks
from recipes.mel.spec import Variant
from validators.runners.runner import Arrays, Runner
from validators.values import Case
from validators.whole import check_whole

_FED = np.ones((1, 800), np.float32)


def _runner(melspec: np.ndarray) -> Runner:
    def run(inputs: Mapping[str, np.ndarray]) -> Arrays:
        return {"melspec": melspec.astype(np.float32)}

    return Runner("any", (), (), {}, run)


def _power() -> np.ndarray:
    """(1, 128, 9): in each frame from the loudest to 120 dB below, and the last ones silent."""
    bands = np.geomspace(1e3, 1e-9, 128)[None, :, None] * np.geomspace(1, 1e-6, 9)
    bands[:, :, -2:] = 0
    return bands


def _failed(log: str, change: Callable[[np.ndarray], np.ndarray]) -> bool:
    variant = config.with_numbers(config.find("mel_librosa"), config.called({"log": log, **_FLOOR[log]}))
    assert isinstance(variant, Variant)
    stream = fed_chunks(variant, 2).input.stream
    assert isinstance(stream, Stream)

    def given(power: np.ndarray) -> np.ndarray:
        return power if log == "none" else stream.unit * np.log(np.maximum(power, 1e-10))

    cases = [Case("rich", {"waveform": _FED}, {})]
    whole, chunks = _runner(given(_power())), _runner(given(change(_power())))
    checks = check_whole(chunks, whole, cases, stream, variant.outputs, artifact="streaming.onnx")
    assert {check.case for check in checks} == {"rich, of the whole"}
    return any(check.status == "failed" for check in checks)


_FLOOR: dict[str, dict[str, Any]] = {"none": {}, **{log: {"amin": 1e-10} for log in ("ln", "log10", "db")}}


def _rounded(power: np.ndarray) -> np.ndarray:
    return power + 5e-7 * power.max(axis=1, keepdims=True) * np.where(np.arange(128) % 2, 1, -1)[:, None] * (power > 0)


def _one_off(power: np.ndarray, place: tuple[int, int], by: float) -> np.ndarray:
    power[0, place[0], place[1]] *= by
    return power


@pytest.mark.parametrize("log", _FLOOR)
def test_what_rounds_beside_a_loud_band_passes(log: str) -> None:
    assert not _failed(log, lambda power: power)
    # Without a log the loudest of the sound is what rounds.
    assert not _failed(log, _rounded)


@pytest.mark.parametrize("log", _FLOOR)
@pytest.mark.parametrize(
    "change",
    [
        lambda power: np.roll(power, 1, axis=2),
        lambda power: power[:, :, :-1],
        lambda power: power * np.nan,
        lambda power: _one_off(power, (0, 0), 1 + 1e-5),
        lambda power: _one_off(power, (3, 0), 0),
        lambda power: power + (np.arange(9) == 8) * 1e3,
    ],
    ids=["late", "one less", "no number", "a little", "a hole", "noise after the end"],
)
def test_what_is_not_the_whole_s_fails(log: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    assert _failed(log, change)


def test_a_silent_frame_is_held_too() -> None:
    """Where all is at the floor, the floor is the greatest."""
    assert _failed("db", lambda power: power + 1e-9 * (np.arange(9) == 8))


def test_a_sound_of_one_frame_is_left_out() -> None:
    stream = replace(fed_chunks(config.find("mel_librosa"), 1).input.stream, unit=None)  # type: ignore[arg-type,type-var]
    one = _runner(np.ones((1, 128, 1)))
    outputs = config.find("mel_librosa").outputs
    assert check_whole(one, one, [Case("short", {"waveform": _FED}, {})], stream, outputs, artifact="x") == []
