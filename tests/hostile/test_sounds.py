"""Sounds and arrays that lie about their length, hang, or hold what is no sound."""

import io
import os
import struct
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from recipes.base import audio, limits
from recipes.base.errors import UserError
from recipes.base.shown import shown
from tests.hostile.cases import some
from tests.hostile.models import model_of_sound
from validators.dumps import numpy_file

pytestmark = pytest.mark.usefixtures("bounded")

RATE = 32000
MINUTE = 60 * RATE


def refusal(path: Path, most: int = audio.MOST_SAMPLES) -> str:
    with pytest.raises(UserError) as caught:
        audio.read(path, RATE, most)
    assert shown(str(caught.value)).isprintable()
    return str(caught.value)


def wav(
    path: Path, content: bytes, rate: int = RATE, channels: int = 1, size: int | None = None, form: int = 3
) -> Path:
    """One of float32, its header as it is told."""
    block = 4 * channels
    head = struct.pack("<HHIIHH", form, channels, rate, (rate * block) % 2**32, block % 2**16, 32)
    size = len(content) if size is None else size
    path.write_bytes(b"RIFF" + struct.pack("<I", (36 + size) % 2**32) + b"WAVEfmt " + struct.pack("<I", 16) + head)
    with path.open("ab") as file:
        file.write(b"data" + struct.pack("<I", size) + content)
    return path


ONE = np.ones(1000, "<f4").tobytes()


@pytest.mark.parametrize("rate", [0, 1, 2, 10, 999, 768_001, 2**31, 2**32 - 1])
def test_a_rate_that_no_sound_has(rate: int, tmp_path: Path) -> None:
    said = refusal(wav(tmp_path / "it.wav", ONE, rate))
    assert "samples a second" in said or "is no sound file" in said


@pytest.mark.parametrize("value", [3e38, -3e38, 1e30, 2.0**32, np.nan, np.inf, -np.inf])
def test_a_sample_that_is_no_sound(value: float, tmp_path: Path) -> None:
    content = np.zeros(1000, "<f4")
    content[-1] = value
    assert "NaN or infinite" in refusal(wav(tmp_path / "it.wav", content.tobytes()))


@pytest.mark.filterwarnings("error")
def test_float64_beyond_float32(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "it.wav", np.array([0, 1e300, -1e39]), RATE, "DOUBLE")
    assert "no sound" in refusal(tmp_path / "it.wav")


def test_two_hours_are_refused_by_their_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = wav(tmp_path / "it.wav", ONE, size=2 * 3600 * RATE * 4)
    with path.open("ab") as file:
        file.truncate(44 + 2 * 3600 * RATE * 4)

    def read(*_: object, **__: object) -> None:
        pytest.fail("its samples were read")

    monkeypatch.setattr(soundfile.SoundFile, "read", read)
    for most in (MINUTE, audio.MOST_SAMPLES):
        assert "is too long: 230400000 samples" in refusal(path, most)


def _flac(path: Path, samples: int) -> Path:
    """A whole FLAC whose header promises so many samples."""
    soundfile.write(path, np.zeros(4000), RATE, format="FLAC")
    content = bytearray(path.read_bytes())
    place = 4 + 4 + 10
    word = int.from_bytes(content[place : place + 8], "big")
    content[place : place + 8] = (word >> 36 << 36 | samples).to_bytes(8, "big")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("samples", [2**35, 2**36 - 1])
def test_a_flac_that_promises_billions_of_samples(samples: int, tmp_path: Path) -> None:
    assert "is too long" in refusal(_flac(tmp_path / "it.flac", samples))


@pytest.mark.parametrize("channels", [0, 65535])
def test_a_number_of_channels_that_no_file_has(channels: int, tmp_path: Path) -> None:
    assert "is no sound file" in refusal(wav(tmp_path / "it.wav", ONE, channels=channels))


WHATEVER: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: path.write_bytes(b""),
    "four letters": lambda path: path.write_bytes(b"RIFF"),
    "a head of 4 GB": lambda path: path.write_bytes(b"RIFF\xff\xff\xff\xffWAVE" + b"\xff" * 100),
    "no samples": lambda path: wav(path, b""),
    "MP3 in a WAV": lambda path: wav(path, ONE, form=0x55),
    "a format of nobody's": lambda path: wav(path, ONE, form=0x1234),
    "noise": lambda path: path.write_bytes(np.random.RandomState(0).bytes(4096)),
    "a pipe": os.mkfifo,
    "zeros without end": lambda path: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a folder": Path.mkdir,
    "8 GB": lambda path: os.truncate(wav(path, ONE), 2**33),
}


@pytest.mark.parametrize("name", WHATEVER)
def test_what_is_no_sound(name: str, tmp_path: Path) -> None:
    WHATEVER[name](tmp_path / "it.wav")
    refusal(tmp_path / "it.wav")


@pytest.mark.parametrize(
    ("kill", "told"),
    [
        (lambda *_, **__: os.abort(), r"what decodes it crashed \(signal 6, SIGABRT\); convert it"),
        (lambda *_, **__: time.sleep(60), "what decodes it took more than 0.3 s and was ended"),
    ],
    ids=["crash", "time"],
)
def test_a_sound_that_kills_its_decoder_is_refused(
    kill: Callable[..., object], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soundfile.SoundFile, "read", kill)
    wav(tmp_path / "it.wav", ONE)
    with limits.time_limit(0.3), pytest.raises(UserError, match=told):
        audio.read(tmp_path / "it.wav", RATE)


