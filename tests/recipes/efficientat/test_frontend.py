"""The front end, in the model's graph and as data for hosts."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import numpy as np
import pytest
import torch
from scipy.signal.windows import hann

from recipes.efficientat.frontend import HostFrontEnd, dft_kernels, host_front_end, mel_matrix, window
from recipes.efficientat.network import FrontEnd
from recipes.efficientat.spec import Variant

REAL_SOUND = ("speech_10s", "music_10s", "typing_10s", "metro_5s", "silence_1s", "batch2_odd")


@pytest.fixture(scope="module")
def front_end(variant: Callable[..., Variant]) -> FrontEnd:
    mn04 = variant("mn04_as")
    return FrontEnd(mn04.front_end, mn04.sample_rate)


@pytest.mark.parametrize("case", REAL_SOUND)
def test_melspec_is_the_authors(front_end: FrontEnd, golden: Callable, case: str) -> None:
    expected = golden("mn04_as")[case]
    melspec = front_end(torch.from_numpy(expected["waveform"])).numpy()
    np.testing.assert_allclose(melspec, expected["melspec"], atol=1e-5, rtol=0)


def test_melspec_of_a_full_scale_square_is_the_authors(front_end: FrontEnd, golden: Callable) -> None:
    """Its peaks are 1e5 times what lies between them, where the rounding of anyone's float32 transform shows."""
    expected = golden("mn04_as")["full_scale_square_1s"]
    melspec = front_end(torch.from_numpy(expected["waveform"])).numpy()
    np.testing.assert_allclose(melspec, expected["melspec"], atol=1e-4, rtol=0)


def test_silence_is_the_floor(front_end: FrontEnd) -> None:
    melspec = front_end(torch.zeros(1, 2000))
    np.testing.assert_allclose(melspec, (np.log(1e-5) + 4.5) / 5, rtol=1e-6)


@pytest.mark.parametrize("hop", [160, 320, 480, 640, 800])
def test_frames(variant: Callable[..., Variant], published: dict, hop: int) -> None:
    name = next(name for name, row in published.items() if row.hop_length == hop)
    front_end = FrontEnd(variant(name).front_end, 32000)
    for samples in (514, 1600, 1601, 1602, 32000, 41237):
        assert front_end(torch.zeros(1, samples)).shape == (1, 128, 1 + (samples - 1) // hop)


def test_window_is_a_symmetric_hann(variant: Callable[..., Variant]) -> None:
    ours = window(variant("mn04_as").front_end)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, hann(800, sym=True), atol=2e-7)
    np.testing.assert_allclose(ours, torch.hann_window(800, periodic=False), atol=1.2e-7)


def test_kernels_are_the_windowed_dft(variant: Callable[..., Variant]) -> None:
    numbers = variant("mn04_as").front_end
    frame = np.random.RandomState(0).uniform(-1, 1, 800)
    spectrum = np.fft.rfft(frame * hann(800, sym=True), 1024)
    real, imaginary = np.split(dft_kernels(numbers, range(3, 200))[:, 0] @ frame, 2)
    np.testing.assert_allclose(real, spectrum.real[3:200], atol=1e-5)
    np.testing.assert_allclose(imaginary, spectrum.imag[3:200], atol=1e-5)


@pytest.mark.parametrize("name", ["mn04_as", "mn10_as_mels_40", "mn10_as_mels_64", "mn10_as_mels_256"])
def test_mel_matrix(variant: Callable[..., Variant], published: dict, name: str) -> None:
    """Triangles overlap by half, so that between the first and the last centre the weights of a bin add up to 1."""
    matrix = mel_matrix(variant(name).front_end, 32000)
    assert matrix.dtype == np.float32
    assert matrix.shape == (published[name].n_mels, 513)
    assert not matrix[:, 512].any()
    highest = 1127 * np.log1p(15000 / 700)
    mel = 1127 * np.log1p(np.arange(513) * 31.25 / 700)
    step = highest / (published[name].n_mels + 1)
    inside = (mel >= step) & (mel <= highest - step)
    np.testing.assert_allclose(matrix[:, inside].sum(axis=0), 1, atol=1e-4)
    centres = np.arange(1, published[name].n_mels + 1)[:, None] * step
    np.testing.assert_allclose(matrix[:, :512], np.maximum(0, 1 - np.abs(mel[:512] - centres) / step), atol=1e-4)


@pytest.fixture
def host(variant: Callable[..., Variant], tmp_path: Path) -> Path:
    """A folder as a host gets it."""
    write(host_front_end(variant("mn04_as")), tmp_path)
    return tmp_path


def write(data: HostFrontEnd, folder: Path) -> None:
    for name, array in data.arrays.items():
        np.save(folder / name, array)
    (folder / "front_end.json").write_text(json.dumps(data.numbers))
    (folder / "melspec.py").write_text(data.program)


def melspec_by_program(folder: Path, waveform: np.ndarray) -> np.ndarray:
    np.save(folder / "in.npy", waveform)
    run([sys.executable, "-I", folder / "melspec.py", folder / "in.npy", folder / "out.npy"], check=True)
    return np.load(folder / "out.npy")


def test_program_is_short_and_needs_numpy_alone(host: Path) -> None:
    text = (host / "melspec.py").read_text()
    assert len(text.splitlines()) <= 40
    imported = [line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert set(imported) == {"json", "sys", "pathlib", "numpy"}


@pytest.mark.parametrize("case", ["typing_10s", "metro_5s", "silence_1s", "batch2_odd"])
def test_program_gives_the_melspec(host: Path, golden: Callable, front_end: FrontEnd, case: str) -> None:
    expected = golden("mn04_as")[case]
    melspec = melspec_by_program(host, expected["waveform"])
    assert melspec.dtype == np.float32
    np.testing.assert_allclose(melspec, expected["melspec"], atol=1e-5, rtol=0)
    np.testing.assert_allclose(melspec, front_end(torch.from_numpy(expected["waveform"])), atol=1e-5, rtol=0)


def test_program_takes_one_clip_without_a_batch(host: Path, golden: Callable) -> None:
    expected = golden("mn04_as")["silence_1s"]
    assert melspec_by_program(host, expected["waveform"][0]).shape == expected["melspec"].shape


@pytest.mark.parametrize("name", ["mn10_as_hop_25", "mn10_as_mels_256"])
def test_program_serves_every_variant(
    variant: Callable[..., Variant], golden: Callable, tmp_path: Path, name: str
) -> None:
    other = variant(name)
    write(host_front_end(other), tmp_path)
    waveform = golden("mn04_as")["batch2_odd"]["waveform"]
    expected = FrontEnd(other.front_end, other.sample_rate)(torch.from_numpy(waveform))
    np.testing.assert_allclose(melspec_by_program(tmp_path, waveform), expected, atol=1e-5, rtol=0)


def test_program_depends_on_its_data(host: Path, golden: Callable) -> None:
    numbers = json.loads((host / "front_end.json").read_text())
    (host / "front_end.json").write_text(json.dumps(numbers | {"pre_emphasis": 0.96}))
    expected = golden("mn04_as")["batch2_odd"]
    assert np.abs(melspec_by_program(host, expected["waveform"]) - expected["melspec"]).max() > 1e-3
