"""Each kernel alone against NumPy, in arrays that are exactly as large as they must be."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exporters.c import pack

Size = ctypes.c_size_t
_ROOT = Path(__file__).resolve().parents[3]


class Finish(ctypes.Structure):
    _fields_ = (
        ("bias", ctypes.c_void_p),
        ("activation", ctypes.c_int),
        ("slope", ctypes.c_float),
        ("add", ctypes.c_void_p),
    )


_SIZES = """
height width channels kernel_height kernel_width stride_height stride_width dilation_height dilation_width top left
out_height out_width
"""


class Window(ctypes.Structure):
    _fields_ = tuple((name, Size) for name in _SIZES.split())


class Simd(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        (
            "gemm",
            ctypes.CFUNCTYPE(
                None,
                *[ctypes.c_void_p, Size, Size, ctypes.c_void_p, Size, Size],
                ctypes.POINTER(Finish),
                ctypes.c_void_p,
                Size,
            ),
        ),
        (
            "depthwise",
            ctypes.CFUNCTYPE(
                None, ctypes.POINTER(Window), *[ctypes.c_void_p] * 2, ctypes.POINTER(Finish), ctypes.c_void_p
            ),
        ),
    )


class Buffer(ctypes.Structure):
    _fields_ = (
        ("bytes", ctypes.c_uint64),
        ("first", ctypes.c_uint32),
        ("last", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
    )


def _runnable(kernels: ctypes.CDLL) -> list[Simd]:
    """From the slowest to what this processor would choose."""
    listed = (ctypes.POINTER(Simd) * 4).in_dll(kernels, "sp_simd_compiled")
    kernels.sp_simd_here.restype = ctypes.POINTER(Simd)
    best = kernels.sp_simd_here().contents.name
    found = []
    for entry in listed:
        found.append(entry.contents)
        if entry.contents.name == best:
            break
    return found


@pytest.fixture(params=range(3), ids=["any", "avx2", "avx512"])
def simd(request: pytest.FixtureRequest, kernels: ctypes.CDLL) -> Simd:
    """Each set of instructions that is here."""
    found = _runnable(kernels)
    if request.param >= len(found):
        pytest.skip("needs a processor with more instructions")
    return found[request.param]


def _random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def _at(array: np.ndarray | None) -> Any:
    return None if array is None else array.ctypes.data


def _activated(x: np.ndarray, activation: int, slope: float) -> np.ndarray:
    if activation == 1:
        return x * np.clip(x / 6 + 0.5, 0, 1)
    return np.where(x > 0, x, slope * x)


def _close(got: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 11, 12, 25])
@pytest.mark.parametrize("columns", [1, 15, 16, 17, 40, 64, 130])
def test_a_product_of_any_size_with_all_that_follows_it(simd: Simd, rows: int, columns: int) -> None:
    depth, stride, out_stride = 7, 9, columns + 3
    # As much as the last row needs.
    a = _random((rows - 1) * stride + depth)
    matrix, bias = _random(depth, columns), _random(columns, seed=1)
    expected = np.stack([a[row * stride : row * stride + depth] for row in range(rows)]) @ matrix + bias
    for activation, slope, with_add in [(0, 1.0, False), (0, 0.0, True), (0, 0.2, False), (1, 0.0, True)]:
        add = _random((rows - 1) * out_stride + columns, seed=2) if with_add else None
        out = np.full((rows - 1) * out_stride + columns, np.nan, np.float32)
        filled, packed = pack.bias(bias), pack.panels(matrix)
        finish = Finish(_at(filled), activation, slope, _at(add))
        simd.gemm(_at(a), rows, stride, _at(packed), depth, columns, finish, _at(out), out_stride)
        for row in range(rows):
            own = slice(row * out_stride, row * out_stride + columns)
            wanted = _activated(expected[row], activation, slope) + (add[own] if add is not None else 0)
            _close(out[own], wanted)
        between = np.ones(out.size, bool)
        for row in range(rows):
            between[row * out_stride : row * out_stride + columns] = False
        assert np.isnan(out[between]).all(), "what lies between the rows is not its own"


def test_a_long_product_goes_over_its_rows_in_parts(simd: Simd) -> None:
    rows, depth, columns = 700, 300, 20
    a, matrix = _random(rows, depth), _random(depth, columns)
    out = np.full((rows, columns), np.nan, np.float32)
    finish, packed = Finish(None, 0, 1.0, None), pack.panels(matrix)
    simd.gemm(_at(a), rows, depth, _at(packed), depth, columns, finish, _at(out), columns)
    np.testing.assert_allclose(out, a.astype(np.float64) @ matrix, atol=1e-3)


def test_a_deep_product_keeps_its_digits(simd: Simd) -> None:
    rows, depth, columns = 12, 4000, 64
    a, matrix = abs(_random(rows, depth)), abs(_random(depth, columns))
    out = np.full((rows, columns), np.nan, np.float32)
    finish, packed = Finish(None, 0, 1.0, None), pack.panels(matrix)
    simd.gemm(_at(a), rows, depth, _at(packed), depth, columns, finish, _at(out), columns)
    exact = a.astype(np.float64) @ matrix
    # Summed one after the other it is 3e-6.
    assert abs(out / exact - 1).max() < 6e-7


@pytest.mark.parametrize(("order", "columns"), [("C", 5), ("F", 70)])
def test_a_product_of_two_arrays_packs_one(kernels: ctypes.CDLL, simd: Simd, order: Any, columns: int) -> None:
    kernels.sp_matmul_scratch.restype = Size
    rows, depth = 9, 6
    a, b = _random(rows, depth), np.array(_random(depth, columns), order=order)
    out = np.full((rows, columns), np.nan, np.float32)
    scratch = np.full(kernels.sp_matmul_scratch(Size(depth)), np.nan, np.float32)
    b_row, b_column = (step // 4 for step in b.strides)
    kernels.sp_matmul(
        ctypes.byref(simd), ctypes.c_void_p(_at(a)), Size(rows), Size(depth), ctypes.c_void_p(_at(b)), Size(b_row),
        Size(b_column), Size(depth), Size(columns), ctypes.c_void_p(_at(out)), Size(columns),
        ctypes.c_void_p(_at(scratch)),
    )  # fmt: skip
    _close(out, a @ b)


def _window(
    x: np.ndarray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pads: tuple[int, ...],
    channels: int,
) -> Window:
    out = [
        (x.shape[axis] + pads[axis] + pads[axis + 2] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        for axis in range(2)
    ]
    return Window(x.shape[0], x.shape[1], channels, *kernel, *stride, *dilation, pads[0], pads[1], *out)


def _seen(x: np.ndarray, w: Window, pads: tuple[int, ...], fill: float = 0.0) -> np.ndarray:
    """What each window sees of (height, width, channels): (out height, out width, kernel height, width, channels)."""
    padded = np.pad(x, [(pads[0], pads[2] + 99), (pads[1], pads[3] + 99), (0, 0)], constant_values=fill)
    rows = (np.arange(w.out_height) * w.stride_height)[:, None] + np.arange(w.kernel_height) * w.dilation_height
    columns = (np.arange(w.out_width) * w.stride_width)[:, None] + np.arange(w.kernel_width) * w.dilation_width
    return padded[rows[:, None, :, None], columns[None, :, None, :]]


WINDOWS = [
    ((6, 9), (3, 3), (1, 1), (1, 1), (1, 1, 1, 1)),
    ((7, 10), (4, 4), (2, 2), (1, 1), (1, 1, 1, 1)),
    ((5, 21), (5, 5), (2, 1), (1, 1), (2, 2, 2, 2)),
    ((1, 40), (1, 15), (1, 1), (1, 2), (0, 0, 0, 0)),
    ((1, 30), (1, 3), (1, 2), (1, 1), (0, 0, 0, 0)),
    ((2, 3), (5, 5), (1, 1), (1, 1), (2, 2, 2, 2)),
    ((4, 4), (1, 1), (1, 1), (1, 1), (0, 0, 0, 0)),
    ((5, 4), (1, 1), (2, 2), (1, 1), (0, 0, 0, 0)),
]


@pytest.mark.parametrize(("image", "kernel", "stride", "dilation", "pads"), WINDOWS)
@pytest.mark.parametrize("channels", [1, 5, 8, 28, 36])
def test_every_channel_by_itself(
    simd: Simd, image: Any, kernel: Any, stride: Any, dilation: Any, pads: Any, channels: int
) -> None:
    x, weights = _random(*image, channels), _random(channels, 1, *kernel)
    window = _window(x, kernel, stride, dilation, pads, channels)
    seen = _seen(x, window, pads)
    bias, add = _random(channels, seed=3), _random(*seen.shape[:2], channels)
    expected = np.einsum("hwijc,cij->hwc", seen, weights[:, 0]) + bias
    packed, filled = np.ascontiguousarray(pack.depthwise(weights)), pack.bias(bias)
    for activation, slope, more in [(0, 0.0, None), (1, 0.0, add)]:
        out = np.full(expected.shape, np.nan, np.float32)
        finish = Finish(_at(filled), activation, slope, _at(more))
        simd.depthwise(window, _at(x), _at(packed), finish, _at(out))
        _close(out, _activated(expected, activation, slope) + (0 if more is None else more))


@pytest.mark.parametrize(("image", "kernel", "stride", "dilation", "pads"), WINDOWS)
@pytest.mark.parametrize(("groups", "channels", "columns"), [(1, 3, 20), (1, 1, 8), (4, 1, 3), (2, 3, 17)])
def test_convolutions_in_groups(
    kernels: ctypes.CDLL,
    simd: Simd,
    image: Any,
    kernel: Any,
    stride: Any,
    dilation: Any,
    pads: Any,
    groups: int,
    channels: int,
    columns: int,
) -> None:
    kernels.sp_conv_scratch.restype = Size
    x, weights = _random(*image, groups * channels), _random(groups * columns, channels, *kernel)
    window = _window(x, kernel, stride, dilation, pads, channels)
    seen = _seen(x, window, pads)
    parts = [
        np.einsum(
            "hwijc,ocij->hwo", seen[..., g * channels : (g + 1) * channels], weights[g * columns : (g + 1) * columns]
        )
        for g in range(groups)
    ]
    bias = _random(groups * columns, seed=4)
    expected = np.concatenate(parts, axis=-1) + bias
    add = _random(*expected.shape)
    packed, filled = pack.convolution(weights, groups), pack.bias(bias, groups)
    out = np.full(expected.shape, np.nan, np.float32)
    scratch = np.full(kernels.sp_conv_scratch(ctypes.byref(window), Size(groups)), np.nan, np.float32)
    finish = Finish(_at(filled), 0, 0.0, _at(add))
    kernels.sp_conv(
        ctypes.byref(simd), ctypes.byref(window), Size(groups), ctypes.c_void_p(_at(x)), ctypes.c_void_p(_at(packed)),
        Size(columns), ctypes.byref(finish), ctypes.c_void_p(_at(out)), ctypes.c_void_p(_at(scratch)),
    )  # fmt: skip
    _close(out, np.maximum(expected, 0) + add)


@pytest.mark.parametrize(("image", "kernel", "stride", "dilation", "pads"), [w for w in WINDOWS if w[3] == (1, 1)])
def test_pools(kernels: ctypes.CDLL, image: Any, kernel: Any, stride: Any, dilation: Any, pads: Any) -> None:
    x = _random(*image, 5)
    window = _window(x, kernel, stride, dilation, pads, 5)
    inside = _seen(np.ones_like(x), window, pads).sum(axis=(2, 3))
    total = _seen(x, window, pads).sum(axis=(2, 3))
    out = np.full(total.shape, np.nan, np.float32)
    for outside, count in [(1, kernel[0] * kernel[1]), (0, inside)]:
        kernels.sp_average_pool(ctypes.byref(window), ctypes.c_void_p(_at(x)), outside, ctypes.c_void_p(_at(out)))
        _close(out, total / count)
    kernels.sp_max_pool(ctypes.byref(window), ctypes.c_void_p(_at(x)), ctypes.c_void_p(_at(out)))
    _close(out, _seen(x, window, pads, -np.inf).max(axis=(2, 3)))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 200, 1), (2, 65, 70), (4, 3, 64)])
def test_sums_and_maxima(kernels: ctypes.CDLL, shape: tuple[int, int, int]) -> None:
    x = _random(*shape)
    out = np.full((shape[0], shape[2]), np.nan, np.float32)
    sizes = [Size(size) for size in shape]
    kernels.sp_reduce_sum(ctypes.c_void_p(_at(x)), *sizes, ctypes.c_float(0.5), ctypes.c_void_p(_at(out)))
    _close(out, x.sum(axis=1) / 2)
    kernels.sp_reduce_max(ctypes.c_void_p(_at(x)), *sizes, ctypes.c_void_p(_at(out)))
    _close(out, x.max(axis=1))


def test_a_sum_of_many_keeps_its_digits(kernels: ctypes.CDLL) -> None:
    x = np.full(10**6, 0.1, np.float32)
    out = np.zeros(1, np.float32)
    kernels.sp_reduce_sum(
        ctypes.c_void_p(_at(x)), Size(1), Size(10**6), Size(1), ctypes.c_float(1), ctypes.c_void_p(_at(out))
    )
    # One float after the other comes to 100958.
    assert abs(out[0] - 1e5) < 5


def test_rows(kernels: ctypes.CDLL) -> None:
    x, scale, shift = _random(3, 11) * 30, _random(11), _random(11, seed=5)
    out = np.full_like(x, np.nan)
    kernels.sp_softmax(ctypes.c_void_p(_at(x)), Size(3), Size(11), ctypes.c_void_p(_at(out)))
    odds = np.exp(x - x.max(axis=1, keepdims=True))
    _close(out, odds / odds.sum(axis=1, keepdims=True))
    for shifted in (shift, None):
        kernels.sp_layer_norm(
            ctypes.c_void_p(_at(x)), Size(3), Size(11), ctypes.c_void_p(_at(scale)), ctypes.c_void_p(_at(shifted)),
            ctypes.c_float(1e-5), ctypes.c_void_p(_at(out)),
        )  # fmt: skip
        white = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        _close(out, white * scale + (0 if shifted is None else shifted))


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (17, 40), (3, 33)])
def test_a_transposition(kernels: ctypes.CDLL, shape: tuple[int, int]) -> None:
    x = _random(*shape)
    out = np.full(shape[::-1], np.nan, np.float32)
    rows, columns = map(Size, shape)
    kernels.sp_transpose(ctypes.c_void_p(_at(x)), rows, columns, columns, ctypes.c_void_p(_at(out)), rows)
    assert (out == x.T).all()


@pytest.mark.parametrize(
    ("function", "value", "mode"),
    [("sp_reflect", None, "reflect"), ("sp_repeat", None, "edge"), ("sp_surround", -2.5, "constant")],
)
@pytest.mark.parametrize(("before", "after"), [(4, 5), (0, 3), (1, 0)])
def test_ends(kernels: ctypes.CDLL, function: str, value: float | None, mode: Any, before: int, after: int) -> None:
    x = _random(2, 6, 3)
    around = [(0, 0), (before, after), (0, 0)]
    padded = np.pad(x, around, constant_values=np.nan)
    last = [] if value is None else [ctypes.c_float(value)]
    getattr(kernels, function)(
        ctypes.c_void_p(_at(padded)), Size(2), Size(before), Size(6), Size(after), Size(3), *last
    )
    assert (padded == np.pad(x, around, mode=mode, **({} if value is None else {"constant_values": value}))).all()


@pytest.mark.parametrize("seed", range(20))
def test_no_two_arrays_are_in_one_place_at_once(kernels: ctypes.CDLL, seed: int) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 60))
    buffers = (Buffer * count)()
    for buffer in buffers:
        buffer.bytes = int(random.choice([0, 4, 64, 100, 5000]))
        buffer.first, buffer.last = sorted(random.integers(0, 40, 2))
    order = (ctypes.c_uint32 * count)()
    kernels.sp_plan_memory.restype = ctypes.c_uint64
    total = kernels.sp_plan_memory(buffers, order, ctypes.c_uint32(count))
    assert sorted(order) == list(range(count))
    for one in buffers:
        assert one.offset % 64 == 0
        assert one.offset + one.bytes <= total
        for other in buffers:
            if one is not other and ctypes.addressof(one) != ctypes.addressof(other):
                apart = one.last < other.first or other.last < one.first
                assert apart or one.offset + one.bytes <= other.offset or other.offset + other.bytes <= one.offset
    # No plan is below what is needed at some step.
    least = max(sum(b.bytes for b in buffers if b.first <= step <= b.last) for step in range(41))
    assert least <= total <= 2 * least + 64 * count


def test_a_plan_puts_what_follows_in_the_same_place(kernels: ctypes.CDLL) -> None:
    buffers = (Buffer * 4)(*((1000, step, step + 1, 0) for step in range(4)))
    kernels.sp_plan_memory.restype = ctypes.c_uint64
    assert kernels.sp_plan_memory(buffers, (ctypes.c_uint32 * 4)(), ctypes.c_uint32(4)) == 2 * 1024


def _sanitized(*words: str) -> subprocess.CompletedProcess[str]:
    libraries = []
    for name in ("libasan.so", "libubsan.so"):
        found = subprocess.run(["cc", f"-print-file-name={name}"], capture_output=True, text=True).stdout.strip()
        if not Path(found).is_absolute():
            pytest.skip("needs the compiler's sanitizers")
        libraries.append(found)
    environment = {
        **os.environ,
        "LD_PRELOAD": " ".join(libraries),
        "KERNEL_FLAGS": "-fsanitize=address,undefined -fno-sanitize-recover=all",
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(_ROOT),
        # Each array is memory of its own, whose ends are watched.
        "PYTHONMALLOC": "malloc",
    }
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=_ROOT, env=environment, timeout=300
    )


@pytest.mark.slow
def test_no_kernel_reads_or_writes_beyond_its_arrays(kernels: ctypes.CDLL, tmp_path: Path) -> None:
    done = _sanitized("-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "t"), __file__)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_a_kernel_that_does_is_found(kernels: ctypes.CDLL, tmp_path: Path) -> None:
    (tmp_path / "test_bad.py").write_text(
        "import ctypes, numpy as np\n"
        "from tests.exporters.c.conftest import *\n"
        "def test_it(kernels):\n"
        "    x, size = np.zeros(10, np.float32), ctypes.c_size_t\n"
        "    one = ctypes.c_void_p(x.ctypes.data)\n"
        "    kernels.sp_reduce_max(one, size(1), size(10), size(2), one)\n"
    )
    done = _sanitized("-m", "pytest", "-sq", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path))
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr + done.stdout
