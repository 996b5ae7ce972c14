"""Tags a sound with a shipped model.onnx and nothing of this project: python tag_sound.py model.onnx sound.wav

Everything it needs to know is in the file's metadata. Needs numpy, onnxruntime and soundfile.
"""

import json
import sys

import numpy as np
import onnxruntime
import soundfile

session = onnxruntime.InferenceSession(sys.argv[1])
facts = session.get_modelmeta().custom_metadata_map

sound, rate = soundfile.read(sys.argv[2], dtype="float32", always_2d=True)
if rate != int(facts["sample_rate"]):
    sys.exit(f"{sys.argv[2]}: is at {rate} Hz; resample it to {facts['sample_rate']} Hz")
waveform = sound.mean(axis=1)[np.newaxis]
if waveform.shape[1] < int(facts["least_size"]):
    sys.exit(f"{sys.argv[2]}: is too short; the model needs {facts['least_size']} samples")

(scores,) = session.run([facts["scores"]], {session.get_inputs()[0].name: waveform})
if facts["scores_kind"] == "logit":
    scores = 1 / (1 + np.exp(-scores))
labels = json.loads(facts["labels"])
for index in np.argsort(-scores[0])[:5]:
    print(f"{scores[0, index]:.4f}  {labels[index]}")  # noqa: T201
