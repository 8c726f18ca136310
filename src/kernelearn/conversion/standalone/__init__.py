"""A network as a folder that needs NumPy alone: `predict.py`, one readable file, and `weights.npz`."""

from kernelearn.conversion.standalone.exporting import export_model as export_model
from kernelearn.conversion.standalone.exporting import export_standalone as export_standalone

__all__ = ["export_model", "export_standalone"]
