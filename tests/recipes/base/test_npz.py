import io
from pathlib import Path

import numpy as np
import pytest

from recipes.base import npz
from recipes.base.errors import UserError

ARRAYS = {
    "file": np.arange(6, dtype=np.float32).reshape(2, 3),
    "allow_pickle": np.array(2.5),
    "args": np.zeros((0, 3), np.int64),
    "turned": np.arange(6.0).reshape(2, 3).T,
}


@pytest.mark.parametrize("compressed", [True, False])
def test_whatever_arrays_are_called_numpy_reads_them_back(compressed: bool, tmp_path: Path) -> None:
    npz.write(tmp_path / "a.npz", ARRAYS, compressed=compressed)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found.files == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)


def test_the_bytes_are_those_of_numpy() -> None:
    ours, theirs = io.BytesIO(), io.BytesIO()
    npz.write(ours, {"a": ARRAYS["file"], "b": ARRAYS["turned"]})
    np.savez(theirs, a=ARRAYS["file"], b=ARRAYS["turned"])
    assert ours.getvalue() == theirs.getvalue()


def test_objects_are_no_arrays() -> None:
    with pytest.raises(ValueError, match="allow_pickle=False"):
        npz.write(io.BytesIO(), {"a": np.array([{}])})


@pytest.mark.parametrize(
    "name", ["a/b:0", "y:0", "/fc/Gemm_output_0", "StatefulPartitionedCall:0", "..x", "ü" * 100, "a..b", "args", " "]
)
def test_names_of_models_are_found_again(name: str, tmp_path: Path) -> None:
    npz.write(tmp_path / "a.npz", {name: ARRAYS["file"]})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found.files == [name]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../../evil", "leads out"),
        ("a/../../evil", "leads out"),
        ("C:/evil", "leads out"),
        ("/../evil", "leads out"),
        ("\\\\host\\evil", "backslash"),
        ("a\\b", "backslash"),
        ("a\0b", "NUL"),
        ("\ud800", "no Unicode"),
        ("n" * 65_532, "has 65536 bytes"),
        ("ü" * 40_000, "has 80004 bytes"),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_names_that_are_paths_or_too_long_are_refused(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=why):
        npz.write(tmp_path / "a.npz", {"first": ARRAYS["file"], name: ARRAYS["file"]})
    assert not (tmp_path / "a.npz").exists()
