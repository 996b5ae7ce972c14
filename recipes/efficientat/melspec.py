"""Computes `melspec` from sound with NumPy alone: python melspec.py WAVEFORM.npy MELSPEC.npy

Reads window.npy, mel.npy and front_end.json beside it. WAVEFORM.npy holds (samples,) or (batch, samples) float32 at
the sample rate in front_end.json, full scale 1; MELSPEC.npy gets (batch, n_mels, frames).
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


def melspec(waveform: np.ndarray, window: np.ndarray, mel: np.ndarray, numbers: dict[str, float]) -> np.ndarray:
    n_fft, hop = int(numbers["n_fft"]), int(numbers["hop_length"])
    sound = np.atleast_2d(waveform).astype(np.float32)
    sound = sound[:, 1:] - numbers["pre_emphasis"] * sound[:, :-1]
    sound = np.pad(sound.astype(np.float64), ((0, 0), (n_fft // 2, n_fft // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(sound, n_fft, axis=1)[:, ::hop]
    margin = (n_fft - len(window)) // 2
    frames = frames * np.pad(window, (margin, n_fft - len(window) - margin))
    power = np.abs(np.fft.rfft(frames)) ** 2
    bands = mel.astype(np.float64) @ power.transpose(0, 2, 1)
    return ((np.log(bands + numbers["power_floor"]) + numbers["offset"]) / numbers["divisor"]).astype(np.float32)


if __name__ == "__main__":
    numbers = json.loads((HERE / "front_end.json").read_text(encoding="utf-8"))
    result = melspec(np.load(sys.argv[1]), np.load(HERE / "window.npy"), np.load(HERE / "mel.npy"), numbers)
    np.save(sys.argv[2], result)
