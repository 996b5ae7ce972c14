"""ONNX: export, opset, simplification, metadata."""
