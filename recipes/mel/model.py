"""The front end as a PyTorch module, in two forms that give the same.

`Convolved` is what ships: convolutions and matrix products, which every format has, and of which
`exporters/lowering` makes a factorised transform. `Transformed` takes PyTorch's own FFT: faster in PyTorch, and free of
the TF32 that convolutions are given on GPUs.
"""

from math import log, log10

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipes.base import config, spectral
from recipes.base.streaming import LEVELS
from recipes.base.tensor import Stream
from recipes.mel import constants
from recipes.mel.spec import Numbers, Variant


def front_end(preset: str = "mel_librosa", **numbers: object) -> nn.Module:
    """The log-mel front end of a preset (`convert list` names them), with other `numbers` where they are given.

    The module takes (batch, samples) float32 at `sample_rate`, full scale 1, and gives (batch, n_mels, frames). It has
    no parameters: window and mel bank are buffers, made here once, and go with it to any device. Nothing in it waits
    for the device, or depends on a number that lies there, so that `torch.compile` takes it whole. Raises UserError
    for numbers that cannot be.

        import torch
        from recipes.mel.model import front_end

        device = "cuda" if torch.cuda.is_available() else "cpu"
        melspec = front_end("mel_avatar", sample_rate=16000).to(device)
        sound = torch.randn(4, 16000, device=device)
        frames = melspec(sound)                              # (4, 80, 81)
        fast = torch.compile(melspec)
        assert torch.allclose(fast(sound), frames, rtol=1e-4, atol=1e-4)
        decibels = front_end("mel_librosa", log="db", amin=1e-10, ref="max", top_db=80)
        assert decibels(sound.cpu()).max() == 0
    """
    variant = config.with_numbers(config.find(preset), config.called(numbers))
    assert isinstance(variant, Variant)
    return Transformed(variant).eval()


class Model(nn.Module):
    """(batch, samples) to `melspec`, as every recipe's model gives its outputs.

    Of sound that comes in parts, `stream` says what is done to it before.
    """

    def __init__(self, variant: Variant, stream: Stream | None = None) -> None:
        super().__init__()
        self.front_end = Convolved(variant)
        if stream:
            self.front_end.levelled, self.front_end.led = False, stream.led

    def forward(self, waveform: Tensor) -> dict[str, Tensor]:
        return {"melspec": self.front_end(waveform)}


class LogMel(nn.Module):
    """(batch, samples) -> (batch, n_mels, frames); how the spectrum is computed is left open."""

    mel: Tensor

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.numbers = variant.front_end
        self.levelled, self.led = variant.front_end.remove_dc, False
        bank = constants.bank(variant)
        # Bins above fmax and below fmin weigh nothing: they need not be computed.
        self.bins = constants.used_bins(bank)
        self.constant("mel", bank[:, self.bins.start : self.bins.stop])

    def constant(self, name: str, value: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value, np.float32)), persistent=False)

    def squares(self, x: Tensor) -> Tensor:
        """(batch, 1, samples) as frames read them, to the power in each used bin, (batch, bins, frames)."""
        raise NotImplementedError

    def forward(self, waveform: Tensor) -> Tensor:
        numbers = self.numbers
        x = _padded(_emphasised(waveform, numbers)[:, None], numbers)
        if self.levelled:
            # Each frame loses its mean whatever is taken off the whole, and what is gone before rounds nothing. It is
            # the first window's mean, which is known while the sound still goes on, and in steps, so that all who
            # compute it get the same number.
            steps = torch.round(x[:, :, : numbers.taps].mean(dim=2, keepdim=True) * LEVELS)
            x = x - steps / LEVELS
        power = self.squares(x)
        bands = self.mel @ (torch.sqrt(power) if numbers.power == 1 else power)
        if numbers.drop_last_frame:
            bands = bands[:, :, :-1]
        return _logarithm(bands, numbers)


