"""`--to c`: a folder of sources that is made, run and checked like every artifact; what is not ours is not run."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convert.folder import entry_of
from convert.targets import c, choose_runtime, of_artifact
from exporters.c import binary
from recipes.base.errors import UserError

Convert = Callable[..., Any]


@pytest.fixture
def made(quick: list[str], convert: Convert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of PANN with its sources, made and checked as the command does."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    monkeypatch.setenv("CFLAGS", "-O1")
    done = convert(*quick, "--to", "c", "-o", tmp_path / "made", "--json")
    assert done.exit_code == 0, done.stderr
    checks = [check for check in json.loads(done.stdout)["checks"] if check["artifact"] == "c"]
    assert {check["runtime"] for check in checks if check["kind"] == "values"} == {"c"}
    assert {check["status"] for check in checks} == {"passed"}
    return tmp_path / "made"


def test_the_folder_works_like_every_artifact(made: Path, convert: Convert, sounds: Path, tmp_path: Path) -> None:
    said = {}
    for artifact in ("c", "model.onnx"):
        done = convert("run", made / artifact, sounds / "tone.wav", "--json")
        assert done.exit_code == 0, done.stderr
        said[artifact] = json.loads(done.stdout)
    assert said["c"]["runtime"] == "c"
    for ours, theirs in zip(said["c"]["top"][0], said["model.onnx"]["top"][0], strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)

    # The card's sample is code that compiles, links and runs.
    (sample,) = re.findall(r"^```c\n(.*?)^```", (made / "README.md").read_text(encoding="utf-8"), re.M | re.S)
    (tmp_path / "sample.c").write_text(sample)
    sources = [made / "c" / name for name in ("model.c", "labels.c", "weights.S")]
    sources += sorted((made / "c" / "kernels").glob("*.c"))
    words = ["cc", "-std=c99", "-O0", "-Wall", "-Werror", "-Wno-psabi", f"-I{made / 'c'}", f"-Wa,-I{made / 'c'}"]
    subprocess.run([*words, "-o", tmp_path / "sample", tmp_path / "sample.c", *sources, "-lm"], check=True)
    shown = subprocess.run([tmp_path / "sample"], check=True, capture_output=True, text=True).stdout
    assert 0 <= float(shown) <= 1

    # It may be anybody's graph, and C of it has no other bounds.
    done = convert("check", made, "--json")
    assert done.exit_code == 3
    (unseen,) = [check for check in json.loads(done.stdout)["checks"] if check["status"] == "not verified"]
    assert unseen["artifact"] == "c"
    assert (
        unseen["message"]
        == "it is a program; --run-code runs it, for folders that you trust: `convert check --run-code FOLDER`"
    )

    # A stranger's file among the kernels, whose checksum agrees, would be compiled with them.
    extra = made / "c" / "kernels" / "zz.c"
    extra.write_text("__attribute__((constructor)) static void ours(void) {}\n")
    _list(made, "c/kernels/zz.c")
    checks = _checks_of_c(convert, made)
    assert "kernels/zz.c is no file of this version" in checks["", "file"]["message"]
    assert "is not run" in checks["c", "values"]["message"]
    extra.unlink()

    # Another model's folder, whose checksums agree: it is looked at, and not run.
    program = made / "c" / "tag.c"
    program.write_text(program.read_text().replace("int main(", "int ours(int, char **);\nint main("))
    _list(made, "c/tag.c", gone="c/kernels/zz.c")
    checks = _checks_of_c(convert, made)
    assert "tag.c is not what this version makes of the graph" in checks["", "file"]["message"]
    assert checks["c", "values"]["status"] == "not verified"
    assert "is not run" in checks["c", "values"]["message"]

    # A graph of which nothing can be made is a failed check too.
    (made / "model.onnx").write_bytes(b"\xff" * 99)
    _list(made, "model.onnx")
    checks = _checks_of_c(convert, made)
    assert "model.onnx: is no graph that C is made of" in checks["", "file"]["message"]
    assert "is not run" in checks["c", "values"]["message"]


def _list(folder: Path, name: str, gone: str = "") -> None:
    """Puts a file that was changed into the folder's manifest, as who changes one can."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = entry_of(folder / name)
    manifest["files"][name] = {"size": entry.size, "sha256": entry.sha256}
    manifest["files"].pop(gone, None)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _checks_of_c(convert: Convert, folder: Path) -> dict[tuple[str, str], Any]:
    """What a check that fails says of the folder of C, by runtime and kind."""
    done = convert("check", folder, "--run-code", "--json")
    assert done.exit_code == 1, done.stderr
    found = (check for check in json.loads(done.stdout)["checks"] if check["artifact"] == "c")
    return {(check["runtime"], check["kind"]): check for check in found}


