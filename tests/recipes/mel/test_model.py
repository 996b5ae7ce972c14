"""Both forms of the module give the same, on any sound and compiled too; the host's program gives it from the data."""

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from exporters.lowering import lowered
from exporters.lowering.fixed import at_length
from recipes.base import config, sound
from recipes.base.errors import UserError
from recipes.base.recipe import faithful_model, load
from recipes.mel.model import Convolved, Transformed, front_end
from recipes.mel.spec import Variant

PRESETS = [variant.name for variant in config.variants() if variant.family == "mel"]

OTHERS = {
    "an odd n_fft": ("mel_librosa", {"n_fft": 551, "hop_length": 137}),
    "a short window in frames of an n_fft": ("mel_librosa", {"n_fft": 512, "win_length": 301, "centre": "none"}),
    "a hop longer than the window": ("mel_librosa", {"n_fft": 256, "hop_length": 400, "n_mels": 20}),
    "no common factor": ("mel_avatar", {"sample_rate": 22050, "n_fft": 1102, "hop_length": 275}),
    "frames that lose their mean, of a window that does not begin with zero": (
        "mel_kaldi",
        {"window": "hamming", "n_fft": 480, "win_length": 300, "hop_length": 120},
    ),
    "the last frame dropped without padding": ("mel_kaldi", {"drop_last_frame": True}),
    "decibels below the clip's greatest": ("mel_avatar", {"log": "db", "amin": 1e-5, "ref": "max", "top_db": 60}),
    "everything": (
        "mel_whisper80",
        {"remove_dc": True, "pre_emphasis": 0.9, "input_scale": 32768, "added": 1e-3, "power": 1, "log": "ln"},
    ),
}
EVERY = {**{name: (name, {}) for name in PRESETS}, **OTHERS}


@pytest.fixture(scope="module", params=EVERY)
def variant(request: pytest.FixtureRequest, numbered: Callable[..., Variant]) -> Variant:
    preset, numbers = EVERY[request.param]
    return numbered(preset, **numbers)


def waveform(variant: Variant, samples: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([sound.rich(samples, variant.sample_rate, seed) for seed in (41, 42)]))


def test_the_forms_give_the_same(variant: Variant) -> None:
    """In float64, where no rounding hides a mistake but that of the constants themselves."""
    convolved, transformed = Convolved(variant).double(), Transformed(variant).double()
    done = lowered(faithful_model(variant, {}).double(), variant).module
    for samples in (variant.input.least, 4000, 4001, 9999):
        fed = waveform(variant, max(samples, variant.input.least)).double()
        # The log magnifies what is missing of the constants behind a float32's last digit.
        assert convolved(fed).shape[2] > 0
        torch.testing.assert_close(convolved(fed), transformed(fed), rtol=1e-5, atol=2e-4)
        torch.testing.assert_close(done(fed)[0], transformed(fed), rtol=1e-5, atol=2e-4)
        fixed = at_length(done, tuple(fed.shape))
        torch.testing.assert_close(fixed(fed), done(fed), rtol=1e-9, atol=1e-9)


def frames(variant: Variant, samples: int) -> int:
    try:
        return Transformed(variant)(torch.zeros(1, samples)).shape[2]
    except RuntimeError:
        return 0


def test_the_least_is_the_shortest_that_has_a_frame(variant: Variant) -> None:
    assert frames(variant, variant.input.least) >= 1
    # Centred, any sound has one, and bounds are those of what is reflected or of what files take.
    if variant.front_end.centre == "none":
        assert frames(variant, variant.input.least - 1) == 0


def test_factors_are_found_where_there_are_any(numbered: Callable[..., Variant]) -> None:
    for preset in PRESETS:
        found = numbered(preset)
        assert "factorise-dft" in [step.rewrite for step in lowered(faithful_model(found, {}), found).applied], preset
    prime = numbered("mel_avatar", sample_rate=22050, n_fft=1102, hop_length=275)
    assert lowered(faithful_model(prime, {}), prime).applied == ()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_constant_that_all_frames_lose_costs_no_digits(preset: str, numbered: Callable[..., Variant]) -> None:
    found = numbered(preset, remove_dc=True)
    fed = waveform(found, 8000) * 0.1
    exact = Transformed(found).double()((fed + 0.5).double())
    for module in (Convolved(found), Transformed(found)):
        apart = (module(fed + 0.5) - exact).abs() / exact.abs().clamp(min=1e-3 * exact.abs().max())
        assert apart.max() < 1e-3