class Convolved(LogMel):
    """The windowed DFT as one convolution."""

    dft: Tensor
    frame_kernels: Tensor
    frame_weights: Tensor

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant)
        numbers = self.numbers
        self.constant("dft", spectral.dft_kernels(constants.window(numbers), numbers.n_fft, self.bins))
        terms = constants.frame_terms(numbers, self.bins)
        self.corrected = terms is not None
        if terms is not None:
            self.constant("frame_kernels", terms[0])
            self.constant("frame_weights", terms[1])

    def squares(self, x: Tensor) -> Tensor:
        numbers = self.numbers
        whole = F.pad(x, (1, 0), mode="replicate") if self.corrected or of_frame(numbers) else x
        if self.led:
            whole, x = x, x[:, :, 1:]
        if of_frame(numbers):
            x = whole[:, :, 1:] - numbers.pre_emphasis * whole[:, :, :-1]
        spectrum = F.conv1d(x, self.dft, stride=numbers.hop_length)
        if self.corrected:
            spectrum = spectrum + self.frame_weights @ F.conv1d(whole, self.frame_kernels, stride=numbers.hop_length)
        squares = spectrum * spectrum
        bins = len(self.bins)
        return squares[:, :bins] + squares[:, bins:]


class Transformed(LogMel):
    """Frame by frame, as the libraries write it."""

    window: Tensor

    def __init__(self, variant: Variant) -> None:
        super().__init__(variant)
        self.constant("window", constants.window(self.numbers))

    def squares(self, x: Tensor) -> Tensor:
        numbers = self.numbers
        frames = x[:, 0].unfold(1, numbers.taps, numbers.hop_length)
        if numbers.remove_dc:
            frames = frames - frames.mean(dim=2, keepdim=True)
        if of_frame(numbers):
            before = torch.cat([frames[:, :, :1], frames[:, :, :-1]], dim=2)
            frames = frames - numbers.pre_emphasis * before
        spectrum = torch.fft.rfft(frames * self.window, numbers.n_fft)[:, :, self.bins.start : self.bins.stop]
        parts = torch.view_as_real(spectrum)
        return (parts * parts).sum(dim=3).transpose(1, 2)


def of_frame(numbers: Numbers) -> bool:
    """Whether each frame is emphasised by itself."""
    return numbers.pre_emphasis > 0 and numbers.pre_emphasis_start == "frame"


def _emphasised(x: Tensor, numbers: Numbers) -> Tensor:
    """(batch, samples) emphasised as a whole, where that is asked for."""
    if not numbers.pre_emphasis or of_frame(numbers):
        return x
    if numbers.pre_emphasis_start == "zero":
        x = F.pad(x, (1, 0))
    return x[:, 1:] - numbers.pre_emphasis * x[:, :-1]


def _padded(x: Tensor, numbers: Numbers) -> Tensor:
    """(batch, 1, samples) from the first to the last that a frame reads."""
    if numbers.centre != "none":
        return F.pad(x, numbers.beyond, mode=numbers.centre)
    if numbers.skipped or numbers.unread:
        return x[:, :, numbers.skipped : -numbers.unread if numbers.unread else None]
    return x


def _logarithm(bands: Tensor, numbers: Numbers) -> Tensor:
    """(batch, n_mels, frames) in the units of the output."""
    x = torch.clamp(bands, min=numbers.amin) if numbers.amin else bands
    x = x + numbers.added if numbers.added else x
    # One unit of log10 in decibels: what doubles is the power, and a magnitude is its root.
    decibels = 20 / numbers.power
    less, top = numbers.mean, numbers.top_db
    if numbers.log == "ln":
        x, top = torch.log(x), top and top / decibels * log(10)
    elif numbers.log == "log10":
        x, top = torch.log10(x), top and top / decibels
    elif numbers.log == "db":
        x = decibels * torch.log10(x)
        less += 0 if numbers.ref == "max" else decibels * log10(max(numbers.amin, numbers.ref))
    if top or numbers.ref == "max":
        greatest = x.amax(dim=(1, 2), keepdim=True)
        x = torch.maximum(x, greatest - top) if top else x
        x = x - greatest if numbers.ref == "max" else x
    x = x - less if less else x
    return x / numbers.scale if numbers.scale != 1 else x
