"""What is converted: one folder per model family, and `base`, which crosses all borders."""

import os

# ONNX Runtime keeps a diary in the user's cache and sends it to its makers, unless it is told not to before it is
# imported. Whatever imports it here has imported this package before.
# https://github.com/microsoft/onnxruntime/blob/main/docs/Privacy.md
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
