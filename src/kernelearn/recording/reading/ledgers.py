"""Ledgers and feature maps of a run: the factors of a gradient, and what the probe images gave."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.recording.factors import Factors, Part, StageRecord
from kernelearn.recording.reading.numbers import RecordedNumbers
from kernelearn.recording.reading.records import steps_in_words
from kernelearn.recording.reading.steps import RecordedSteps
from kernelearn.recording.schedule import Stream


class RecordedLedgers(RecordedNumbers, RecordedSteps):
    """Ledgers and feature maps of a run; see `Run`."""

    def ledger(self, layer: str, step: int, weight: str = "kernel") -> Factors:
        """The factors of the gradient of a weight at a step.

        Raises: ArgumentError for a step without them, or a weight that no convolution or dense operator uses.
        """
        name = self._name(layer, weight)
        uses = self._about(step).get("uses", {})
        if name not in uses:
            raise self._without_ledger(layer, name, step, uses)
        use, batch = uses[name], self.batch(step)
        parts = tuple(self._part(values, step) for values in use["parts"])
        bias = use.get("bias")
        return Factors(
            parts[0].kind,
            parts[0].x,
            parts[0].delta,
            gradient=self.read(Stream.GRADIENTS, name, step),
            bias_gradient=None if bias is None else self.read(Stream.GRADIENTS, bias, step),
            attrs=parts[0].attrs,
            images=batch.images,
            labels=batch.labels,
            layer=layer,
            weight=name.rpartition("/")[2],
            step=int(step),
            parts=parts,
            kernel_shape=tuple(use["kernel_shape"]),
        )

    def _without_ledger(self, layer: str, name: str, step: int, uses: Iterable[str]) -> Exception:
        """Why there is no ledger of a weight at a step."""
        weight = name.rpartition("/")[2]
        there, is_frozen = self.ledger_steps_of(layer, weight), self.is_frozen(layer, step, weight)
        if not (len(there) or is_frozen):
            return unknown_name("weight with a ledger", name, uses)
        why = "was frozen" if is_frozen else "was not recorded"
        return ArgumentError(
            f"{name} {why} at step {step}, so that there is no ledger of it. "
            + (f"Steps with one are {steps_in_words(there)}." if len(there) else "There is none in this run.")
        )

    def _part(self, values: dict[str, Any], step: int) -> Part:
        own = values.get("gradient")
        return Part(
            values["kind"],
            self.read(Stream.LEDGER, values["x"], step),
            self.read(Stream.LEDGER, values["delta"], step),
            {key: _tuples(value) for key, value in values["attrs"].items()},
            None if own is None else self.read(Stream.LEDGER, own, step),
        )

    def stages(self, layer: str, step: int, weight: str = "kernel") -> tuple[StageRecord, ...]:
        """What the step of a ledger had at the places behind a kernel: winners of pooling, errors from above.

        Returns: () for runs of earlier versions, and for layers that are called several times.
        Raises: ArgumentError for a step without a ledger.
        """
        uses = self._about(step).get("uses", {}).get(self._name(layer, weight), {})
        return tuple(self._stage(values, step) for values in uses.get("stages", ()))

    def _stage(self, values: dict[str, Any], step: int) -> StageRecord:
        arrays = {
            key: None if values.get(key) is None else self.read(Stream.LEDGER, values[key], step)
            for key in ("value", "winner", "delta")
        }
        attrs = {key: _tuples(value) for key, value in values["attrs"].items()}
        return StageRecord(values["name"], values["operator"], values["layer"], attrs, **arrays)

    def maps(self, layer: str, step: int) -> np.ndarray:
        """(images, ...) output of a layer for the probe images, in inference mode."""
        return self.read(Stream.MAPS, layer, step)

    @property
    def map_layers(self) -> list[str]:
        """Layers whose feature maps are recorded."""
        return self.fields(Stream.MAPS)

    @property
    def probe_images(self) -> Any:
        """(images, ...) whose feature maps are recorded; a list for several inputs of the model; or None."""
        found = [self._probe(name) for name in self.fields(Stream.PROBES) if name != "ids"]
        return found if len(found) > 1 else found[0] if found else None

    @property
    def probe_ids(self) -> np.ndarray | None:
        """(images,) int64 numbers of the probe images as in `batch`, -1 for those given by hand; or None."""
        return self._probe("ids")

    def _probe(self, field: str) -> np.ndarray | None:
        for segment in reversed(self._segments):
            numbers = segment.numbers(Stream.PROBES)
            if len(numbers):
                return segment.streams[Stream.PROBES].read(int(numbers[-1]), field)
        return None


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that operators take."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
