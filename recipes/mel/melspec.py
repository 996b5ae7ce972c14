"""Computes `melspec` from sound with NumPy alone: python melspec.py WAVEFORM.npy MELSPEC.npy

Reads window.npy, mel.npy and front_end.json beside it. WAVEFORM.npy holds (samples,) or (batch, samples) float32 at
the sample rate in front_end.json, full scale 1; MELSPEC.npy gets (batch, n_mels, frames), as the model gives it.
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
    sound = np.atleast_2d(waveform).astype(np.float64)
    weight, start = numbers["pre_emphasis"], numbers["pre_emphasis_start"]
    if weight and start != "frame":
        before = np.pad(sound, ((0, 0), (1, 0)))
        sound = (before[:, 1:] - weight * before[:, :-1])[:, int(start == "dropped") :]
    if numbers["centre"] != "none":
        reach, kind = [(0, 0), (n_fft // 2, n_fft // 2)], numbers["centre"]
        sound = np.pad(sound, reach, mode="edge" if kind == "replicate" else kind)
    size = len(window) if numbers["frame"] == "window" else n_fft
    frames = np.lib.stride_tricks.sliding_window_view(sound, size, axis=1)[:, ::hop]
    margin = (size - len(window)) // 2
    frames = frames[:, :, margin : margin + len(window)]
    if numbers["remove_dc"]:
        frames = frames - frames.mean(axis=2, keepdims=True)
    if weight and start == "frame":
        frames = frames - weight * np.concatenate([frames[:, :, :1], frames[:, :, :-1]], axis=2)
    magnitude = np.abs(np.fft.rfft(frames * window, n_fft)) ** numbers["power"]
    bands = mel.astype(np.float64) @ magnitude.transpose(0, 2, 1)
    if numbers["drop_last_frame"]:
        bands = bands[:, :, :-1]
    return logarithm(bands, numbers).astype(np.float32)


def logarithm(bands: np.ndarray, numbers: dict) -> np.ndarray:
    x, decibels, log = np.maximum(bands, numbers["amin"]) + numbers["added"], 20 / numbers["power"], numbers["log"]
    unit = {"none": 1, "ln": np.log(10) / decibels, "log10": 1 / decibels, "db": 1}[log]
    x = x if log == "none" else unit * decibels * np.log10(x)
    greatest = x.max(axis=(1, 2), keepdims=True)
    if numbers["top_db"]:
        x = np.maximum(x, greatest - numbers["top_db"] * unit)
    if numbers["ref"] == "max":
        x = x - greatest
    elif log == "db":
        x = x - decibels * np.log10(max(numbers["ref"], numbers["amin"]))
    return (x - numbers["mean"]) / numbers["scale"]


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