def run_program(variant: Variant, folder: Path, fed: np.ndarray) -> subprocess.CompletedProcess[str]:
    """The program that a made folder holds, in a process of its own."""
    data = load("mel").front_end(variant)
    for name, array in data.arrays.items():
        np.save(folder / name, array)
    (folder / "front_end.json").write_text(json.dumps(data.numbers))
    (folder / data.program_file).write_text(data.program)
    np.save(folder / "in.npy", fed)
    words = [sys.executable, "-I", str(folder / data.program_file), "in.npy", "out.npy"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True)


def test_the_program_gives_the_melspec_from_the_data(variant: Variant, tmp_path: Path) -> None:
    # Of whole hops, where a sample more or less at an end would be a frame more or less.
    hop = variant.front_end.hop_length
    fed = waveform(variant, -(-max(4321, variant.input.least) // hop) * hop)
    exact = Transformed(variant).double()(fed.double()).numpy()
    done = run_program(variant, tmp_path, fed.numpy())
    assert (done.returncode, done.stderr) == (0, "")
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), exact, rtol=1e-6, atol=1e-6)


def test_the_program_refuses_what_is_no_sound_for_it(numbered: Callable[..., Variant], tmp_path: Path) -> None:
    kaldi = numbered("mel_kaldi")
    assert "at least 400" in run_program(kaldi, tmp_path, np.zeros((1, 399), np.float32)).stderr
    assert "divided by 32768" in run_program(kaldi, tmp_path, np.zeros((1, 4000), np.int16)).stderr
    assert not (tmp_path / "out.npy").exists()


def test_whisper_s_clamp_is_against_each_clip_s_own_maximum(numbered: Callable[..., Variant]) -> None:
    module = Transformed(numbered("mel_whisper80"))
    loud, faint = waveform(numbered("mel_whisper80"), 8000) * torch.tensor([[1.0], [0.1]])
    together = module(torch.stack([loud, faint]))
    torch.testing.assert_close(together[1], module(faint[None])[0])
    # 80 dB are 8 of log10, and 2 of its quarter.
    torch.testing.assert_close(together.amin(dim=(1, 2)), together.amax(dim=(1, 2)) - 2)


def test_compiled_it_gives_the_same(numbered: Callable[..., Variant]) -> None:
    """As one graph, so that nothing in it asks the host."""
    module = Transformed(numbered("mel_whisper80", n_fft=200, hop_length=80, n_mels=20))
    fed = torch.randn(2, 3000)
    explained = torch._dynamo.explain(module)(fed)
    assert explained.graph_break_count == 0
    torch.testing.assert_close(torch.compile(module, backend="aot_eager")(fed), module(fed), rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_compiled_to_machine_code_it_gives_the_same(preset: str, numbered: Callable[..., Variant]) -> None:
    module, fed = front_end(preset), waveform(numbered(preset), 16001)
    torch.testing.assert_close(torch.compile(module, fullgraph=True)(fed), module(fed), rtol=1e-5, atol=1e-5)


def test_constants_are_buffers_and_nothing_is_learned() -> None:
    module = front_end("mel_kaldi")
    assert not list(module.parameters())
    assert {name for name, _ in module.named_buffers()} == {"mel", "window"}
    assert module.to(torch.float64)(torch.zeros(1, 400, dtype=torch.float64)).dtype == torch.float64
    # A device that computes nothing: whatever asked it for a number would fail.
    assert module.to("meta")(torch.empty(3, 1600, device="meta")).shape == (3, 80, 8)


def test_the_example_in_the_docstring_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line[8:] for line in (front_end.__doc__ or "").splitlines() if line.startswith(" " * 8)]
    assert len(lines) == 10
    monkeypatch.setattr(torch, "compile", lambda module: module)
    found: dict[str, object] = {}
    exec("\n".join(lines), found)
    assert found["frames"].shape == (4, 80, 81)
    assert "to(device)" in inspect.getdoc(front_end)


def test_numbers_that_cannot_be_are_refused() -> None:
    with pytest.raises(UserError, match=r"n_mels=0, n_mels: must be greater than 0"):
        front_end("mel_kaldi", n_mels=0)
    with pytest.raises(UserError, match="n_melts: is no number of mel_kaldi"):
        front_end("mel_kaldi", n_melts=80)


def test_a_recipe_fed_other_numbers_is_another_variant(numbered: Callable[..., Variant]) -> None:
    preset = config.find("mel_librosa")
    assert numbered("mel_librosa", n_fft=2048) == preset
    changed = numbered("mel_librosa", n_fft=1024)
    assert changed.name == "mel_librosa_changed"
    assert not changed.default
    assert replace(changed.front_end, n_fft=2048) == preset.front_end
