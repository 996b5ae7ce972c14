"""A page that tags sound in the browser: its own files, ONNX Runtime Web, a model and what is said of it; docs/web.md."""
