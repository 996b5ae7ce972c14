"""Tags a sound with a shipped model.onnx and nothing of this project: python tag_sound.py model.onnx sound.wav

Everything it needs to know is in the file's metadata. Needs numpy, onnxruntime and soundfile.
"""

import json
import os
import sys

import numpy as np
import soundfile

# ONNX Runtime looks for it when it is imported; it would send what it counts to its makers.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
facts = session.get_modelmeta().custom_metadata_map
if "scores" not in facts:
    given = ", ".join(port.name for port in session.get_outputs())
    sys.exit(f"{sys.argv[1]}: gives {given} and no class scores to tag with; make it again with all of its outputs")

sound, rate = soundfile.read(sys.argv[2], dtype="float32", always_2d=True)
if rate != int(facts["sample_rate"]):
    sys.exit(f"{sys.argv[2]}: is at {rate} Hz; resample it to {facts['sample_rate']} Hz")
waveform, port = sound.mean(axis=1), session.get_inputs()[0]
if "peak" in facts:
    # The network takes one length: the peak is set, and then the sound is cut or padded with zeros.
    waveform = np.float32(facts["peak"]) * (waveform / (np.abs(waveform).max(initial=0) or 1))
    waveform = np.pad(waveform[: port.shape[-1]], (0, max(0, port.shape[-1] - len(waveform))))
if len(waveform) < int(facts["least_size"]):
    sys.exit(f"{sys.argv[2]}: is too short; the model needs {facts['least_size']} samples")

(scores,) = session.run([facts["scores"]], {port.name: waveform.reshape(1, *[1] * (len(port.shape) - 2), -1)})
if facts["scores_kind"] == "logit":
    scores = 1 / (1 + np.exp(-scores))
elif facts["scores_kind"] == "multiclass_logit":
    scores = np.exp(scores) / np.exp(scores).sum()
labels = json.loads(facts["labels"])
for index in np.argsort(-scores[0])[:5]:
    print(f"{scores[0, index]:.4f}  {labels[index]}")  # noqa: T201
