"""Reads a recorded run: weights, gradients, factors and all else of any step, straight from the files."""

from __future__ import annotations

import importlib
import time
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

from kernelearn import _notebook
from kernelearn.engine.operators import OPERATORS
from kernelearn.errors import ArgumentError, FormatError, UnknownNameError, unknown_name
from kernelearn.formats.foreign import refused
from kernelearn.locks import is_locked
from kernelearn.recording.about import RunAbout
from kernelearn.recording.factors import Factors, Part, StageRecord
from kernelearn.recording.files.events import Event, read_events
from kernelearn.recording.files.manifest import MANIFEST, read_manifest, run_folder
from kernelearn.recording.files.segment import Segment
from kernelearn.recording.files.streams import StreamReader
from kernelearn.recording.files.writer import EVENTS
from kernelearn.recording.interventions import BY_HAND, SET_ELSEWHERE, Intervention, of_events, variable_of
from kernelearn.recording.schedule import SCHEDULED, Stream
from kernelearn.recording.weights import Weights

_TICK_NS = 100_000_000
_NOT_SCALARS = ("images", "labels", "has_labels")

Trace = tuple[np.ndarray, np.ndarray]


class Batch(NamedTuple):
    """What a step was trained on.

    images: (n,) int64, row numbers in the data that `fit` was given; for a stream, which has no rows, numbers
        in the order in which images came.
    labels: (n,) int64 class numbers, or None for other targets.
    """

    images: np.ndarray
    labels: np.ndarray | None


