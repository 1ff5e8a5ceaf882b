"""From a run to an export: one ONNX file, its card, and an example that can be replayed."""
