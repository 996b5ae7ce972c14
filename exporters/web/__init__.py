"""A page that tags sound in the browser: its own files, ONNX Runtime Web, a model and its facts; docs/web.md."""