@pytest.mark.parametrize("artifact", ["odd", "c/tag-foo"])
def test_a_program_that_is_called_after_none_is_refused(artifact: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is called after no program of C"):
        c.check_file(tmp_path / artifact, None, None, ())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "runtime"),
    [
        ("c", "c"),
        ("c.melspec", "c"),
        ("tag", "native"),
        ("tag-x86_64-linux-musl", "x86_64-linux"),
        ("tag-aarch64-linux-musl", "aarch64-linux"),
        ("tag-wasm32-wasi.wasm", "node-wasi"),
    ],
)
def test_every_file_has_its_runtime(name: str, runtime: str, tmp_path: Path) -> None:
    assert of_artifact(tmp_path / name).name == "c"
    assert [found.name for found in c.TARGET.runtimes_of(name)] == [runtime]
    assert binary.target_of(name) is None or binary.file_name(str(binary.target_of(name))) == name


def test_what_is_no_artifact_of_c_is_not_taken_for_one() -> None:
    for name in ("abc", "model.c", "tags", "c2"):
        assert not c.TARGET.is_of(name)
    assert set(c._PLACES) == set(binary.TARGETS)


def test_programs_want_the_package_that_builds_them(
    convert: Convert, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(c, "find_spec", lambda name: None)
    done = convert(
        "recipe", "mn01_as", "--weights", "synthetic", "--to", "c", "--binary", "native", "-o", tmp_path / "m"
    )
    assert done.is_one_clear_error("`pip install ziglang`")
    done = convert("recipe", "mn01_as", "--weights", "synthetic", "--binary", "native")
    assert done.is_one_clear_error("--binary belongs to --to c")


def test_a_runtime_that_is_not_here_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from validators.runners import runtime

    monkeypatch.setattr(runtime.shutil, "which", lambda name: None)
    monkeypatch.setattr(runtime, "find_spec", lambda name: None)
    monkeypatch.setattr(runtime.platform, "machine", lambda: "riscv64")
    reasons = {found.name: found.absent() for found in c.TARGET.runtimes}
    assert "apt install gcc" in str(reasons["c"])
    assert "apt install qemu-user" in str(reasons["aarch64-linux"])
    assert "apt install nodejs" in str(reasons["node-wasi"])
    assert "riscv64" in str(reasons["x86_64-linux"])


@pytest.mark.slow
def test_static_programs_answer_as_the_model_does(
    convert: Convert, real_weights: Any, recordings: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ziglang")
    places = [word for place in binary.TARGETS for word in ("--binary", place)]
    checkpoint = real_weights("mn04_as")
    done = convert(
        "recipe", "mn04_as", "--checkpoint", checkpoint, "--to", "c", *places, "-o", tmp_path / "m", "--json"
    )
    assert done.exit_code == 0, done.stdout[-2000:]
    programs = {c["artifact"] for c in json.loads(done.stdout)["checks"]} & {
        binary.file_name(t) for t in binary.TARGETS
    }
    assert len(programs) == 4
    sound = (recordings / "typing.wav").read_bytes()
    program = tmp_path / "m" / "c" / "tag"
    said = subprocess.run([program, "--top", "1"], input=sound, capture_output=True, check=True, text=False).stdout
    assert said == b"0.8912  Computer keyboard\n"
    # The same with nothing else in the world.
    if shutil.which("unshare"):
        (tmp_path / "root").mkdir()
        shutil.copy(program, tmp_path / "root")
        alone = ["unshare", "--user", "--map-root-user", "chroot", tmp_path / "root", "/tag", "--top", "1"]
        done = subprocess.run(alone, input=sound, capture_output=True)
        if b"unshare" not in done.stderr:
            assert done.stdout == said
    for name in ("tag-x86_64-linux-musl", "tag-wasm32-wasi.wasm"):
        path = tmp_path / "m" / "c" / name
        if choose_runtime(path).absent() is None:
            done = convert("run", path, recordings / "typing.wav", "--top", "1")
            assert done.stdout.startswith("0.891"), done.stderr