class Run:
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

    def __init__(self, path: Any) -> None:
        self.folder = run_folder(path)
        self._stamp: Any = None
        self.manifest: dict[str, Any] = {}
        self.about = RunAbout()
        self._segments: list[Segment] = []
        self._events: list[Event] = []
        self._damaged_events = 0
        self._events_stamp: Any = None
        self._interventions: list[Intervention] | None = None  # of the events, once somebody asked
        self._warned: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Take in what was recorded since."""
        stat = (self.folder / MANIFEST).stat()
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp != self._stamp:
            self.manifest = read_manifest(self.folder)
            with refused(repr(str(self.folder / MANIFEST)), FormatError):
                run = int(self.manifest["run"], 16)
                self._segments = [Segment(self.folder, about, run) for about in self.manifest["segments"]]
                self.about = RunAbout.from_manifest(self.manifest["about"], self._recorded_shapes())
            self._stamp = stamp
        for segment in self._segments:
            segment.refresh()
        self._refresh_events()
        self._tell_problems()

    def _refresh_events(self) -> None:
        """Read the events again where their file has changed."""
        try:
            stat = (self.folder / EVENTS).stat()
            stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        except OSError:
            stamp = None
        # NOTE: a file that was written just now may be written again within the same tick of its clock.
        is_settled = stamp is not None and time.time_ns() - stamp[0] > _TICK_NS
        if stamp is None or stamp != self._events_stamp:
            self._events, self._damaged_events = read_events(self.folder / EVENTS)
            self._interventions = None
            self._events_stamp = stamp if is_settled else None

    # --- what there is

    @property
    def layers(self) -> list[str]:
        """Names of the layers whose weights are recorded, in the order of the model."""
        found = {name: None for segment in self._segments for name in segment.about.get("layers", {})}
        found.update((name.rpartition("/")[0], None) for name in self.fields(Stream.KERNELS))
        of_model = dict.fromkeys(path.rpartition("/")[0] for path in self.about.weights)
        return [*(name for name in of_model if name in found), *(n for n in found if n not in of_model)]

    def weights(self, layer: str) -> list[str]:
        """Names of the recorded weights of a layer, such as ["kernel", "bias"]."""
        names = [n.rpartition("/")[2] for n in self.fields(Stream.KERNELS) if n.rpartition("/")[0] == layer]
        if not names:
            raise unknown_name("recorded layer", layer, self.layers)
        return names

    def _recorded_shapes(self) -> dict[str, tuple[int, ...]]:
        streams = [s.streams[Stream.KERNELS] for s in self._segments if Stream.KERNELS in s.streams]
        return {f.name: f.sizes(1) for stream in streams for f in stream.layout.fields}

    @property
    def steps(self) -> np.ndarray:
        """(steps,) int64: those at which weights are recorded, 0 first."""
        return self.stream_steps(Stream.KERNELS)

    def weight_steps(self, layer: str, weight: str = "kernel") -> np.ndarray:
        """(steps,) int64: those of `steps` at which a weight is known: recorded, or frozen and so known."""
        return self._weights.steps(self._name(layer, weight))

    def gradient_steps_of(self, layer: str, weight: str = "kernel") -> np.ndarray:
        """(steps,) int64: those of `gradient_steps` with the gradient of a weight."""
        return self._field_steps(Stream.GRADIENTS, self._name(layer, weight))

    def ledger_steps_of(self, layer: str, weight: str = "kernel") -> np.ndarray:
        """(steps,) int64: those of `ledger_steps` with the factors of a weight."""
        name = self._name(layer, weight)
        having = [s.steps(Stream.LEDGER) for s in self._segments if name in s.about.get("uses", {})]
        return np.unique(np.concatenate(having)) if having else np.zeros(0, np.int64)

    def state_steps_before(self, layer: str, weight: str = "kernel") -> np.ndarray:
        """(steps,) int64: updates of a weight before which the optimiser's arrays are recorded."""
        name = self._name(layer, weight)
        found = [_updates_with_state(segment, name) for segment in self._segments]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    def is_split(self, layer: str, step: int, weight: str = "kernel") -> bool:
        """Whether the weights on both sides of an update are known, and its gradient."""
        name = self._name(layer, weight)
        sides = all(self._weights.is_known(name, k) for k in (step - 1, step))
        return sides and self.has(Stream.GRADIENTS, name, step)

    def is_frozen(self, layer: str, step: int, weight: str = "kernel") -> bool:
        """Whether an update left a weight alone because it was not trained then."""
        segment = self._segment_of(step)
        return segment is not None and segment.is_held(self._name(layer, weight))

    @property
    def full_layers(self) -> list[str]:
        """Layers of the last fit with a full history: every update of their weights can be explained."""
        steps = self.stream_steps(Stream.FULL)
        is_whole = len(steps) > 1 and len(steps) == self.last_step - int(steps[0]) + 1
        return list(self._last().get("full_layers", [])) if is_whole else []

    @property
    def ledger_steps(self) -> np.ndarray:
        """(steps,) int64: those with the factors of the gradients."""
        return self.stream_steps(Stream.LEDGER)

    @property
    def gradient_steps(self) -> np.ndarray:
        """(steps,) int64: those with gradients."""
        return self.stream_steps(Stream.GRADIENTS)

    @property
    def map_steps(self) -> np.ndarray:
        """(steps,) int64: those with feature maps of the probe images."""
        return self.stream_steps(Stream.MAPS)

    @property
    def model_steps(self) -> np.ndarray:
        """(steps,) int64: those with all weights of the model, so that `model(step)` can give it."""
        return self.stream_steps(Stream.SNAPSHOTS)

    @property
    def last_step(self) -> int:
        """Number of updates recorded; 0 before the first."""
        return max((segment.last_step for segment in self._segments), default=0)

    @property
    def status(self) -> str:
        """ "recording" (a process writes now), "finished", "interrupted" or "stopped" (killed)."""
        return "recording" if is_locked(self.folder) else self.ending

    @property
    def ending(self) -> str:
        """ "finished", "interrupted" or "stopped" (without an end), also while a process writes."""
        ends = [e["kind"] for e in self._events if e["kind"] in ("begun", "finished", "interrupted")]
        return "stopped" if not ends or ends[-1] == "begun" else ends[-1]

    @property
    def events(self) -> list[Event]:
        """What happened besides steps, in order: dicts with "kind", "step", "time" and more."""
        return list(self._events)

    @property
    def problems(self) -> list[str]:
        """What is damaged, in words; empty for a sound run. `check` looks at every byte first."""
        lines = [line for segment in self._segments for line in segment.problems()]
        if self._damaged_events:
            lines.append(f"{EVENTS}: {self._damaged_events} lines are damaged")
        return lines

    def check(self) -> list[str]:
        """Read everything and compare it with its checksums; gives `problems`."""
        for segment in self._segments:
            for stream in segment.streams.values():
                for number in range(len(stream)):
                    stream.is_whole(number)
        return self.problems

    def frozen_updates(self, layer: str, first: int, last: int, weight: str = "kernel") -> int:
        """How many of the updates from first to last left a weight alone because it was not trained then."""
        name = self._name(layer, weight)
        held = (segment for segment in self._segments if segment.is_held(name))
        return sum(max(0, min(last, s.last_step) - max(first - 1, s.start)) for s in held)

    # --- weights

    def kernels(self, layer: str, step: int, weight: str = "kernel") -> np.ndarray:
        """A weight of a layer at a step, exactly as it was.

        A weight that was frozen for a part of the run is known there too: it stayed as it was.

        Args:
            weight: name of the weight; "kernel" also finds the only kernel of a layer, however it is called.
        Raises: ArgumentError if the step is not recorded, FormatError if its record is damaged.
        """
        name = self._name(layer, weight)
        found = self._weights.value(name, int(step))
        return self.read(Stream.KERNELS, name, step) if found is None else found

    def trace(self, layer: str, index: Any = (), weight: str = "kernel") -> Trace:
        """(steps, values) of one number of a weight, or of part of it, over all recorded steps.

        Args:
            index: (i, j, c, f) of a number; fewer indices or slices give arrays, () the whole weight.
        """
        place = index if isinstance(index, tuple) else (index,)
        # NOTE: where a layer was frozen behind an edit, the new stretch begins with what was edited.
        return _joined(self._weights.columns(self._name(layer, weight), place), is_first=True)

    def column(self, stream: str, field: str, index: Any = ()) -> Trace:
        """(steps, values) of one field of all whole records of a stream, or of part of it."""
        place = index if isinstance(index, tuple) else (index,)
        return _joined([self._column(s, stream, field, place) for s in self._having(stream, field)])

    def update(self, layer: str, step: int, weight: str = "kernel") -> np.ndarray:
        """W_step - W_(step-1), in float64.

        Raises: ArgumentError unless both are recorded.
        """
        after = self.kernels(layer, step, weight).astype(np.float64)
        return np.asarray(after - self.kernels(layer, step - 1, weight))

    @property
    def interventions(self) -> list[Intervention]:
        """What was done to the training by hand, in order; `recording.Interventions` does it again."""
        if self._interventions is None:
            self._interventions = of_events(self._events)
        return list(self._interventions)

    def by_hand(self, layer: str, step: int, weight: str = "kernel") -> list[Intervention]:
        """What was done by hand to a weight between the updates step-1 and step."""
        name = self.weight_name(layer, weight)
        return [
            one
            for one in self.interventions
            if one.kind in BY_HAND and one.step == step - 1 and (one.layer, one.weight) == (layer, name)
        ]

    def weight_before(self, layer: str, step: int, weight: str = "kernel") -> np.ndarray:
        """The weight that the update of a step began with: that of step-1, with what was done by hand since.

        Raises: as `kernels`.
        """
        found = self.kernels(layer, step - 1, weight)
        segment = self._segment_of(step)
        if segment is not None and self.was_set(layer, step, weight):  # a segment begins with what was set
            own = segment.find(Stream.KERNELS, self._name(layer, weight), step - 1)
            found = found if own is None else own[0].read(own[1], own[2])
        for done in self.by_hand(layer, step, weight):
            found = done.changed(found)
        return found

    def was_set(self, layer: str, step: int, weight: str = "kernel") -> bool:
        """Whether the other program's code set a weight between the updates step-1 and step."""
        name = self._name(layer, weight)
        told = (event for event in self._events if event["kind"] == SET_ELSEWHERE)
        return any(event["step"] == step - 1 and name in event["paths"] for event in told)

    def gradient(self, layer: str, step: int, weight: str = "kernel") -> np.ndarray:
        """dL/d(weight) of a step, as the engine computed it, before clipping."""
        return self.read(Stream.GRADIENTS, self._name(layer, weight), step)

    def gradient_trace(self, layer: str, index: Any = (), weight: str = "kernel") -> Trace:
        """(steps, values) of one number of a gradient, or of part of it, over all steps that have it."""
        return self.column(Stream.GRADIENTS, self._name(layer, weight), index)

    def global_norm(self, step: int) -> float | None:
        """Norm of all gradients of a step together; None unless the optimiser clips by it."""
        found = self._record(Stream.GRADIENTS, "global_norm", step)
        return None if found is None else float(found[0].read(found[1], found[2]))

    # --- optimiser

    @property
    def optimizer(self) -> dict[str, Any]:
        """The optimiser of the last fit: "kind" of its update operator, "attrs", "clipping", "config"."""
        return self.optimizer_of(None)

    def optimizer_of(self, step: int | None) -> dict[str, Any]:
        """The optimiser that did an update, as `optimizer`; fits of one run may have different ones."""
        return dict(self._about(step).get("optimizer", {}))

    @property
    def optimizers(self) -> dict[int, dict[str, Any]]:
        """First update -> optimiser, for every stretch of the run that has one of its own."""
        found: dict[int, dict[str, Any]] = {}
        for segment in self._segments:
            own = dict(segment.about.get("optimizer", {}))
            if not found or own != list(found.values())[-1]:
                found[segment.start + 1] = own
        return found

    def update_rule(self, layer: str, step: int | None = None, weight: str = "kernel") -> dict[str, Any]:
        """How a weight was updated: "kind", "attrs" (its own weight decay and multiplier), "slots", and
        "constraint" (attributes or None); empty for a weight that is not trained."""
        rule = dict(self._about(step).get("updates", {}).get(self._name(layer, weight), {}))
        # NOTE: a run of an earlier version may lack attributes that an operator has got since.
        # The updates of another program are no operators.
        operator = OPERATORS.get(rule.get("kind", ""))
        return {**rule, "attrs": operator.whole(rule["attrs"])} if operator is not None else rule

    def optimizer_state(self, layer: str, step: int, weight: str = "kernel") -> dict[str, np.ndarray]:
        """Slot name -> array of the optimiser for a weight, after the update of a step."""
        name = self._name(layer, weight)
        slots = self._about(step).get("updates", {}).get(name, {}).get("slots", [])
        return {slot: self.read(Stream.STATE, f"{name}/{slot}", step) for slot in slots}

    def state_before(self, layer: str, step: int, weight: str = "kernel") -> dict[str, np.ndarray]:
        """Slot name -> array that the update of a step began with, of the optimiser that did it."""
        name, segment = self._name(layer, weight), self._segment_of(step)
        slots = [] if segment is None else segment.about.get("updates", {}).get(name, {}).get("slots", [])
        return {slot: self._state_in(segment, f"{name}/{slot}", step - 1) for slot in slots}

    def state_trace(
        self, layer: str, step: int, slot: str, index: tuple[int, ...], weight: str = "kernel"
    ) -> tuple[bool, Trace]:
        """One number of an array of the optimiser that did an update, over the stretch of that update.

        Returns: whether the array is a single number for the whole weight, and (steps, values).
        """
        field, segment = f"{self._name(layer, weight)}/{slot}", self._segment_of(step)
        if segment is None or not segment.has(Stream.STATE, field):
            return True, _joined([])
        is_single = not segment.shape_of(Stream.STATE, field)
        return is_single, self._column(segment, Stream.STATE, field, () if is_single else index)

    def _state_in(self, segment: Segment | None, field: str, step: int) -> np.ndarray:
        found = None if segment is None else segment.find(Stream.STATE, field, step)
        return self.read(Stream.STATE, field, step) if found is None else found[0].read(found[1], found[2])

    def learning_rate(self, step: int) -> float:
        """The learning rate of an update, before the layer's multiplier."""
        return float(self.read(Stream.STEPS, "learning_rate", step))

    def iteration(self, step: int) -> int:
        """The optimiser's own count of updates at a step; it begins again when a model is compiled anew."""
        return step - int(self._about(step).get("offset", 0))

    # --- numbers of the steps

    @property
    def scalar_names(self) -> list[str]:
        """What `scalars` knows."""
        names = [n for n in self.fields(Stream.STEPS) if n not in _NOT_SCALARS]
        found = {name: None for e in self._events if e["kind"] == "epoch" for name in e.get("logs", {})}
        return [*names, *[name for name in found if name.startswith("val_")]]

    def scalars(self, name: str) -> Trace:
        """(steps, values), one for each update.

        Args:
            name: "loss" (of the batch alone), "learning_rate", "epoch", "batch", a metric (its mean over the
                epoch so far), or a validation value such as "val_loss" (one an epoch).
        """
        if name not in self.scalar_names:
            raise unknown_name("recorded number", name, self.scalar_names)
        if name.startswith("val_"):
            return _joined([self._validation(name)])
        parts = []
        for segment in self._having(Stream.STEPS, name):
            steps, values = self._column(segment, Stream.STEPS, name, ())
            trained = segment.streams[Stream.STEPS].rows[segment.numbers(Stream.STEPS)] > 0
            kept = np.isin(steps, segment.steps(Stream.STEPS)[trained])
            parts.append((steps[kept], values[kept]))
        return _joined(parts)

    def _validation(self, name: str) -> Trace:
        found = [e for e in self._events if e["kind"] == "epoch" and e["logs"].get(name) is not None]
        return np.array([e["step"] for e in found], np.int64), np.array([e["logs"][name] for e in found])

    def batch(self, step: int) -> Batch:
        """Which images an update was computed from, and their classes."""
        images = self.read(Stream.STEPS, "images", step)
        has_labels = "has_labels" in self.fields(Stream.STEPS) and bool(
            self.read(Stream.STEPS, "has_labels", step)
        )
        return Batch(images, self.read(Stream.STEPS, "labels", step) if has_labels else None)

    def steps_of_image(self, image: int) -> np.ndarray:
        """(steps,) int64: the updates that an image took part in."""
        found = [step for step, images in self.batches() if (images == image).any()]
        return np.array(found, np.int64)

    def batches(self, behind: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """(step, images) of every update in order, `images` as in `batch`.

        Args:
            behind: leave out the steps up to this one.
        """
        for segment in self._having(Stream.STEPS, "images"):
            numbers, reader = self._whole(segment, Stream.STEPS), segment.streams[Stream.STEPS]
            numbers = numbers[(reader.steps[numbers] > behind) & (reader.rows[numbers] > 0)]
            images = reader.column("images", (), numbers)
            rows = reader.rows[numbers].tolist()
            yield from ((step, images[i, : rows[i]]) for i, step in enumerate(reader.steps[numbers].tolist()))

    # --- ledger and maps

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

    def stage_steps(self, layer: str, weight: str = "kernel") -> np.ndarray:
        """(steps,) int64: those of `ledger_steps_of` for which `stages` has something."""
        name = self._name(layer, weight)
        having = [
            s.steps(Stream.LEDGER)
            for s in self._segments
            if s.about.get("uses", {}).get(name, {}).get("stages")
        ]
        return np.unique(np.concatenate(having)) if having else np.zeros(0, np.int64)

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

    # --- the model

    def model(self, step: int | None = None) -> Any:
        """The model, rebuilt from its config, with the weights of a step; not compiled.

        Args:
            step: one of `model_steps`, or any recorded step if all weights are recorded; None for the last
                of `model_steps`.
        """
        model = self.untrained_model()
        if step is None and not len(self.model_steps):
            return model
        self.assign(model, int(self.model_steps[-1]) if step is None else step)
        return model

    def assign(self, model: Any, step: int) -> None:
        """Give a model of this run the weights of one of `model_steps`.

        Raises: ArgumentError for a step at which not all weights are known.
        """
        for name, variable in model.weight_paths().items():
            variable.assign(self._weight_of_model(name, step))

    def model_before(self, step: int) -> Any:
        """The model that an update began with: that of step-1, with what was done by hand since.

        Raises: as `model`.
        """
        model = self.untrained_model()
        self.assign_before(model, step)
        return model

    def assign_before(self, model: Any, step: int) -> None:
        """Give a model of this run the weights that an update began with; see `model_before`."""
        self.assign(model, step - 1)
        for done in self.interventions:
            if done.kind in BY_HAND and done.step == step - 1:
                variable = variable_of(model, done.layer, done.weight)
                variable.assign(done.changed(variable.numpy()))

    def untrained_model(self) -> Any:
        """The model from its config, with whatever weights.

        Raises: ArgumentError if the run does not hold it; FormatError, UnknownNameError if it cannot be made.
        """
        import kernelearn.models  # noqa: F401  (a model is known by name once its class is loaded)
        from kernelearn.initializers.from_layer import values_follow
        from kernelearn.layers.core.base import LAYERS

        if self.about.model is None:
            raise ArgumentError(f"The run {str(self.folder)!r} does not say what its model is.")
        passing, where = (FormatError, UnknownNameError), repr(str(self.folder))
        with refused(where, FormatError, passing=passing), values_follow(self.about.size):
            model = LAYERS.get(self.about.model)
        model.metadata = dict(self.about.metadata)
        return model

    def weight_of_model(self, path: str, step: int) -> np.ndarray | None:
        """Any weight of the model at a step, by its path "layer/kernel"; None if it is not known there.

        Raises: FormatError if its record is damaged.
        """
        found = self._record(Stream.SNAPSHOTS, path, step)
        return self._weights.value(path, step) if found is None else found[0].read(found[1], found[2])

    def _weight_of_model(self, name: str, step: int) -> np.ndarray:
        value = self.weight_of_model(name, step)
        if value is not None:
            return value
        raise ArgumentError(
            f"Not all weights of step {step} are recorded ({name!r} is not). The model is known at steps "
            f"{steps_in_words(self.model_steps)}."
        )

    # --- finding records

    def _last(self) -> dict[str, Any]:
        return dict(self._segments[-1].about) if self._segments else {}

    def _about(self, step: int | None) -> dict[str, Any]:
        """The description of the segment that a step was trained in."""
        segment = None if step is None else self._segment_of(step)
        return self._last() if segment is None else dict(segment.about)

    def stretch_of(self, step: int) -> int:
        """Number of the stretch of the run that a step was trained in: all its steps have one description."""
        return next((i for i, s in enumerate(self._segments) if s.last_step >= step), len(self._segments))

    def _segment_of(self, step: int) -> Segment | None:
        """The segment that a step was trained in."""
        return next((segment for segment in self._segments if segment.last_step >= step), None)

    @property
    def _weights(self) -> Weights:
        return Weights(self._segments, self._tell_problems, self._edits)

    def _edits(self, path: str) -> list[Intervention]:
        """What was done by hand to a weight, by its path."""
        return [
            one for one in self.interventions if one.kind in BY_HAND and f"{one.layer}/{one.weight}" == path
        ]

    def fields(self, stream: str) -> list[str]:
        """Names of the fields of a stream's records."""
        found: dict[str, None] = {}
        for segment in self._segments:
            if stream in segment.streams:
                found.update((field.name, None) for field in segment.streams[stream].layout.fields)
        return list(found)

    def _having(self, stream: str, field: str) -> Iterator[Segment]:
        return (segment for segment in self._segments if segment.has(stream, field))

    def weight_name(self, layer: str, weight: str = "kernel") -> str:
        """The name of a recorded weight; "kernel" stands for the only kernel of a layer, too.

        Raises: UnknownNameError.
        """
        names = self.weights(layer)
        kernels = [name for name in names if name.endswith("kernel")]
        if weight == "kernel" and weight not in names and len(kernels) == 1:
            return kernels[0]
        if weight not in names:
            raise unknown_name(f"weight of layer {layer!r}", weight, names)
        return weight

    def shape_of(self, layer: str, weight: str = "kernel") -> tuple[int, ...]:
        """Shape of a recorded weight."""
        return self._recorded_shapes()[self._name(layer, weight)]

    def _name(self, layer: str, weight: str) -> str:
        return f"{layer}/{self.weight_name(layer, weight)}"

    def stream_steps(self, stream: str) -> np.ndarray:
        """(steps,) int64: those with a record in a stream."""
        parts = [segment.steps(stream) for segment in self._segments]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)

    def _field_steps(self, stream: str, field: str) -> np.ndarray:
        parts = [segment.steps_of(stream, field) for segment in self._having(stream, field)]
        return np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)

    def has(self, stream: str, field: str, step: int) -> bool:
        """Whether a field is recorded at a step."""
        return self._record(stream, field, step) is not None

    def _record(self, stream: str, field: str, step: int) -> tuple[StreamReader, int, str] | None:
        """File, number of the record and name there; the first segment that has it counts."""
        for segment in self._segments:
            found = segment.find(stream, field, step)
            if found is not None:
                return found
        return None

    def read(self, stream: str, field: str, step: int) -> np.ndarray:
        """One field of the record of a step, by the names in the manifest.

        Raises: ArgumentError if it is not recorded, FormatError if its record is damaged.
        """
        found = self._record(stream, field, step)
        if found is not None:
            return found[0].read(found[1], found[2])
        recorded = self._field_steps(stream, field)
        if not len(recorded) and field not in self.fields(stream):
            raise unknown_name(f"field of the stream {str(stream)!r}", field, self.fields(stream))
        what = self._said(stream, field)
        raise ArgumentError(
            f"Step {step} has no record of {what}. Recorded are the steps "
            f"{steps_in_words(recorded)}{self._nearest(recorded, step)}."
        )

    @staticmethod
    def _said(stream: str, field: str) -> str:
        """What a field is, in words: names of buffers are the engine's own."""
        return "a ledger" if stream == Stream.LEDGER else f"{field!r} among the {stream}"

    def _nearest(self, steps: np.ndarray, step: int) -> str:
        return f"; the nearest is {steps[np.abs(steps - step).argmin()]}" if len(steps) else ""

    def _column(self, segment: Segment, stream: str, field: str, index: tuple[Any, ...]) -> Trace:
        found = segment.column(stream, field, index)
        self._tell_problems()
        return found

    def _whole(self, segment: Segment, stream: str) -> np.ndarray:
        """Numbers of the whole records of a stream; tells of damaged ones."""
        numbers = segment.streams[stream].whole(segment.numbers(stream))
        self._tell_problems()
        return numbers

    def _tell_problems(self) -> None:
        new = [line for line in self.problems if line not in self._warned]
        self._warned.update(new)
        if new:
            warnings.warn(
                f"The run {str(self.folder)!r} is damaged; what is not whole is left out: {'; '.join(new)}.",
                UserWarning,
                stacklevel=3,
            )

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


def _updates_with_state(segment: Segment, name: str) -> np.ndarray:
    """Updates of a segment before which all slots of a weight are recorded."""
    rule = segment.about.get("updates", {}).get(name)
    if rule is None:
        return np.zeros(0, np.int64)
    trained = segment.steps(Stream.STEPS)
    trained = trained[trained > segment.start]
    for slot in rule["slots"]:
        trained = trained[np.isin(trained - 1, segment.steps_of(Stream.STATE, f"{name}/{slot}"))]
    return trained


def _joined(parts: list[Trace], is_first: bool = False) -> Trace:
    """Traces one after another; where segments meet in one step, the later one counts, or the first."""
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0)
    steps = np.concatenate([steps for steps, _ in parts])
    values = np.concatenate([values for _, values in parts])
    differ = steps[1:] != steps[:-1]
    kept = np.append(differ, True) if not is_first else np.insert(differ, 0, True)
    kept = kept[: len(steps)]
    return steps[kept], values[kept]


def steps_in_words(steps: Iterable[int]) -> str:
    """Steps in words, shortened."""
    shown = [str(int(step)) for step in steps]
    return ", ".join(shown) if len(shown) <= 8 else f"{', '.join(shown[:4])}, ..., {shown[-1]}"


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that operators take."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
