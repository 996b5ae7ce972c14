"""`convert list`: what is needed to choose a model, and all that is known of one."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from convert import catalogue
from recipes.base import config, cost
from recipes.base.spec import Variant

ROOT = Path(__file__).resolve().parents[2]
NAMES = {variant.name for variant in config.variants()}

Convert = Callable[..., Any]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOUNDPORT_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")


def listed(convert: Convert) -> dict[str, list[str]]:
    """The words of each variant's line, by its name, in order."""
    said = convert("list")
    assert (said.exit_code, said.stderr) == (0, "")
    rows = [line.split() for line in said.stdout.splitlines() if line.startswith("  ")]
    return {row[0]: row[1:] for row in rows if row and row[0] in NAMES}


def test_each_variant_is_one_line_of_eighty_columns(convert: Convert) -> None:
    said = convert("list")
    assert max(map(len, said.stdout.splitlines())) <= 80
    for name in NAMES:
        assert len(re.findall(rf"^  {name} ", said.stdout, flags=re.MULTILINE)) == 1
    assert len(said.stdout.splitlines()) < len(NAMES) + 20


def test_a_line_says_what_one_chooses_by(convert: Convert) -> None:
    rows = listed(convert)
    assert rows["mn04_as"] == ["0.98", "111", "mAP", "43.2", "4.1", "MIT", "no"]
    assert rows["mn20_as"] == ["17.91", "2059", "mAP", "47.8", "-", "MIT", "-"], (
        "it has no checksum, and is not fetched"
    )
    assert rows["mobilenetv1"] == ["4.80", "789", "mAP", "38.9", "23.6", "CC-BY-4.0", "no"]
    assert rows["mel_kaldi"] == ["-", "-", "-", "-", "MIT", "-"], "it has no weights"
    assert set(rows) == NAMES


def test_families_are_apart_and_their_variants_sorted_by_cost(convert: Convert) -> None:
    text = convert("list").stdout
    heads = re.findall(r"^(\w+) \((\w+)\) *$", text, flags=re.MULTILINE)
    assert heads == sorted((v.family, v.name) for v in config.variants() if v.default)
    order = list(listed(convert))
    for family, _ in heads:
        macs = [cost.known()[name].macs for name in order if config.find(name).family == family]
        assert macs == sorted(macs)


def test_it_says_what_is_counted(convert: Convert) -> None:
    said = " ".join(convert("list").stdout.split())
    assert "linear layers and matrix products, behind the front end, for 10 s of sound" in said
    assert "* For the longest clip that it takes, which is shorter than 10 s." in said
    marked = [row.split()[0] for row in convert("list").stdout.splitlines() if "*" in row and not row.startswith("*")]
    assert marked
    assert all(name.startswith("eat_") and not name.endswith("audioset") for name in marked)


def shown(*variants: Variant) -> str:
    console = Console(width=80)
    with console.capture() as captured:
        console.print(catalogue.table(variants))
    return captured.get()


def test_what_is_not_known_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "known", dict)
    pann = config.find("pann")
    unknown = replace(pann, published=None, source=replace(pann.source, size=None, md5=None))
    (line,) = (line for line in shown(unknown).splitlines() if line.startswith("  mobilenetv1"))
    assert line.split() == ["mobilenetv1", "-", "-", "-", "-", "CC-BY-4.0", "-"]
    assert catalogue.entry(unknown)["cost"] is None
    console = Console(width=80)
    with console.capture() as captured:
        console.print(catalogue.details(unknown))
    assert re.search(r"^parameters +- *$", captured.get(), flags=re.MULTILINE)


def test_a_clip_of_less_than_ten_seconds_is_marked() -> None:
    pann = config.find("pann")
    text = shown(replace(pann, input=replace(pann.input, most=pann.input.default - 1, default=9920)))
    assert " 789* " in text
    assert "* For the longest clip that it takes, which is shorter than 10 s." in text


