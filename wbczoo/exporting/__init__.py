"""From a run to an export: one ONNX file, its card, and an example that can be replayed."""

from wbczoo.exporting.export import export

__all__ = ["export"]
