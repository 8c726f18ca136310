"""Models in files, as text, as copies: what a model offers for it; the work is done by the modules behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from kernelearn._serializable import by_reference
from kernelearn.errors import ArgumentError
from kernelearn.initializers.from_layer import values_follow
from kernelearn.layers.core.base import LAYERS, Layer

if TYPE_CHECKING:
    from kernelearn.models.model import Model


class Stored(Layer):
    """A model that can be written down and copied."""

    metadata: dict[str, Any]

    def to_json(self, **options: Any) -> str:
        """The structure as text, from which `kernelearn.models.model_from_json` makes a new model.

        Args:
            options: for `json.dumps`, for example indent=2.
        """
        return json.dumps(LAYERS.serialize(self), **options)

    def clone(self) -> Any:
        """A new model of the same structure with copies of the weights; not compiled."""
        with values_follow(), by_reference():
            twin = LAYERS.get(LAYERS.serialize(self))
        twin.set_weights(self.get_weights())
        twin.metadata = dict(self.metadata)
        return twin

    def save(self, path: Any, overwrite: bool = True) -> None:
        """Write the model to one file, atomically: structure, weights and optimiser state.

        The ending says in which format: `.kernelearn`, or `.keras`, `.h5`, `.onnx`, `.safetensors`.
        """
        from kernelearn.models.files import save_model

        save_model(_model(self), path, overwrite)

    def export(self, filepath: Any, format: str | None = None, **options: Any) -> None:
        """Write the network for prediction elsewhere, atomically; layers are not kept, but what they compute.

        Args:
            filepath: of the file; of the folder for "standalone".
            format: "onnx", or "standalone" for NumPy code that needs no other library; None to go by the
                ending.
            options: of the format; for ONNX `input_layout` ("NHWC" or "NCHW") and `input_shape`, see
                `kernelearn.conversion.onnx.to_onnx`; for NumPy code `input_shape`, `class_names` and
                `overwrite`, see `kernelearn.conversion.standalone.export_standalone`.
        Raises: ArgumentError for another format or option, and for a layer that the format has no word for.
        """
        from kernelearn.formats.model_files import format_to_export

        format_to_export(filepath, format).function("export_model", filepath)(self, filepath, **options)

    def check_savable(self) -> None:
        """Look whether `save` can write the model down.

        Raises: ArgumentError that names the part which cannot be saved.
        """
        from kernelearn.models.files import model_config

        model_config(_model(self))
        reason = LAYERS.why_not_saved(self)
        if reason is not None:
            raise ArgumentError(reason)

    def save_weights(self, path: Any, overwrite: bool = True) -> None:
        """Write the weights alone."""
        from kernelearn.models.files import save_weights

        save_weights(_model(self), path, overwrite)

    def load_weights(
        self, path: Any, by_name: bool = False, skip_mismatch: bool = False, by_position: bool = False
    ) -> list[str]:
        """Read weights from a file of `save` or `save_weights`, or of another program.

        Args:
            by_name: take what has the name of one of this model's weights, leave the rest as it is.
            skip_mismatch: with `by_name`, leave out weights of another shape instead of raising.
            by_position: pair weights of another program by their order, where its names are not the model's.
        Returns: names of the weights read.
        """
        from kernelearn.models.files import load_weights

        return load_weights(_model(self), path, by_name, skip_mismatch, by_position)

    def __reduce__(self) -> tuple[Any, ...]:
        """Models are pickled and copied by their config, weights and training state."""
        from kernelearn.models.copying import frozen, revived

        return revived, (frozen(_model(self)),)


def _model(stored: Stored) -> Model:
    """Nothing but a `Model` is ever stored."""
    return cast("Model", stored)
