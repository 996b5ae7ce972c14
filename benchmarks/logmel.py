"""PANN's and EfficientAT's log-mel front ends in other libraries: the same frames, padding, window and bands.

What does not depend on the sound, window and mel matrix, is made before, though librosa makes it anew at every call of
`feature.melspectrogram`.
"""

from dataclasses import dataclass
from math import log

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from recipes.base.spec import Variant
from recipes.efficientat import frontend as efficientat
from recipes.efficientat.spec import Variant as EfficientAt
from recipes.pann import frontend as pann
from recipes.pann.spec import Variant as Pann

Array = NDArray[np.float32]

STFT_AND_MEL = "torch.stft + mel"


@dataclass(frozen=True)
class LogMel:
    """(batch, samples) -> `melspec` in the axes of the network: `frames_first` or bands first.

    `mel` is (bands, bins), `window` at most `n_fft` long; with bands of power p the result is
    (ln(max(p, least) + floor) + offset) * scale.
    """

    n_fft: int
    hop_length: int
    window: Array
    mel: Array
    pre_emphasis: float
    least: float
    floor: float
    offset: float
    scale: float
    frames_first: bool

    def by_librosa(self, sound: Array) -> Array:
        import librosa

        if self.pre_emphasis:
            sound = sound[:, 1:] - np.float32(self.pre_emphasis) * sound[:, :-1]
        spectrum = librosa.stft(
            sound,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            win_length=len(self.window),
            window=self.window,
            center=True,
            pad_mode="reflect",
        )
        bands = self.mel @ (spectrum.real**2 + spectrum.imag**2)
        result = (np.log(np.maximum(bands, np.float32(self.least)) + np.float32(self.floor)) + self.offset) * self.scale
        return (result.swapaxes(1, 2) if self.frames_first else result).astype(np.float32)


class ByTorch(nn.Module):
    """The same by `torch.stft`."""

    window: Tensor
    mel: Tensor

    def __init__(self, numbers: LogMel) -> None:
        super().__init__()
        self.numbers = numbers
        self.register_buffer("window", torch.from_numpy(numbers.window))
        self.register_buffer("mel", torch.from_numpy(numbers.mel))

    def forward(self, sound: Tensor) -> Tensor:
        numbers = self.numbers
        if numbers.pre_emphasis:
            sound = sound[:, 1:] - numbers.pre_emphasis * sound[:, :-1]
        size, hop, length = numbers.n_fft, numbers.hop_length, self.window.shape[0]
        spectrum = torch.stft(
            sound, size, hop, length, self.window, center=True, pad_mode="reflect", return_complex=True
        )
        parts = torch.view_as_real(spectrum)
        bands = torch.clamp(self.mel @ (parts * parts).sum(dim=-1), min=numbers.least)
        result = (torch.log(bands + numbers.floor) + numbers.offset) * numbers.scale
        return result.transpose(1, 2) if numbers.frames_first else result


def of(variant: Variant) -> LogMel | None:
    """The front end of a variant of these two families."""
    # Its dataclass is a kind of the other.
    if isinstance(variant, EfficientAt):
        own = variant.front_end
        return LogMel(
            n_fft=own.n_fft,
            hop_length=own.hop_length,
            window=efficientat.window(own),
            mel=efficientat.mel_matrix(own, variant.sample_rate),
            pre_emphasis=own.pre_emphasis,
            least=0,
            floor=own.power_floor,
            offset=own.offset,
            scale=1 / own.divisor,
            frames_first=False,
        )
    if isinstance(variant, Pann):
        numbers = variant.front_end
        phase = 2 * np.pi * np.arange(numbers.n_fft) / numbers.n_fft
        return LogMel(
            n_fft=numbers.n_fft,
            hop_length=numbers.hop_length,
            window=(0.5 - 0.5 * np.cos(phase)).astype(np.float32),
            mel=np.ascontiguousarray(pann.mel_matrix(numbers, variant.sample_rate).T),
            pre_emphasis=0,
            least=numbers.power_floor,
            floor=0,
            offset=0,
            scale=10 / log(10),
            frames_first=True,
        )
    return None
