"""Reads a recorded run: weights, gradients, factors and all else of any step, straight from the files.

`Run` is what one asks; the answers stand in `reading`, one subject a file.
"""

from __future__ import annotations

import importlib
from typing import Any

from kernelearn import _notebook
from kernelearn.recording.reading.ledgers import RecordedLedgers
from kernelearn.recording.reading.models import RecordedModels
from kernelearn.recording.reading.numbers import Batch
from kernelearn.recording.reading.optimizers import RecordedOptimizers
from kernelearn.recording.reading.weights import RecordedWeights
from kernelearn.recording.schedule import SCHEDULED, Stream

__all__ = ["Batch", "Run"]


class Run(RecordedWeights, RecordedOptimizers, RecordedLedgers, RecordedModels):
    """A recorded run; it may still be growing, see `refresh`.

    Step k is the k-th update: the weights at step k are those after it, step 0 is the initial state, and the
    ledger of step k explains the change from k-1 to k.

    Args:
        path: folder of the run, or of a training made with `kernelearn train --record`.
    Attributes:
        manifest: what the run says about itself.
        about: what it says of itself as a whole: model, classes, shapes of the weights.
    Raises: ArgumentError if there is no such folder; FormatError if it is no run, damaged or from a newer
        version. Records that are damaged are left out, with a warning; see `problems`.
    """

    def widget(self, **options: Any) -> Any:
        """The microscope over this run, for the last line of a notebook cell.

        Args:
            options: steps, ledgers, max_bytes, height: see `kernelearn.view.page.widget.widget`.
        """
        return _of_view("page.widget").widget(self, **options)

    def export_page(self, path: Any, **options: Any) -> Any:
        """Write the microscope over this run as one HTML file.

        Args:
            path: of the file; it ends in .html.
            options: steps, ledgers, max_bytes, lessons: see `kernelearn.view.export_page`.
        Returns: an object with `path`, and `holds`: what of the run the file holds, in words.
        """
        return _of_view("page.exporting").export(self, path, **options)

    def _repr_html_(self) -> str:
        counts = {name: len(self.stream_steps(name)) for name in (Stream.STEPS, *SCHEDULED)}
        rows = [[name, count] for name, count in counts.items() if count]
        full = [f"Full history: {', '.join(self.full_layers)}"] if self.full_layers else []
        notes = [f"Layers: {', '.join(self.layers)}", *full, *self.problems]
        title = f"Run {str(self.folder)!r}: {self.last_step} updates, {self.status}"
        return _notebook.table(title, ["recorded", "steps"], rows, notes)

    def __repr__(self) -> str:
        return (
            f"<Run {str(self.folder)!r}: {self.last_step} updates, {len(self.layers)} layers, {self.status}>"
        )


def _of_view(module: str) -> Any:
    """A module of `view`. NOTE: the one look upwards here, by name and on use alone."""
    return importlib.import_module(f"kernelearn.view.{module}")
