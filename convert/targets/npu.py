"""NPU: what SigmaStar's compiler takes, a folder of fixed shapes; ONNX Runtime stands in for the vendor's simulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

from convert.targets.target import SECONDS, Job, Product, Settings, Target, refuse_seconds
from recipes.base.errors import UserError
from validators.runners.runtime import Runtime

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from convert.manifest import Artifact, Manifest
    from convert.subject import Branch
    from recipes.base.spec import Variant
    from recipes.base.tensor import Input, Output
    from validators.results import Check
    from validators.values import Case

_SAMPLE = """## `{file}` in SigmaStar's toolchain

The tools write beside what they read: work on a copy of the pack. `CHIP` is yours. `docs/npu.md` of soundport says what
each file is.

```sh
pack="$(mktemp -d)" && cp -r "$(dirname {file})/." "$pack" && cd "$pack"
python3 "$SGS_IPU_DIR/Scripts/ConvertTool/ConvertTool.py" onnx --model_file {stem}.onnx --input_shapes {sizes} \\
    --input_config input_config.ini --output_file net_float.sim --soc_version CHIP
python3 "$SGS_IPU_DIR/Scripts/calibrator/calibrator.py" -i calibration -m net_float.sim \\
    --input_config input_config.ini -n raw_preprocess.py --soc_version CHIP
python3 "$SGS_IPU_DIR/Scripts/calibrator/compiler.py" -m net_fixed.sim --soc_version CHIP
```
"""

_GENERATED = (
    "{folder}/calibration holds generated sound{why}: enough to run the vendor's tools, but ranges that it sets "
    "may not suit your sounds; --audio FILE, once for each recording, calibrates on these"
)


def refuse(settings: Settings, variant: Variant) -> None:
    """Raises UserError for a length that the variant does not take, and where no length is given and it takes many."""
    refuse_seconds(settings, variant)
    if settings["seconds"] is None and not variant.input.fixed:
        least, most = (count / variant.sample_rate for count in (variant.input.least, variant.input.most))
        raise UserError(
            f"--to npu: the NPU takes sound of one length and {variant.title} any of {least:g} to {most:g} s; "
            "choose it with --seconds S"
        )


def make(job: Job) -> Product:
    """The pack, a folder with everything that the vendor's tools read."""
    import onnx

    from convert.manifest import Artifact
    from exporters.npu import pack
    from exporters.npu.graph import OPSET, fix, not_converted
    from exporters.onnx.export import export
    from exporters.onnx.metadata import describe

    branch, variant = job.branch, job.branch.variant
    seconds = cast("float | None", job.settings["seconds"])
    size = variant.input.least if seconds is None else branch.size(round(seconds * variant.sample_rate))
    folder = job.folder / f"npu{branch.stem.removeprefix('model')}"
    folder.mkdir()
    name = f"{branch.stem}.npu.onnx"
    with job.step("NPU pack"):
        model = fix(export(job.lowered, variant, OPSET), variant, size)
        describe(model, variant, branch.facts)
        onnx.save(model, str(folder / name))
        pack.write_configuration(folder, variant, name, size)
        fitting = [case for case in branch.cases if _fed(case).shape[-1] == size]
        recordings = _clips(branch.recordings, size, padded=variant.preparation is not None)
        pack.write_raw(folder / pack.CALIBRATION, recordings or _rows(fitting))
        pack.write_raw(folder / pack.INPUTS, _rows(fitting))
        pack.write_expected(folder / pack.EXPECTED, _answers(branch, fitting))

    warnings = []
    if not recordings:
        why = ", since the recordings are shorter than the input" if branch.recordings else ""
        warnings.append(_GENERATED.format(folder=folder.name, why=why))
    if unknown := not_converted(model):
        warnings.append(f"{folder.name}/{name}: the vendor's converter is not known to take {', '.join(unknown)}")
    left = [case.name for case in branch.cases if _fed(case).shape[-1] != size]
    return Product(
        {f"{folder.name}/{name}": Artifact(TARGET.name, variant.input.name, "fp32", size, dict(job.settings))},
        notes=(f"{folder.name}: of another length, and so not in inputs and expected: {', '.join(left)}",)
        if left
        else (),
        warnings=tuple(warnings),
    )


def _fed(case: Case) -> np.ndarray:
    (array,) = case.inputs.values()
    return array


def _clips(recordings: Mapping[str, np.ndarray], size: int, padded: bool) -> dict[str, np.ndarray]:
    """Each cut into as many clips of that size as it holds; what is left over is padded with zeros or left out."""
    import numpy as np

    clips = {}
    for name, array in recordings.items():
        if padded:
            zeros = [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % size)]
            array = np.pad(array, zeros)
        starts = range(0, array.shape[-1] - size + 1, size)
        for start in starts:
            called = name if len(starts) == 1 else f"{name}.{start // size + 1}"
            clips[called] = array[..., start : start + size]
    return clips


def _rows(cases: list[Case]) -> dict[str, np.ndarray]:
    """What each row of each case's batch is fed, as a batch of its own; rows are called as their sounds are."""
    return {name: _fed(case)[index : index + 1] for case in cases for index, name in enumerate(_names(case))}


def _names(case: Case) -> list[str]:
    rows = len(_fed(case))
    return [case.name if rows == 1 else f"{case.name}.{row + 1}" for row in range(rows)]


def _answers(branch: Branch, cases: list[Case]) -> dict[str, dict[str, np.ndarray]]:
    """What PyTorch answers to each row, by output: the reference, or the model again where the reference is in part."""
    from validators.compare import Sampled
    from validators.runners.pytorch import answers

    rows = {}
    for case in cases:
        kept = {name: Sampled.of(value) for name, value in case.expected.items()}
        if all(value.stride == 1 for value in kept.values()):
            outputs = {name: value.values.reshape(value.shape) for name, value in kept.items()}
        else:
            outputs = answers(branch.model, case.inputs)
        for index, name in enumerate(_names(case)):
            rows[name] = {output.name: outputs[output.name][index : index + 1] for output in branch.variant.outputs}
    return rows


def check_file(path: Path, artifact: Artifact, tensor: Input, outputs: tuple[Output, ...]) -> list[Check]:
    from exporters.npu.graph import OPSET
    from validators.npu_pack import check_npu_pack

    assert artifact.size is not None
    return check_npu_pack(path, tensor, outputs, artifact.size, OPSET)


def _is_the_vendors() -> str:
    return (
        "SigmaStar's simulator comes with its toolchain alone and is not run from here, so that the quantised model is "
        "unseen; run simulator.py on the pack, and `convert compare` on what it writes"
    )


def remarks(artifact: Artifact, manifest: Manifest) -> str:
    return (
        "It takes one clip at a time. Beside it lie the compiler's configuration, sounds to calibrate on and, for each "
        "case, the raw input and the expected outputs, in NHWC order where there are four axes."
    )


TARGET = Target(
    name="npu",
    title="SigmaStar NPU",
    suffix=".npu.onnx",
    packages=("onnx", "onnxruntime", "onnxsim"),
    runtimes=(
        Runtime("sgs-simulator", "", _is_the_vendors),
        # On the graph of the pack, before the vendor's tools have converted and quantised it.
        Runtime("onnxruntime-stand-in", "validators.runners.onnxruntime:open_file"),
    ),
    make=make,
    check_file=check_file,
    sample=_SAMPLE,
    options=(SECONDS,),
    refuse=refuse,
    remarks=remarks,
)
