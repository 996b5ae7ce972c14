"""The program around a model, on sound of every format and on files that lie; compiled with the sanitizers."""

import io
import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from exporters.c import binary, folder
from validators.runners.c import node_command

Tag = Callable[..., subprocess.CompletedProcess[bytes]]

LABELS = ("mean", 'a "quoted" \\ one', "Musik ♪ ??/")
RATE = 1000


@pytest.fixture(scope="session")
def toy(graph: Any, described: Any) -> Callable[..., onnx.ModelProto]:
    """`toy(length)`: scores that tell what was fed: its mean, its maximum, and a half; and its doubled samples."""

    def build(fed: str | int = "samples", **facts: Any) -> onnx.ModelProto:
        nodes = [
            ("ReduceMean", ["x"], ["mean"], {"axes": [1], "keepdims": 1}),
            ("ReduceMax", ["x"], ["most"], {"axes": [1], "keepdims": 1}),
            ("Mul", ["mean", "nothing"], ["none"], {}),
            ("Add", ["none", "half"], ["halves"], {}),
            ("Concat", ["mean", "most", "halves"], ["scores"], {"axis": 1}),
            ("Add", ["x", "x"], ["twice"], {}),
        ]
        constants = {"nothing": np.array(0, np.float32), "half": np.array(0.5, np.float32)}
        return described(graph(nodes, ["scores", "twice"], constants, ("batch", fed)), LABELS, **facts)

    return build


SANITIZE = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


