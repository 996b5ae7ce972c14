"""Writes `whisper.npz`: what openai-whisper's own log_mel_spectrogram answers.

Needs `pip install --no-deps openai-whisper`; of it only `whisper.audio` is imported, which needs PyTorch alone.
Installed whole it would bring a compiler for GPUs, which is why its answers are kept here.
"""

import sys
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np

from recipes.base.sound import noise, rich, square

RATE = 16000
SOUNDS = {
    "rich": rich(20480, RATE, seed=11),
    "odd": rich(12345, RATE, seed=12) * np.float32(0.05),
    "square": square(8000, RATE),
    "noise": noise(8000, 0.3, seed=13),
    "silence": np.zeros(4000, np.float32),
}


def main() -> None:
    # The package's own __init__ imports its networks and their tokenizer.
    package = ModuleType("whisper")
    package.__path__ = list(find_spec("whisper").submodule_search_locations)
    sys.modules["whisper"] = package
    from whisper.audio import log_mel_spectrogram

    arrays = {}
    for name, sound in SOUNDS.items():
        sampled = np.clip(np.round(sound * 32768), -32768, 32767).astype(np.int16)
        arrays[f"{name}/waveform_int16"] = sampled[None]
        for bands in (80, 128):
            fed = sampled.astype(np.float32) / 32768
            arrays[f"{name}/melspec{bands}"] = log_mel_spectrogram(fed, bands).numpy()[None]
    np.savez_compressed(Path(__file__).with_name("whisper.npz"), **arrays)
    sys.stdout.write(f"openai-whisper {version('openai-whisper')}\n")


if __name__ == "__main__":
    main()