@pytest.mark.parametrize(("asked", "name"), [("mn04_as", "mn04_as"), ("pann", "mobilenetv1")])
def test_a_name_shows_the_rest(convert: Convert, asked: str, name: str) -> None:
    said = convert("list", asked)
    assert (said.exit_code, said.stderr) == (0, "")
    variant, text = config.find(name), " ".join(said.stdout.split())
    assert said.stdout.startswith(f"{name}: {variant.title}\n")
    assert variant.source.url in said.stdout.splitlines(), "whole, whatever the width"
    for tensor in (variant.input, *variant.alternative_inputs, *variant.outputs):
        assert f"{tensor.name} ({', '.join(map(str, tensor.axes))})" in text
    parts = [
        variant.paper,
        variant.source.file,
        variant.licence,
        f"n_mels {variant.front_end.n_mels}",
        "onnx, c, coreml",
    ]
    for part in (*parts, variant.source.md5, variant.source.sha256, f"{cost.known()[name].macs:,} for 10 s"):
        assert part is None or part in text
    for output in variant.outputs:
        for bound in output.tolerances.values():
            assert f"atol {bound.atol:g}, rtol {bound.rtol:g}" in text
            assert bound.reason.split()[-1] in text


def test_a_name_shows_what_its_family_says_beyond_the_common_keys(convert: Convert) -> None:
    assert "dynamic True, head mlp, strides 2 2 2 2, width 0.4" in convert("list", "dymn04_as").stdout


def test_a_front_end_shows_what_can_be_set_and_no_tolerance_among_it(convert: Convert) -> None:
    text = " ".join(convert("list", "mel_kaldi").stdout.split())
    assert "win_length 400" in text
    assert "--set sample_rate, n_fft, win_length" in text
    assert "top_db, mean, scale input waveform" in text
    assert "in another order" not in text


def test_an_unknown_name_is_refused(convert: Convert) -> None:
    said = convert("list", "nothing")
    assert (said.exit_code, said.stdout) == (2, "")
    assert "there is no recipe 'nothing'" in said.stderr
    assert "Traceback" not in said.stderr


def test_json_has_all_of_it(convert: Convert) -> None:
    said = convert("list", "--json")
    assert (said.exit_code, said.stderr) == (0, "")
    entries = {entry["configuration"]["name"]: entry for entry in json.loads(said.stdout)}
    assert set(entries) == NAMES
    mn04 = entries["mn04_as"]
    assert mn04 == json.loads(convert("list", "mn04_as", "--json").stdout)
    assert mn04["cost"] == {"parameters": 983599, "macs": 110643072, "seconds": 10.0}
    assert mn04["formats"] == ["onnx", "c", "coreml", "npu", "swift", "web"]
    assert mn04["checkpoint"] == "not cached"
    assert mn04["configuration"]["outputs"]["embedding"]["axes"] == ["batch", 384]
    assert mn04["configuration"]["published"]["percent"] == 43.2
    assert entries["mn20_as"]["checkpoint"] == "by --checkpoint"


def test_the_configuration_in_json_is_the_merged_one(convert: Convert) -> None:
    for entry in json.loads(convert("list", "--json").stdout):
        configuration = entry["configuration"]
        assert config.parse(yaml.safe_dump(configuration, sort_keys=False), "merged.yaml") == config.find(
            configuration["name"]
        )


def test_it_knows_what_is_cached(convert: Convert, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.base.download._fault", lambda *_: None)
    rows = listed(convert)
    assert (rows["mobilenetv1"][-1], rows["mn04_as"][-1], rows["mn20_as"][-1]) == ("yes", "yes", "-")
    assert json.loads(convert("list", "pann", "--json").stdout)["checkpoint"] == "cached"


@pytest.mark.parametrize("words", [["list"], ["list", "pann"], ["list", "--json"]])
def test_it_imports_nothing_heavy(imported: Callable[..., Any], words: list[str]) -> None:
    said, modules = imported(*words)
    assert "mobilenetv1" in said
    assert modules.isdisjoint({"torch", "numpy", "coremltools", "onnx", "onnxruntime", "scipy"})