@pytest.fixture(scope="session")
def watched(cc: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels with the sanitizers, as one object.

    Without the instructions of newer processors, which are the kernels' own matter and slow to compile.
    """
    place = tmp_path_factory.mktemp("watched")
    kernels = Path(folder.__file__).parent / "kernels"
    files = sorted(file for file in kernels.glob("*.c") if not file.name.startswith("simd"))
    stub = '#include "kernels.h"\nconst struct simd *sp_simd_here(void) { return &sp_simd_any; }\n'
    includes = "".join(f'#include "{file.name}"\n' for file in (kernels / "simd_any.c",))
    (place / "simd.c").write_text(includes + stub)
    for file in (*files, place / "simd.c"):
        cc(place / f"{file.stem}.o", *SANITIZE, f"-I{kernels}", "-c", file)
    subprocess.run(["ld", "-r", "-o", place / "all.o", *place.glob("*.o")], check=True)
    return place / "all.o"


@pytest.fixture(scope="session")
def built(cc: Callable[..., None], watched: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Tag]:
    """`built(model)(stdin, *options)`: the program of a model, with the sanitizers.

    With `most`, no more bytes than that can be addressed, as 4 GB are where a pointer has 32 bits.
    """

    def build(model: onnx.ModelProto, *words: str, most: int | None = None) -> Tag:
        place = tmp_path_factory.mktemp("tag") / "c"
        folder.write(place, model, "model.onnx")
        if most is not None:
            source = (place / "model.c").read_text()
            assert "SIZE_MAX" in source
            (place / "model.c").write_text(source.replace("SIZE_MAX", str(most)))
        sources = [place / name for name in ("tag.c", "model.c", "labels.c", *(() if words else ("weights.S",)))]
        cc(place / "tag", *SANITIZE, *words, f"-Wa,-I{place}", *sources, watched, "-lm")

        def run(content: bytes, *options: object) -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                [str(place / "tag"), *map(str, options)], input=content, capture_output=True, timeout=30
            )

        run.place = place  # type: ignore[attr-defined]
        return run

    return build


@pytest.fixture(scope="session")
def tag(built: Callable[..., Tag], toy: Any) -> Tag:
    """The toy that takes any length."""
    return built(toy())


def wav(
    samples: np.ndarray, bits: int = 16, *, form: int = 1, rate: int = RATE, channels: int = 1, **lies: Any
) -> bytes:
    """A WAV file of the bytes of an array; `lies` replace what its header says."""
    data = samples.tobytes()
    said = {"form": form, "channels": channels, "rate": rate, "bits": bits, "size": len(data), "extra": b"", **lies}
    width = said["channels"] * said["bits"] // 8 % 2**16
    head = struct.pack("<HHIIHH", said["form"], said["channels"], said["rate"], 0, width, said["bits"]) + said["extra"]
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + b"LIST" + struct.pack("<I", 3) + b"odd\0"
    chunks += b"data" + struct.pack("<I", said["size"]) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def _lines(done: subprocess.CompletedProcess[bytes]) -> list[tuple[float, str]]:
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return [(float(line[:6]), line[8:]) for line in done.stdout.decode().splitlines()]


def _error(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line of an error that the program itself tells, and no sanitizer."""
    assert done.returncode == 2, (done.returncode, done.stderr)
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("tag: ")
    return line


SOUND = np.array([0.25, 0.75, -0.5, 0.5, 0.25, 0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("array", "bits", "form"),
    [
        (np.round(SOUND * 128 + 128).astype("u1"), 8, 1),
        ((SOUND * 2**15).astype("<i2"), 16, 1),
        ((SOUND * 2**31).astype("<i4").view("u1").reshape(-1, 4)[:, 1:].copy(), 24, 1),
        ((SOUND * 2**31).astype("<i4"), 32, 1),
        (SOUND.astype("<f4"), 32, 3),
        (SOUND.astype("<f8"), 64, 3),
    ],
)
def test_every_format_is_the_same_sound(tag: Tag, array: np.ndarray, bits: int, form: int) -> None:
    expected = [(0.75, LABELS[1]), (0.5, LABELS[2]), (0.1562, LABELS[0])]
    assert _lines(tag(wav(array, bits, form=form))) == expected
    extended = struct.pack("<HHIH", 22, bits, 4, form) + b"\0" * 14
    assert _lines(tag(wav(array, bits, form=0xFFFE, extra=extended))) == expected


def test_channels_are_averaged(tag: Tag) -> None:
    both = np.stack([SOUND, np.zeros(8)], axis=1).astype("<f4")
    assert _lines(tag(wav(both, 32, form=3, channels=2)))[1] == (0.375, LABELS[1])


def test_bare_samples(tag: Tag) -> None:
    expected = _lines(tag(wav(SOUND.astype("<f4"), 32, form=3)))
    assert _lines(tag(SOUND.astype("<f4").tobytes(), "--raw", "f32")) == expected
    assert _lines(tag((SOUND * 2**15).astype("<i2").tobytes(), "--raw", "s16")) == expected


def test_as_many_classes_as_asked_for(tag: Tag) -> None:
    sound = wav(SOUND.astype("<f4"), 32, form=3)
    assert _lines(tag(sound, "--top", 1)) == [(0.75, LABELS[1])]
    assert len(_lines(tag(sound, "--all"))) == 3


def test_json(tag: Tag) -> None:
    sound = wav(SOUND.astype("<f4"), 32, form=3)
    said = json.loads(tag(sound, "--json", "--top", 2).stdout)
    assert said == {"top": [[{"label": LABELS[1], "score": 0.75}, {"label": LABELS[2], "score": 0.5}]]}


def test_windows_over_a_long_sound(tag: Tag) -> None:
    sound = wav(np.arange(25).astype("<f4"), 32, form=3)
    done = tag(sound, "--hop", 0.005, "--window", 0.01, "--top", 1)
    assert done.stdout.decode().splitlines() == [
        f"{start / RATE:.2f} to {min(start + 10, 25) / RATE:.2f} s  {min(start + 9, 24):.4f}  {LABELS[1]}"
        for start in (0, 5, 10, 15)
    ]
    said = json.loads(tag(sound, "--hop", 0.005, "--window", 0.01, "--json").stdout)
    assert said["windows"] == [[0, 0.01], [0.005, 0.015], [0.01, 0.02], [0.015, 0.025]]
    assert [row[0]["score"] for row in said["top"]] == [9, 14, 19, 24]
    # What is left after the last whole window is fed as it is, where that is enough.
    said = json.loads(tag(sound, "--hop", 0.02, "--window", 0.02, "--json").stdout)
    assert said["windows"] == [[0, 0.02], [0.02, 0.025]]


def test_all_outputs_for_programs(tag: Tag) -> None:
    x = np.random.default_rng(0).standard_normal(9).astype(np.float32)
    stream = io.BytesIO(tag(x.tobytes(), "--outputs").stdout)
    scores, twice = np.load(stream), np.load(stream)
    assert stream.read() == b""
    np.testing.assert_allclose(scores, [[x.mean(), x.max(), 0.5]], rtol=1e-6)
    assert (twice == 2 * x[None]).all()
    assert "float32 are wanted" in _error(tag(x.tobytes()[:-1], "--outputs"))
    assert "float32 are wanted" in _error(tag(x[:3].tobytes(), "--outputs"))


FLOATS = SOUND.astype("<f4")
HOSTILE = {
    "nothing": (b"", "no WAV"),
    "a part of a head": (wav(FLOATS, 32, form=3)[:9], "no WAV"),
    "another file": (b"\x7fELF" + b"\0" * 100, "no WAV"),
    "no channels": (wav(FLOATS, 32, form=3, channels=0), "no channels"),
    "no samples": (wav(FLOATS[:0], 32, form=3), "no samples"),
    "less than a sample": (wav(FLOATS, 32, form=3, channels=65535), "no samples"),
    "cut off": (wav(FLOATS, 32, form=3)[:-5], "cut off"),
    "a length that is not there": (wav(FLOATS, 32, form=3, size=1000), "cut off"),
    "cut off before its samples": (wav(FLOATS, 32, form=3)[:30], "no samples"),
    "cut off in a chunk's head": (wav(FLOATS, 32, form=3)[:40], "no samples"),
    "another rate": (wav(FLOATS, 32, form=3, rate=44100), "44100"),
    "no rate": (wav(FLOATS, 32, form=3, rate=0), "samples a second"),
    "no bits": (wav(FLOATS, form=3, bits=0), "0 bits"),
    "too many bits": (wav(FLOATS, form=1, bits=65528), "65528 bits"),
    "half a float": (wav(FLOATS, form=3, bits=16), "16 bits"),
    "compressed": (wav(FLOATS, 32, form=85), "format 85"),
    "a format that is extended, and cut off": (wav(FLOATS, 32, form=0xFFFE), "format 65534"),
    "not a number": (wav(np.array([0, np.nan] * 4, "<f4"), 32, form=3), "sample 1 is NaN"),
    "infinity": (wav(np.array([np.inf] * 4, "<f8"), 64, form=3), "sample 0 is NaN"),
    "beyond any scale": (wav(np.array([0, 1e30] * 4, "<f4"), 32, form=3), "sample 1 is NaN"),
    "too short": (wav(FLOATS[:3], 32, form=3), "needs at least"),
    "samples before their format": (b"RIFF\0\0\0\0WAVEdata" + struct.pack("<I", 8) + b"\0" * 8, "no format"),
    "a chunk of all there is": (b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\xff" + b"\0" * 50, "no samples"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_lies_is_one_clear_error(tag: Tag, name: str) -> None:
    content, said = HOSTILE[name]
    assert said in _error(tag(content))


def test_a_length_that_nobody_knew_is_what_is_there(tag: Tag) -> None:
    expected = _lines(tag(wav(FLOATS, 32, form=3)))
    for size in (2**32 - 1, 2**31 - 1):
        assert _lines(tag(wav(FLOATS, 32, form=3, size=size))) == expected


def test_files_changed_at_random_never_crash_it(tag: Tag) -> None:
    random = np.random.default_rng(0)
    whole = np.frombuffer(wav(FLOATS, 32, form=3), "u1")
    for _ in range(60):
        changed = whole[: random.integers(0, len(whole) + 1)].copy()
        for place in random.integers(0, max(1, len(changed)), random.integers(0, 4)):
            changed[place : place + 1] = random.integers(0, 256)
        done = tag(changed.tobytes())
        assert done.returncode in (0, 2), done.stderr
        assert b"Sanitizer" not in done.stderr
        assert b"runtime error" not in done.stderr


@pytest.fixture(scope="session")
def wide(graph: Any, described: Any) -> onnx.ModelProto:
    """Scores of 64 classes, for which it needs more than 64 times the memory of what it is fed."""
    nodes = [
        ("Unsqueeze", ["x", "one"], ["row"], {}),
        ("Conv", ["row", "ones"], ["columns"], {}),
        ("Relu", ["columns"], ["lit"], {}),
        ("ReduceMean", ["lit"], ["scores"], {"axes": [2], "keepdims": 0}),
    ]
    constants = {"one": np.array([1]), "ones": np.ones((64, 1, 1), np.float32)}
    return described(graph(nodes, ["scores"], constants), tuple(map(str, range(64))))


def test_more_memory_than_can_be_addressed_is_one_clear_error(built: Any, wide: Any) -> None:
    tag = built(wide, most=100_000)
    long, short = wav(np.zeros(1000, "<f4"), 32, form=3), wav(np.ones(100, "<f4"), 32, form=3)
    assert len(_lines(tag(short))) == 10
    for options in ([], ["--hop", 0.1, "--window", 0.9]):
        assert "more memory than can be addressed" in _error(tag(long, *options))
    assert len(json.loads(tag(long, "--hop", 0.1, "--window", 0.1, "--json").stdout)["windows"]) == 10
    assert "more memory than can be addressed" in _error(tag(np.zeros(1000, "<f4").tobytes(), "--outputs"))


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")
def test_more_memory_than_webassembly_has_is_one_clear_error(wide: Any, tmp_path: Path) -> None:
    """There, address 0 can be written to, so that a program without memory goes on."""
    pytest.importorskip("ziglang")
    folder.write(tmp_path / "c", wide, "model.onnx")
    binary.build(tmp_path / "c", "wasm32-wasi", tmp_path / "tag.wasm")

    def tag(seconds: int) -> subprocess.CompletedProcess[bytes]:
        sound = bytes(2 * RATE * seconds)
        return subprocess.run([*node_command(tmp_path / "tag.wasm"), "--raw", "s16"], input=sound, capture_output=True)

    assert len(_lines(tag(1))) == 10
    assert "more memory than can be addressed" in _error(tag(20_000))


@pytest.mark.parametrize(
    "options",
    [
        "--top", "--top x", "--top 0", "--top 0.5", "--window 0.01",
        "--hop -1", "--hop nan", "--raw mp3", "--window inf", "--hop 1 --window 0.001",
        "--weights-file /dev/null", "--weights-file /nowhere", "--weights-file", "-x",
    ],
)  # fmt: skip
def test_bad_options(tag: Tag, options: str) -> None:
    done = tag(wav(FLOATS, 32, form=3), *options.split())
    assert done.returncode == 2
    assert b"Sanitizer" not in done.stderr
    assert done.stderr.startswith((b"tag: ", b"usage: tag"))


def test_help(tag: Tag) -> None:
    done = tag(b"", "--help")
    assert done.returncode == 0
    assert b"--weights-file" in done.stdout


def test_weights_that_are_not_linked_in_are_mapped(built: Any, toy: Any) -> None:
    tag = built(toy(), "-DWEIGHTS_APART")
    sound = wav(FLOATS, 32, form=3)
    assert "no weights are linked in" in _error(tag(sound))
    assert _lines(tag(sound, "--weights-file", tag.place / "weights.bin"))[0] == (0.75, LABELS[1])


def test_a_model_of_one_length_is_fed_as_its_training_was(built: Any, toy: Any) -> None:
    tag = built(toy(8, peak=0.5))
    # Its peak is set before it is cut; what is missing is silence.
    done = tag(wav(np.array([1, 0, 0, 0] * 2 + [2] * 4, "<f4"), 32, form=3))
    assert b"used the first 0.008 s of 0.012 s" in done.stderr
    assert done.stdout.decode().splitlines()[1] == f"0.2500  {LABELS[1]}"
    assert _lines(tag(wav(np.array([1, 1], "<f4"), 32, form=3))) == [
        (0.5, LABELS[1]), (0.5, LABELS[2]), (0.125, LABELS[0]),
    ]  # fmt: skip
    said = json.loads(tag(wav(np.arange(1, 13).astype("<f4"), 32, form=3), "--hop", 0.004, "--json").stdout)
    assert said["windows"] == [[0, 0.008], [0.004, 0.012]]


def test_a_model_of_one_length_that_prepares_nothing_takes_just_that(built: Any, toy: Any) -> None:
    tag = built(toy(8))
    assert _lines(tag(wav(FLOATS, 32, form=3)))[0] == (0.75, LABELS[1])
    assert "at most 0.008 s" in _error(tag(wav(np.zeros(9, "<f4"), 32, form=3)))
    assert "needs at least 0.008 s" in _error(tag(wav(np.zeros(7, "<f4"), 32, form=3)))
    assert "the model takes" in _error(tag(wav(FLOATS, 32, form=3), "--hop", 0.004, "--window", 0.004))
    # Lengths are of whole samples.
    assert tag(wav(FLOATS, 32, form=3), "--hop", 1, "--window", 0.00801).returncode == 0


@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake")
@pytest.mark.slow
def test_cmake_builds_the_folder(toy: Any, tmp_path: Path) -> None:
    folder.write(tmp_path / "c", toy(), "model.onnx")
    for words in (["-S", "c", "-B", "build"], ["--build", "build"]):
        subprocess.run(["cmake", *words], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run([tmp_path / "build" / "tag"], input=wav(FLOATS, 32, form=3), capture_output=True)
    assert _lines(done)[0] == (0.75, LABELS[1])
