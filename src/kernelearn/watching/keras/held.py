"""Weights and the optimiser's arrays as they were before a step whose layout is known only behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kernelearn.watching.seen import Array

Read = Callable[[], Array]


class Held:
    """Readers that give what was kept, until it is released; then what there is now."""

    def __init__(self) -> None:
        self._kept: dict[str, Array] = {}

    def reader(self, key: str, read: Read) -> Read:
        """A reader of one array."""

        def now() -> Array:
            return self._kept[key] if key in self._kept else read()

        return now

    def keep(self, reads: Mapping[str, Read]) -> None:
        """Keep all of these as they are now."""
        self._kept = {key: read() for key, read in reads.items()}

    @property
    def arrays(self) -> Mapping[str, Array]:
        """What is kept."""
        return self._kept

    def release(self) -> None:
        """From here on readers give what there is now."""
        self._kept = {}
