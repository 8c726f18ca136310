"""What is recorded of a model: which layers, which buffers, and how each record is laid out."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kernelearn import optimizers
from kernelearn.engine.program import Program
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, unknown_name
from kernelearn.layers.core.base import LAYERS, Layer
from kernelearn.recording.capture.taps import Taps, Use, find_taps, plain
from kernelearn.recording.files.layout import Field, Layout, little
from kernelearn.recording.schedule import FULL_PARTS, Cost, Stream, costs, in_full

ALL_LAYERS = "all"
# Layers without a convolution are recorded without being asked for up to this many numbers.
SMALL_LAYER = 4096
# Layers of at most so many numbers have their whole history recorded without being asked for.
FULL_LAYER = 1024
# Models of at most so many numbers are recorded whole before and after the update of each ledger: also dense
# layers that are recorded at no other step, because errors come back through them.
SMALL_MODEL = 2**20
_NUMBERS, _COUNTS = ("loss", "learning_rate"), ("epoch", "batch", "iteration", "has_labels")
_BY_IMAGE = ("images", "labels")
# The norm of all gradients together, in the record of gradients.
NORM = "global_norm"
# Names in the record of a step that no metric can have.
STEP_FIELDS = (*_NUMBERS, *_COUNTS, *_BY_IMAGE)


@dataclass(frozen=True)
class Selection:
    """What to take from one compiled model.

    Attributes:
        weights: path -> Variable, of the layers that are recorded.
        snapshot: path -> Variable, of the whole model.
        state: `path/slot` -> Variable of the optimiser.
        full: the layers whose whole history is recorded.
        taps: of the training program.
        layouts: stream -> Layout.
        about: what the manifest says of a segment.
    """

    weights: dict[str, Variable]
    snapshot: dict[str, Variable]
    state: dict[str, Variable]
    full: tuple[str, ...]
    taps: Taps
    layouts: dict[str, Layout]
    about: dict[str, Any]

    @property
    def gradient_buffers(self) -> dict[str, str]:
        """Field -> buffer, of what a step has to give back for its gradients."""
        return {field.name: self._gradient(field.name) for field in self.layouts[Stream.GRADIENTS].fields}

    @property
    def full_buffers(self) -> dict[str, str]:
        """Field -> buffer of the gradients of the layers that are recorded in full."""
        return {n: self._gradient(n) for n in self.gradient_buffers if is_full(n, self.full)}

    def full_record(self, buffers: Mapping[str, Any]) -> dict[str, Any]:
        """What a record of the layers recorded in full holds; without buffers, the state before an update."""
        gradients = {name: buffers[name] for name in self.full_buffers if name in buffers}
        parts = {Stream.KERNELS: self.weights, Stream.STATE: self.state, Stream.GRADIENTS: gradients}
        return {
            in_full(stream, name): value
            for stream, values in parts.items()
            for name, value in values.items()
            if is_full(name, self.full)
        }

    def _gradient(self, field: str) -> str:
        return self.taps.gradients.get(field) or str(self.taps.global_norm)

    @property
    def ledger_buffers(self) -> dict[str, str]:
        """Field -> buffer, of what a step has to give back for its ledger; the gradients are apart."""
        return {field.name: field.name for field in self.layouts[Stream.LEDGER].fields}

    def costs(self, steps_per_epoch: float) -> dict[str, Cost]:
        """Bytes of one time of every schedule."""
        sizes = {name: layout.record_bytes for name, layout in self.layouts.items()}
        return costs(sizes, steps_per_epoch, self.is_small)

    @property
    def is_small(self) -> bool:
        """Whether all weights are recorded on both sides of each ledger, so that its step can be replayed."""
        return sum(variable.value.size for variable in self.snapshot.values()) <= SMALL_MODEL


def select(
    model: Any,
    layers: Any,
    metrics: Sequence[str],
    capacity: int,
    probes: Any = None,
    full: Any = None,
    shapes: Any = None,
) -> Selection:
    """Work out what to record.

    Args:
        layers: names, "all", or None for `chosen_layers`.
        metrics: names of the numbers to keep of every step.
        capacity: samples in the largest batch.
        probes: `Probes`, or None.
        full: names of the layers to record in full, "all", or None for `full_layers`.
        shapes: of one sample of every input, where the model takes any: ledgers are of such batches.
    """
    snapshot = model.weight_paths()
    executable_variables = training_variables(model)
    names = {id(weight): path for path, weight in snapshot.items()}
    paths = {name: names[id(v)] for name, v in executable_variables.items() if id(v) in names}
    program = model.program("train", shapes)
    taps = find_taps(program, paths)
    chosen = chosen_layers(
        sizes_of_layers({path: weight.value.size for path, weight in snapshot.items()}),
        {layer_of(path) for path in taps.rules},
        convolved_layers({path: use.parts[0].kind for path, use in taps.uses.items()}),
        layers,
    )
    weights = {path: w for path, w in snapshot.items() if layer_of(path) in chosen}
    taps = _only(taps, set(weights))
    state = {
        f"{path}/{slot}": executable_variables[name]
        for path, rule in taps.rules.items()
        for slot, name in rule.slots.items()
    }
    whole = full_layers(weights, taps, full)
    layouts = _layouts(program, taps, weights, snapshot, state, metrics, capacity, probes, whole)
    about = {
        **_about(model, taps, chosen, weights, metrics),
        "changing": _changing(program, paths),
        "full_layers": list(whole),
        **({} if shapes is None else {"ledger_shapes": [list(shape) for shape in shapes]}),
    }
    return Selection(weights, dict(snapshot), state, whole, taps, layouts, about)


def training_variables(model: Any) -> Mapping[str, Variable]:
    """Name of a buffer of the training program -> its Variable."""
    variables: Mapping[str, Variable] = model.step("train").variables
    return variables


def _changing(program: Program, paths: Mapping[str, str]) -> list[str]:
    """Paths of all weights of the model that a step writes; the others stay as they are."""
    written = {name for op in program.operations if op.phase == "update" for name in op.outputs}
    return sorted(path for name, path in paths.items() if name in written)


def layer_of(path: str) -> str:
    """ "outer/conv/kernel" -> "outer/conv"."""
    return path.rpartition("/")[0]


def chosen_layers(
    sizes: Mapping[str, int], trained: Collection[str], convolved: Collection[str], wanted: Any
) -> list[str]:
    """Names of the layers to record, in the order of the model.

    None chooses every trained layer with a convolution kernel, and of the other trained layers those of at
    most `SMALL_LAYER` numbers (all of them in a network without convolutions).

    Args:
        sizes: layer -> how many numbers its weights are; all layers that have some.
        trained, convolved: names of those that are trained, and of those with the kernel of a convolution.
        wanted: names (or layers), "all", or None.
    Raises: UnknownNameError for a name that is no layer with weights.

    >>> chosen_layers({"conv": 10**6, "dense": 10**6, "head": 100}, ["conv", "dense", "head"], ["conv"], None)
    ['conv', 'head']
    """
    known = list(sizes)
    if isinstance(wanted, str) and wanted == ALL_LAYERS:
        return known
    if wanted is not None:
        return _named(known, wanted, "layer with weights")
    found = [name for name in known if name in trained]
    return [name for name in found if not convolved or name in convolved or sizes[name] <= SMALL_LAYER]


def sizes_of_layers(sizes: Mapping[str, int]) -> dict[str, int]:
    """Layer -> how many numbers it has, from path of a weight -> how many numbers that has."""
    found: dict[str, int] = {}
    for path, size in sizes.items():
        found[layer_of(path)] = found.get(layer_of(path), 0) + size
    return found


def convolved_layers(kinds: Mapping[str, str]) -> set[str]:
    """Layers with the kernel of a convolution, from path of a kernel -> operator that uses it."""
    return {layer_of(path) for path, kind in kinds.items() if kind != "dense"}


def full_layers(weights: Mapping[str, Variable], taps: Taps, wanted: Any) -> tuple[str, ...]:
    """Names of the layers to record in full, of those that are recorded and trained.

    Args:
        wanted: names, "all", or None for those of at most `FULL_LAYER` numbers.
    Raises: UnknownNameError for a name that is no such layer.
    """
    known = list(dict.fromkeys(layer_of(path) for path in weights if path in taps.rules))
    if isinstance(wanted, str) and wanted == ALL_LAYERS:
        return tuple(known)
    if wanted is None:
        sizes = sizes_of_layers({path: weight.value.size for path, weight in weights.items()})
        return tuple(name for name in known if sizes[name] <= FULL_LAYER)
    return tuple(_named(known, wanted, "recorded and trained layer"))


def _named(known: Sequence[str], wanted: Any, what: str) -> list[str]:
    """Those of the known names that are wanted, in their order; UnknownNameError for another."""
    if not isinstance(wanted, str) and not hasattr(wanted, "__iter__"):
        raise ArgumentError(f"Layers to record are a list of names, or {ALL_LAYERS!r}; got {wanted!r}.")
    names = [wanted] if isinstance(wanted, str) else [_name(layer) for layer in wanted]
    for name in names:
        if name not in known:
            raise unknown_name(what, name, known)
    return [name for name in known if name in names]


def is_full(name: str, full: Sequence[str]) -> bool:
    """Whether a path, `path/slot` or "global_norm" belongs to the layers that are recorded in full."""
    return bool(full) and (name == NORM or any(name.startswith(f"{layer}/") for layer in full))


def _name(layer: Any) -> str:
    return layer.name if isinstance(layer, Layer) else str(layer)


def _only(taps: Taps, paths: set[str]) -> Taps:
    """What concerns these weights."""
    return Taps(
        {p: b for p, b in taps.gradients.items() if p in paths},
        {p: u for p, u in taps.uses.items() if p in paths},
        {p: r for p, r in taps.rules.items() if p in paths},
        taps.global_norm,
    )


def _layouts(
    program: Program,
    taps: Taps,
    weights: Mapping[str, Variable],
    snapshot: Mapping[str, Variable],
    state: Mapping[str, Variable],
    metrics: Sequence[str],
    capacity: int,
    probes: Any,
    full: Sequence[str],
) -> dict[str, Layout]:
    gradients = [_of_buffer(program, path, buffer) for path, buffer in taps.gradients.items()]
    if taps.global_norm is not None:
        gradients.append(_of_buffer(program, NORM, taps.global_norm))
    factors = {name: None for use in taps.uses.values() for name in use.buffers}
    fields = {
        Stream.KERNELS: _of_variables(weights),
        Stream.GRADIENTS: gradients,
        Stream.STATE: _of_variables(state),
        Stream.LEDGER: [_of_buffer(program, name, name) for name in factors],
        Stream.SNAPSHOTS: _of_variables(snapshot),
        Stream.STEPS: step_fields(metrics),
        **({} if probes is None else {Stream.PROBES: probes.fields(), Stream.MAPS: probes.map_fields()}),
    }
    if full:
        fields[Stream.FULL] = [
            replace(field, name=in_full(stream, field.name))
            for stream in FULL_PARTS
            for field in fields[stream]
            if is_full(field.name, full)
        ]
    return {name: Layout(name, tuple(content), capacity) for name, content in fields.items()}


def _of_variables(variables: Mapping[str, Variable]) -> list[Field]:
    return [Field(name, little(v.dtype), v.shape) for name, v in variables.items()]


def _of_buffer(program: Program, field: str, buffer: str) -> Field:
    spec = program.buffers[buffer]
    return Field(field, little(spec.dtype), spec.shape)


def step_fields(metrics: Iterable[str]) -> list[Field]:
    """The fields of the numbers of a step."""
    numbers = [Field(name, "<f8", ()) for name in (*_NUMBERS, *metrics)]
    counts = [Field(name, "<i8", ()) for name in _COUNTS]
    return [*numbers, *counts, *(Field(name, "<i8", (None,)) for name in _BY_IMAGE)]


def _about(
    model: Any, taps: Taps, layers: list[str], weights: Iterable[str], metrics: Sequence[str]
) -> dict[str, Any]:
    return {
        "layers": {n: [p.rpartition("/")[2] for p in weights if layer_of(p) == n] for n in layers},
        "metrics": list(metrics),
        "optimizer": optimizer_about(model.optimizer),
        "uses": {path: _use(use) for path, use in taps.uses.items()},
        "updates": {
            path: {
                "kind": rule.kind,
                "attrs": dict(rule.attrs),
                "slots": list(rule.slots),
                "constraint": rule.constraint,
                **({"overwriting": rule.overwriting} if rule.overwriting else {}),
            }
            for path, rule in taps.rules.items()
        },
    }


def _use(use: Use) -> dict[str, Any]:
    parts = [
        {"kind": p.kind, "x": p.x, "delta": p.delta, "gradient": p.gradient, "attrs": dict(p.attrs)}
        for p in use.parts
    ]
    stages = [
        {
            "name": tap.stage.name,
            "operator": tap.stage.operator,
            "layer": tap.stage.layer,
            "attrs": plain(tap.stage.attrs),
            "value": tap.value,
            "winner": tap.winner,
            "delta": tap.delta,
        }
        for tap in use.stages
    ]
    return {"kernel_shape": list(use.kernel_shape), "bias": use.bias, "parts": parts, "stages": stages}


def optimizer_about(optimizer: Any) -> dict[str, Any]:
    """An optimiser as JSON values: kind of its update operator, attributes, clipping, config (or None)."""
    try:
        config = optimizers.serialize(optimizer)
    except ArgumentError:  # the learning rate is a function; every step has its value
        config = None
    clipping = None if optimizer.clipping is None else list(optimizer.clipping)
    return {"kind": optimizer.kind, "attrs": optimizer.attrs(), "clipping": clipping, "config": config}


def compiled_as(model: Any) -> dict[str, Any] | None:
    """What `compile` was told of losses and precision; None where a part of it cannot be written down."""
    from kernelearn.models.files import compile_config

    try:
        config = compile_config(model)
    except ArgumentError:
        return None
    return {name: config[name] for name in ("loss", "loss_weights", "policy")}


def about_model(model: Any) -> dict[str, Any]:
    """What the manifest says of the whole run; not what the model is, where that cannot be written down."""
    names, reason = getattr(model.fit_data, "class_names", None), LAYERS.why_not_saved(model)
    if reason is not None:
        warnings.warn(
            f"The run will not say what its model is, so that Run.model and explanations that need it cannot "
            f"be asked of it; everything else is recorded. {reason}",
            UserWarning,
            stacklevel=2,
        )
    return {
        "model": LAYERS.serialize(model) if reason is None else None,
        "metadata": model.metadata,
        "weights": {path: list(weight.shape) for path, weight in model.weight_paths().items()},
        "engine": model.engine,
        "policy": model.policy,
        "class_names": None if names is None else [str(name) for name in names],
    }


def is_same(segment: Mapping[str, Any], layouts: Mapping[str, Layout], about: Mapping[str, Any]) -> bool:
    """Whether a segment of the manifest describes what was selected."""
    selected = {name: layout.checksum for name, layout in layouts.items()}
    recorded = {name: stream["checksum"] for name, stream in segment["streams"].items()}
    return selected == recorded and all(segment.get(key) == _json(value) for key, value in about.items())


def _json(value: Any) -> Any:
    """A value as JSON gives it back."""
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    return [_json(item) for item in value] if isinstance(value, list | tuple) else value
