"""ONNX files, in and out.

`to_onnx` and `export_model` write the program of a prediction, operator by operator (`writing`);
`from_onnx` and `load_model` make layers of nodes (`reading`).
"""

from __future__ import annotations

from typing import Any

from kernelearn.conversion.onnx.reading.model import from_onnx as from_onnx
from kernelearn.conversion.onnx.reading.model import load_model as load_model
from kernelearn.conversion.onnx.writing.model import export_model as export_model
from kernelearn.conversion.onnx.writing.model import to_onnx as to_onnx
from kernelearn.storage import PathLike

__all__ = ["export_model", "from_onnx", "load_model", "save_model", "to_onnx"]


def save_model(model: Any, path: PathLike) -> None:
    """Write a model as an ONNX file with the usual options; see `export_model`, also for what it raises."""
    export_model(model, path)
