"""Writers of artifacts: ONNX, simplification, Core ML. An exporter never compares."""
