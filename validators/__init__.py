"""Judges of artifacts: reference dumps, runners, comparison, rules. A validator never exports."""

import recipes  # noqa: F401  (what must be set before ONNX Runtime is imported)