def test_what_decoders_say_stays_unsaid(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "it.mp3"
    soundfile.write(path, np.random.RandomState(0).uniform(-0.5, 0.5, RATE), RATE, format="MP3")
    content = bytearray(path.read_bytes())
    for place in range(300, len(content), 50):
        content[place] ^= 0xFF
    path.write_bytes(content)
    soundfile.read(path)
    assert capfd.readouterr().err
    with suppress(UserError):
        audio.read(path, RATE)
    os.write(2, b"heard again\n")
    assert capfd.readouterr() == ("", "heard again\n")


# Arrays


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=True)
    return stream.getvalue()


def head(shape: object, dtype: str = "<f4") -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npz(path: Path, content: bytes, method: int = zipfile.ZIP_STORED) -> bytes:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("x.npy", content)
    return path.read_bytes()


def _patched(path: Path, method: int, flags: int, change: bool = False, said: int | None = None) -> bytes:
    content = bytearray(npz(path, npy(np.zeros(5000, np.float32)), method))
    central = content.index(b"PK\x01\x02")
    for place in (6, central + 8):
        content[place] |= flags
        content[place + 2 : place + 4] = struct.pack("<H", method if said is None else said)
    if change:
        content[60:90] = os.urandom(30)
    return bytes(content)


ARRAYS: dict[str, Callable[[Path], bytes]] = {
    "encrypted": lambda path: _patched(path, zipfile.ZIP_STORED, 1),
    "a method of nobody's": lambda path: _patched(path, zipfile.ZIP_STORED, 0, said=97),
    "a corrupt deflate stream": lambda path: _patched(path, zipfile.ZIP_DEFLATED, 0, change=True),
    "a corrupt LZMA stream": lambda path: _patched(path, zipfile.ZIP_LZMA, 0, change=True),
    "a corrupt bzip2 stream": lambda path: _patched(path, zipfile.ZIP_BZIP2, 0, change=True),
    "stored, said to be deflated": lambda path: _patched(path, zipfile.ZIP_STORED, 0, said=8),
    "stored, said to be LZMA": lambda path: _patched(path, zipfile.ZIP_STORED, 0, said=14),
    "objects": lambda path: npz(path, npy(np.array([{}]))),
    "text": lambda path: npz(path, npy(np.array(["a"]))),
    "complex": lambda path: npz(path, npy(np.ones(2, complex))),
    "records": lambda path: npz(path, npy(np.zeros(2, "f4,i4"))),
    "more numbers than there are": lambda path: npz(path, head((10**12,))),
    "2 ** 70 numbers": lambda path: npz(path, head((2**70,))),
    "none of 2 ** 80": lambda path: npz(path, head((0, 2**40, 2**40))),
    "a negative axis": lambda path: npz(path, head((-1, 4)) + bytes(16)),
    "1,000 axes": lambda path: npz(path, head((1,) * 1000) + bytes(4)),
    "a shape of text": lambda path: npz(path, head("x")),
    "a call in the head": lambda path: npz(path, head(()).replace(b"()", b"__import__('os').abort()")),
    "a deep head": lambda path: npz(path, b"\x93NUMPY\x01\x00\x00\xf0" + b"(" * 61440),
    "another version": lambda path: npz(path, b"\x93NUMPY\x09\x00" + bytes(100)),
    "no array": lambda path: npz(path, b"hello"),
    "nothing": lambda path: b"",
    "no zip": lambda path: b"PK\x03\x04" + bytes(50),
    "a bomb": lambda path: _bomb(path),
}


def _bomb(path: Path) -> bytes:
    """One that says of itself that it unpacks to 3 GB."""
    content = bytearray(npz(path, npy(np.zeros(100, np.float32)), zipfile.ZIP_DEFLATED))
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = struct.pack("<I", 3 * 10**9)
    return bytes(content)


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_are_none(name: str, tmp_path: Path) -> None:
    path = tmp_path / "it.npz"
    with pytest.raises(UserError) as caught:
        numpy_file.archive(path, ARRAYS[name](path))
    assert str(path) in str(caught.value)


# Through the command itself


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small file that takes any sound: what is not refused by then would run."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(model_of_sound().SerializeToString())
    return path


FILES: dict[str, Callable[[Path], object]] = {
    **{f"a rate of {rate}": partial(wav, content=ONE, rate=rate) for rate in (0, 1, 2, 999, 2**32 - 1)},
    **{
        f"a sample of {value}": partial(wav, content=np.array([0, value] * 500, "<f4").tobytes())
        for value in (3e38, -1e30, np.nan, np.inf)
    },
    **{f"{channels} channels": partial(wav, content=ONE, channels=channels) for channels in (0, 65535)},
    "two hours": lambda path: os.truncate(wav(path, ONE, size=2 * 3600 * RATE * 4), 44 + 2 * 3600 * RATE * 4),
    "a FLAC of billions": lambda path: _flac(path, 2**36 - 1),
    **WHATEVER,
}


@pytest.mark.parametrize("name", some(FILES, 5))
def test_the_command_refuses_it(name: str, model: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    FILES[name](tmp_path / "it.wav")
    assert str(tmp_path / "it.wav") in refused("run", model, tmp_path / "it.wav", "-o", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.parametrize("name", some(ARRAYS, 8))
def test_the_command_refuses_the_arrays(name: str, model: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "it.npz").write_bytes(ARRAYS[name](tmp_path / "made.npz"))
    assert str(tmp_path / "it.npz") in refused("run", model, tmp_path / "it.npz", "-o", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()
