"""The steps of a model, ready to run: a `StepProgram` for each kind, made from what `compile` said."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kernelearn.engine.backends import prepare, resolve_engine
from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError, NotBuiltError
from kernelearn.parallel import world
from kernelearn.parallel.world import shards_of
from kernelearn.tracing import BatchSizeNeeded
from kernelearn.training.steps import building
from kernelearn.training.steps.changes import Reading
from kernelearn.training.steps.compiled import Compiled
from kernelearn.training.steps.objectives import Objective
from kernelearn.training.steps.signature import ANY, Signature, of_batch, of_shapes
from kernelearn.training.steps.step import Batch
from kernelearn.training.steps.step_program import StepProgram
from kernelearn.training.steps.updating import average_name

KINDS = ("train", "test", "predict")
# Images of a step that is looked at before any batch came, where it is for one number of them.
USUAL_ROWS = 32
# Times in a row that steps are built anew for hardly any batch, after which that is said.
HASTY = 5


class Programs(Compiled):
    """The steps of one model; each is made when it is first wanted.

    Attributes:
        arguments: what `compile` was told; None before.
        optimizer, engine, policy: as `compile` chose them; None before.
        is_averaged: whether moving averages are in the place of the weights, and these in theirs.
    """

    def _build_ahead(self) -> None:
        if self.has_loss and not self.is_open and not self.has_own_targets and not self.has_own_total:
            with contextlib.suppress(BatchSizeNeeded):
                self._made(ANY, "train")

    def look_for_changes(self) -> None:
        """Build the steps anew if a layer, the optimiser or a loss was changed since they were built.

        Raises: NotBuiltError before the shapes are known.
        """
        if not self.model.outputs:
            if self.own_steps.has("train"):
                return
            raise NotBuiltError(
                "The model has no shapes yet: give input_shape, call build(), or fit it first."
            )
        if self._reading is None or not self._reading.is_current():
            if self._reading is not None and len(self._steps):
                self._count_rebuilding(self._reading)
            self._steps.clear()
            self._reading = Reading(self.model, self._objectives or (), self.optimizer)

    def _count_rebuilding(self, reading: Reading) -> None:
        """Say once where steps are built anew again and again, each for a step or two."""
        self._hasty = self._hasty + 1 if self._handed_out <= 2 else 0
        self._handed_out = 0
        if self._hasty == HASTY:
            warnings.warn(
                f"The steps of model {self.model.name!r} are built anew before nearly every batch, because "
                f"something that they are made from changes: {reading.change()}. That takes far longer than "
                "a step. Keep a number that changes in a weight, self.rate = self.add_weight(shape=(), "
                "trainable=False), and change it by self.rate.assign(value).",
                UserWarning,
                stacklevel=4,
            )

    def objectives_at(self, signature: Signature) -> list[Objective]:
        """`objectives` with the shapes that outputs have in the programs of a signature."""
        if not signature.shapes:
            return self.objectives
        made = self._steps.at(signature)
        if made.objectives is None:
            shapes = building.output_shapes(self.model, signature)
            made.objectives = [replace(o, shape=shape) for o, shape in zip(self.objectives, shapes)]
        return made.objectives

    def signature(self, batch: Batch) -> Signature:
        """What the programs for a batch are made for, but for the number of images."""
        found = of_batch(batch, self.model.inputs)
        if batch.given is not None:
            found = replace(found, given=batch.given)
        return found.with_targets(batch, len(self.objectives)) if self.has_own_targets else found

    def step(self, kind: str, shapes: Sequence[Sequence[int]] | None = None) -> StepProgram:
        """The step of this kind.

        Args:
            shapes: of one sample of every input, for a model that takes any; None for those it met last.
        Raises: ArgumentError for another word than "train", "test" and "predict"; NotBuiltError before the
            shapes are known, or for "train" and "test" without `compile` or without a loss.
        """
        if kind not in KINDS:
            raise ArgumentError(f'A step is "train", "test" or "predict", got {kind!r}.')
        if self.own_steps.has(kind):
            raise ArgumentError(
                f"Model {self.model.name!r} says itself what a {kind!r} step does: it is no one program "
                "whose buffers could be recorded or explained. Override compute_loss instead of the step "
                "where you want that."
            )
        self.look_for_changes()
        signature = self.usual() if shapes is None else of_shapes(shapes, self.model.inputs)
        return self._made_for(self._rows_met(), signature, kind, ())[1]

    def _rows_met(self) -> int:
        """The number of images that a program was last made for; that of a usual batch if none was."""
        met = [signature.rows for signature in self._steps if signature.rows is not None]
        return met[-1] if met else USUAL_ROWS

    def usual(self) -> Signature:
        """What a step is made for where nobody says it: the sizes that the model met last."""
        met = self._steps.latest()
        if not self.is_open:
            return met if met is not None and (self.has_own_targets or self.has_own_total) else ANY
        if met is None:
            shapes = ", ".join(str(tensor.shape[1:]) for tensor in self.model.inputs)
            raise NotBuiltError(
                f"Model {self.model.name!r} takes samples of shape {shapes} and has met none yet: it has a "
                'program for each size. Say which one, for example step("predict", input_shape=(64, 64, 3)), '
                "or run a batch first."
            )
        return met

    def make_slots(self, data: Any) -> None:
        """Make the optimiser's arrays where none is there yet, because a model of any size has met no batch.

        Args:
            data: what it is to be trained on.
        """
        if self.is_open and self.has_loss and not self.slots:
            met = self._steps.latest()
            shapes = data.x_shape
            several = shapes if isinstance(shapes, list) else [shapes]
            self._made(of_shapes(several, self.model.inputs) if met is None else met, "train")

    def step_on(self, kind: str, batch: Batch) -> StepProgram:
        """The step that takes a batch, with everything that was changed since the last one; see `step`."""
        self.look_for_changes()
        return self.step_for(kind, batch)

    def step_for(self, kind: str, batch: Batch, buffers: Mapping[str, str] | None = None) -> StepProgram:
        """The step that takes a batch of these sizes and as it is weighted; see `step`.

        Args:
            buffers: label -> name of a buffer that the step is to give too; made once for each set of them.
        """
        self._handed_out += 1
        signature = self.signature(batch)
        positions = () if kind == "predict" else batch.weighted_positions(len(self.objectives))
        signature, step = self._made_for(batch.rows, signature, kind, positions)
        if not buffers:
            return step
        key = (kind, positions, frozenset(buffers.items()))
        return self._steps.step(signature, key, lambda: step.keeping(buffers))

    def digest_for(self, batch: Batch) -> str:
        """Of what the training step for a batch computes."""
        positions = batch.weighted_positions(len(self.objectives))
        return self._made_for(batch.rows, self.signature(batch), "train", positions)[1].digest

    def _made_for(
        self, rows: int, signature: Signature, kind: str, positions: tuple[int, ...]
    ) -> tuple[Signature, StepProgram]:
        """The step for batches of a signature; for so many images alone where it cannot be for any number."""
        if kind not in self._needs_rows:
            try:
                return signature, self._made(signature, kind, positions)
            except BatchSizeNeeded:
                self._needs_rows.add(kind)
        signature = replace(signature, rows=rows)
        return signature, self._made(signature, kind, positions)

    def _made(self, signature: Signature, kind: str, positions: tuple[int, ...] = ()) -> StepProgram:
        """The step for a signature, built if there is none."""
        key = (kind, positions)
        return self._steps.step(signature, key, lambda: self._build(kind, signature, positions))

    def _build(self, kind: str, signature: Signature, positions: Sequence[int]) -> StepProgram:
        if kind == "predict":
            built = building.build_prediction(self.model, signature)
        elif kind == "test":
            objectives = self.objectives_at(signature)
            built = building.build_test(self.model, objectives, positions, signature)
        else:
            built = self._training(signature, positions)
            self._trained = built.variables
        if self._reading is not None:  # code that is traced may have kept something in its layers
            self._reading = Reading(self.model, self._objectives or (), self.optimizer)
        if kind == "train" and (shards := shards_of(self.shards)) > 1:
            return self._in_shards(built, shards, signature, positions)
        executable = prepare(built.program, built.variables, self.engine)
        return StepProgram(kind, executable, built.afterwards)

    def _training(self, signature: Signature, positions: Sequence[int]) -> building.Built:
        optimizer, objectives = self.compiled_optimizer(), self.objectives_at(signature)
        return building.build_training(self.model, objectives, optimizer, positions, signature)

    def _in_shards(
        self, built: building.Built, count: int, signature: Signature, positions: Sequence[int]
    ) -> StepProgram:
        from kernelearn.training.steps.shard_run import Shards
        from kernelearn.training.steps.sharded import sharded

        reductions = [None if o.loss is None else o.loss.reduction for o in self._objectives or ()]
        if "mean_with_sample_weight" in reductions:
            raise ArgumentError(
                "reduction='mean_with_sample_weight' divides by the weights of the whole batch, which no "
                "shard knows. Use reduction='sum_over_batch_size' or 'sum', or train without shards."
            )
        of_all = [layer for layer in self.model.flat_layers() if getattr(layer, "synchronized", False)]
        is_sum = tuple(number for number, reduction in enumerate(reductions) if reduction == "sum")
        moving = tuple(layer.moving_mean for layer in of_all)
        shards = Shards(count, world.exchange(), is_sum, moving, self.transport)
        programs: dict[int | None, building.Built] = {None: built}
        if signature.rows is not None:  # the program is for so many images, and shards have other numbers
            programs = {
                rows: self._training(replace(signature, rows=rows), positions)
                for rows in shards.sizes(signature.rows)
            }
        engine = resolve_engine(self.engine)
        return sharded(built.program, programs, built.variables, engine, built.afterwards, shards)

    # --- moving averages

    def averages(self) -> list[tuple[Variable, Variable]]:
        """Each trained weight and its moving average, if the optimiser keeps them: see its `use_ema`."""
        variables = self._trained or self.step("train").variables
        pairs = [(weight, self.slots.get(average_name(name))) for name, weight in variables.items()]
        return [(weight, average) for weight, average in pairs if average is not None]

    def swap_averages(self) -> None:
        """Put moving averages in the place of the weights, and the weights in theirs; or both back."""
        for weight, average in self.averages():
            array = weight.numpy()
            weight.assign(average.numpy())
            average.assign(array)
        self.is_averaged = not self.is_averaged

    @property
    def held(self) -> Mapping[str, Variable]:
        """Name -> weight or array of the optimiser, of the training step that was built last."""
        return self._trained

    def finish_averages(self) -> None:
        """Leave moving averages, where the optimiser keeps them, as the weights: a `fit` is over."""
        optimizer = self.compiled_optimizer()
        if optimizer.use_ema and optimizer.iterations:
            if not self.is_averaged:
                self.swap_averages()
            for weight, average in self.averages():
                average.assign(weight.numpy())
            self.is_averaged = False

    # --- others

    def try_own_code(self, batch: Batch) -> None:
        """Trace losses of the user's own for a batch, so that what is wrong in them is said before the first
        step. The optimiser's arrays are there then.
        """
        if self.has_own_targets or self.has_own_total:
            self.step_for("train", batch)

    def put(self, step: StepProgram) -> None:
        """Use this step for its kind from now on."""
        self._steps.at(self.usual()).steps[step.kind, ()] = step
