"""Speed, as ratios measured side by side: `make bench` writes `results.md`, `results.json` and the charts."""

import recipes  # noqa: F401  (what must be set before ONNX Runtime is imported)
