"""Writers of artifacts, a package per format, and the form that is shipped. An exporter never compares."""

import recipes  # noqa: F401  (what must be set before ONNX Runtime is imported)
