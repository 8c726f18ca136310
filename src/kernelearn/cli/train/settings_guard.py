"""The settings of a run kept in its checkpoint, so that nothing goes on from it with others."""

import json
from pathlib import Path
from typing import Any, ClassVar

from kernelearn.cli.train.settings import Settings
from kernelearn.errors import ArgumentError
from kernelearn.training.callbacks.base import Callback


class SettingsGuard(Callback):
    """Compares the settings that a restored checkpoint was written with to those of this training.

    Args:
        folder: of the run, for the message.
    Raises: ArgumentError, when the checkpoint is restored, if they differ.
    """

    on_first_only: ClassVar[bool] = True

    def __init__(self, settings: Settings, folder: Path) -> None:
        super().__init__()
        self.settings: dict[str, Any] = json.loads(json.dumps(settings.to_dict()))
        self._folder = folder

    def get_state(self) -> dict[str, Any]:
        """The settings, as JSON values."""
        return {"settings": self.settings}

    def set_state(self, state: dict[str, Any]) -> None:
        """Compare; an option that is newer than the checkpoint is taken as it is."""
        for name, then in state["settings"].items():
            now = self.settings.get(name)
            if now != then:
                raise ArgumentError(
                    f"The checkpoint in {str(self._folder)!r} was written with {name}={then!r}, but "
                    f"run.json says {now!r}. Put the old run.json back, or start again: kernelearn train ... "
                    "--overwrite"
                )
