"""What an activation and a pooling let pass: maps on both sides, the share set to 0, slopes, dead units."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.program import Operation
from kernelearn.errors import ArgumentError, UnknownNameError, unknown_name
from kernelearn.explain.passes.replay import Replay, replay_prediction
from kernelearn.explain.passes.slopes import vector_product
from kernelearn.explain.runs import opened, run_of
from kernelearn.explain.sight.network import images_for
from kernelearn.explain.table import Table


@dataclass(frozen=True, eq=False)
class Activation:
    """One activation on some images.

    Attributes:
        layer, kind: the layer that activates, and how.
        step: of the weights, or None for a model.
        before, after: (n, *positions, channels) on both sides.
        slopes: (n, *positions, channels) d after / d before: what an error is multiplied by on its way back.
        kept: (channels,) share of the numbers that a pooling behind it passes on; None without one.
    """

    layer: str
    kind: str
    step: int | None
    before: np.ndarray = field(repr=False)
    after: np.ndarray = field(repr=False)
    slopes: np.ndarray = field(repr=False)
    kept: np.ndarray | None = field(repr=False, default=None)

    @property
    def zeros(self) -> float:
        """Share of all numbers that are 0 behind the activation."""
        return float((self.after == 0).mean())

    @property
    def closed(self) -> float:
        """Share of all numbers with a slope of 0, through which no error comes back."""
        return float((self.slopes == 0).mean())

    @property
    def dead(self) -> np.ndarray:
        """(d,) channels through which no error comes back, whatever the image and the position."""
        axes = tuple(range(self.slopes.ndim - 1))
        return np.flatnonzero((self.slopes == 0).all(axis=axes))

    def table(self) -> Table:
        """One row for each channel."""
        axes = tuple(range(self.after.ndim - 1))
        columns = ["channel", "smallest z", "largest z", "share set to 0", "mean slope"]
        parts: list[np.ndarray] = [
            np.arange(self.after.shape[-1]),
            self.before.min(axis=axes),
            self.before.max(axis=axes),
            (self.after == 0).mean(axis=axes),
            self.slopes.mean(axis=axes),
        ]
        if self.kept is not None:
            columns.append("share the pool keeps")
            parts.append(self.kept)
        rows = tuple(tuple(_plain(value) for value in row) for row in zip(*parts))
        return Table(tuple(columns), rows, f"{self.layer}: {self.kind}, channel by channel")

    @property
    def lines(self) -> list[str]:
        """What it does, in sentences."""
        dead = "no channel is dead" if not len(self.dead) else f"channels {self.dead.tolist()} are dead"
        lines = [
            f"{self.kind} of {self.layer} on {len(self.after)} images: {self.zeros:.1%} of its numbers are "
            f"set to 0, {self.closed:.1%} let no error back; {dead} on these images."
        ]
        if self.kept is not None:
            lines.append(f"The pooling behind it passes {float(self.kept.mean()):.1%} of the numbers on.")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """The numbers without the maps, as JSON values."""
        return {
            "layer": self.layer,
            "kind": self.kind,
            "step": self.step,
            "zeros": self.zeros,
            "closed": self.closed,
            "dead": self.dead.tolist(),
            "channels": self.table().to_dict(),
        }

    def __str__(self) -> str:
        return "\n".join([*self.lines, str(self.table())])

    def _repr_html_(self) -> str:
        import html

        return "".join(f"<p>{html.escape(line)}</p>" for line in self.lines) + self.table()._repr_html_()


def activation(source: Any, layer: str, x: Any = None, step: int | None = None) -> Activation:
    """An activation before and behind: what it sets to 0, and what it lets back.

    Args:
        source: a built model, a recorded run, or the path of its folder.
        layer: a layer that activates, or one whose output the next layer activates.
        x: images (n, ...); for a run None takes its probe images.
        step: of a run: the weights of this step; None for the last that is known.
    Raises: UnknownNameError for a layer without an activation behind it; ArgumentError without images.
    """
    source = opened(source)
    is_run = hasattr(source, "map_steps")
    model = source.model(step=step) if is_run else source
    images = source.probe_images if is_run and x is None else x
    if images is None:
        raise ArgumentError("An activation is looked at on images: give x, an array (n, ...).")
    if not is_run and step is not None:
        raise ArgumentError("step= needs a recorded run; a model has the weights that it has.")
    return _on(replay_prediction(model, images_for(model, images)), layer, step)


def activation_history(run: Any, layer: str, x: Any = None) -> Table:
    """An activation over a run: the share set to 0 and the dead channels, at every step with all weights.

    Args:
        run: a recorded run, or the path of its folder.
        layer, x: as in `activation`.
    """
    run = run_of(run, "activation_history")
    model, images = _opened(run, x)
    rows = []
    for step in run.model_steps:  # one network, whose weights are exchanged
        run.assign(model, int(step))
        found = _on(replay_prediction(model, images), layer, int(step))
        rows.append((int(step), found.zeros, found.closed, len(found.dead)))
    columns = ("step", "share set to 0", "share without slope", "dead channels")
    return Table(columns, tuple(rows), f"{layer} over the run")


def activations(run: Any, layers: Iterable[str], x: Any = None) -> Iterator[tuple[str, Activation]]:
    """(layer, its `activation`) at the last step with all weights: one run of the network for all of them.

    Layers that no activation follows are left out.
    """
    model, images = _opened(run, x)
    run.assign(model, int(run.model_steps[-1]))
    replay = replay_prediction(model, images)
    for layer in layers:
        try:
            yield layer, _on(replay, layer, None)
        except UnknownNameError:
            continue


def _opened(run: Any, x: Any) -> tuple[Any, np.ndarray]:
    """(the network, images to look at it on)."""
    given = run.probe_images if x is None else x
    if given is None:
        raise ArgumentError("An activation is looked at on images: give x, an array (n, ...).")
    model = run.untrained_model()
    return model, images_for(model, given)


def _on(replay: Replay, layer: str, step: int | None) -> Activation:
    op = _activation_of(replay, layer)
    before, after = (replay.value(name).astype(np.float64) for name in (op.inputs[0], op.outputs[0]))
    slopes = vector_product(replay, op, 0, slice(None), np.ones_like(after))
    return Activation(
        op.layer, str(op.attrs.get("kind", op.operator)), step, before, after, slopes, _kept(replay, op)
    )


def _activation_of(replay: Replay, layer: str) -> Operation:
    """The activation of a layer, or the one that reads its output."""
    known = [op for op in replay.program.operations if op.operator in ("activation", "prelu")]
    own = [op for op in known if op.layer == layer]
    if own:
        return own[-1]
    outputs = [op.outputs[0] for op in replay.program.operations if op.layer == layer]
    while outputs:
        readers = [op for name in outputs for op in replay.readers(name)]
        found = [op for op in readers if op in known]
        if found:
            return found[0]
        passing = ("bias_add", "affine", "normalize", "standardize", "multiply", "add")
        outputs = [op.outputs[0] for op in readers if op.operator in passing]
    raise unknown_name("layer with an activation", layer, dict.fromkeys(op.layer for op in known))


def _kept(replay: Replay, op: Operation) -> np.ndarray | None:
    """(channels,) share of the numbers that win the pooling behind an activation."""
    pools = [r for r in replay.readers(op.outputs[0]) if r.operator == "max_pool"]
    if not pools:
        return None
    ones = np.ones_like(replay.value(pools[0].outputs[0]), np.float64)
    won = vector_product(replay, pools[0], 0, slice(None), ones)
    return np.asarray((won > 0).mean(axis=tuple(range(won.ndim - 1))))


def _plain(value: Any) -> int | float:
    return int(value) if isinstance(value, np.integer) else float(value)
