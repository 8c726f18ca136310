"""`.pt` and `.pth`: state dicts of PyTorch. Read by its unpickler for weights alone, which runs no code."""

from __future__ import annotations

import os
from typing import Any

from kernelearn._optional import require
from kernelearn.conversion.torch.states import as_arrays, assign, held, to_torch_state_dict
from kernelearn.errors import FormatError, MissingDependencyError
from kernelearn.formats.foreign import open_plain
from kernelearn.models import Model
from kernelearn.storage import atomic_write


def tensors_of(path: Any) -> Any:
    """The state dict of a file.

    Raises: FormatError if it is damaged, holds more than tensors, or asks for code to be run.
    """
    torch = require("torch", "reading files of PyTorch")
    with open_plain(path, FormatError) as file:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
        except MissingDependencyError:
            raise
        except Exception as cause:
            raise FormatError(
                f"{os.fspath(path)!r} cannot be read as weights alone ({type(cause).__name__}). A whole "
                "module is "
                "code, which is not run here: save its weights with torch.save(module.state_dict(), path)."
            ) from cause
    return held(content, path)


def load_weights(
    model: Model, path: Any, by_name: bool = False, skip_mismatch: bool = False, by_position: bool = False
) -> list[str]:
    """Weights of a file into a model, by name; see `Model.load_weights`."""
    arrays = as_arrays(tensors_of(path))
    pairs = assign(model, arrays, None, not by_name, by_position, skip_mismatch)
    return list(pairs)


def save_weights(model: Model, path: Any) -> None:
    """The state dict of `to_torch(model)`, as a file that PyTorch loads."""
    torch = require("torch", "writing files of PyTorch")
    tensors = to_torch_state_dict(model)
    with atomic_write(path) as file:
        torch.save(tensors, file)
    model.note_saved()
