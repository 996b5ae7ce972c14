"""Writers of artifacts: ONNX, simplification, Core ML. An exporter never compares."""

import recipes  # noqa: F401  (what must be set before ONNX Runtime is imported)
