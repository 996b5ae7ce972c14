"""Computes `melspec` from sound with NumPy alone: python melspec.py WAVEFORM.npy MELSPEC.npy

Reads window.npy, mel.npy and front_end.json beside it. WAVEFORM.npy holds (samples,) or (batch, samples) float32 at
the sample rate in front_end.json, full scale 1; MELSPEC.npy gets (batch, n_mels, frames), as the model gives it. A
network that is fed `melspec` takes `melspec[:, None]`: (batch, 1, n_mels, time).
"""

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent


def melspec(waveform: np.ndarray, window: np.ndarray, mel: np.ndarray, numbers: dict) -> np.ndarray:
    n_fft, hop, least = numbers["n_fft"], numbers["hop_length"], numbers["least_samples"]
    if waveform.dtype != np.float32:
        raise ValueError(f"the samples are {waveform.dtype}, not float32 (int16 has to be divided by 32768)")
    if waveform.ndim not in (1, 2) or not len(waveform) or waveform.shape[-1] < least:
        raise ValueError(f"the shape is {waveform.shape}, not (samples,) or (batch, samples) of at least {least}")
    if not np.isfinite(waveform).all():
        raise ValueError("some samples are NaN or infinite")
    sound = np.atleast_2d(waveform)
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
    window, mel = np.load(HERE / "window.npy"), np.load(HERE / "mel.npy")
    try:
        if len(sys.argv) != 3:
            raise ValueError("needs two files: python melspec.py WAVEFORM.npy MELSPEC.npy")
        np.save(sys.argv[2], melspec(np.lib.format.open_memmap(sys.argv[1], mode="r"), window, mel, numbers))
    except Exception as error:  # NumPy raises many kinds for a file that is no array.
        sys.stderr.write(f"{': '.join(sys.argv[:2])}: {error}\n")
        sys.exit(2)
