"""`watch`: a training in PyTorch's own loop writes the run folder that all explanations read.

    forward of the module    on recorded steps: find the uses of weights in the graph and hook them
    backward                 the hooks take inputs and gradients of outputs
    optimizer.step, before   gradients as they reach the optimiser; weights are still those before the update
    optimizer.step, after    weights and the optimiser's arrays; everything is written

On all other steps the hooks count images, and see that nothing is due.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.recording.schedule import Stream
from kernelearn.storage import PathLike
from kernelearn.watching.book import WatchBook
from kernelearn.watching.opening import Opening, tried
from kernelearn.watching.pytorch import checks, compiled
from kernelearn.watching.pytorch.assembling import assemble
from kernelearn.watching.pytorch.graph import Inputs, Pass, find_uses
from kernelearn.watching.pytorch.holding import held_model
from kernelearn.watching.pytorch.hooks import Hook
from kernelearn.watching.pytorch.layouts import array_of
from kernelearn.watching.pytorch.notes import Notes
from kernelearn.watching.pytorch.probing import Probing
from kernelearn.watching.pytorch.trained import Trained
from kernelearn.watching.sayings import giving_up
from kernelearn.watching.seen import Array, SeenStep
from kernelearn.watching.standing import stand

_PURPOSE = "watching a training in PyTorch"


def watch(
    module: Any,
    optimizer: Any,
    run: PathLike = "runs/watched",
    every: int | None = None,
    *,
    kernels_every: int | None = None,
    maps_every: int | None = None,
    layers: Any = None,
    probe_images: Any = None,
    criterion: Any = None,
    loader: Any = None,
    class_names: Any = None,
    hold_model: bool = True,
    max_bytes: int = 2**30,
    overwrite: bool = False,
) -> Watcher:
    """Record how a module of PyTorch learns, in the loop that trains it.

    Args:
        module: the `torch.nn.Module` that is trained; its weights, and all that is called below it, are seen.
        optimizer: that updates them; a step of it is a step of the run.
        run: folder of the run.
        every: record the factors of the gradients every so many steps, and at the first. None for every 100
            steps, as far as recording stays under 5 % of the training's time.
        kernels_every: record the weights every so many steps; None for every step, as far as the 5 % allow.
        maps_every: the same for feature maps of the probe images; None as `every`.
        layers: names of the modules to record, or "all"; None for all with a convolution, and small others.
        probe_images: (n, ...) tensor as the module takes it.
        criterion: the module that computes the loss from (outputs, targets): the run has its losses, and the
            classes of the images. Without it say them: `watcher.note(loss=..., labels=...)`.
        loader: a `NumberedLoader`, which knows the numbers of the images.
        class_names: names of the classes, in the order of their numbers.
        hold_model: read the module with `from_torch` before the first update (some seconds, once), so that
            explanations can compute with the model; where that is not possible, a warning says what works.
        max_bytes, overwrite: as for the Recorder.
    Returns: a Watcher; `stop()` ends it, and so does leaving `with watch(...)`.
    Raises: ArgumentError for what cannot be watched, with what to do; StorageError for the folder;
        MissingDependencyError without PyTorch.

    Training computes the same with it. An error while recording ends the recording, with a warning.
    """
    require("torch", _PURPOSE)
    maps = 0 if probe_images is None else maps_every
    opening = Opening("watch", run, every, kernels_every, maps, layers, max_bytes, overwrite, class_names)
    checks.check_module(module)
    trained = Trained(module, optimizer)
    checks.check_optimizer(trained.optimizer, trained.names)
    if criterion is not None:
        checks.check_criterion(criterion)
    if checks.processes(module)[0]:  # every process trains; the first one records
        return Watcher(trained, None, None, None)
    probing = None
    if probe_images is not None:
        probing = tried("watch", lambda: Probing(module, trained.names, probe_images))
    book = opening.book(trained.about(), module)
    if probing is not None:
        book.watch_probes(probing.images(), probing.maps)
    return Watcher(trained, book, criterion, loader, hold_model)


@dataclass
class _Step:
    """What is known so far of the step that is being computed.

    raw: id of a parameter -> it, and its gradient as the backward passes left it.
    """

    passes: list[Pass] = field(default_factory=list)
    raw: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    losses: list[Any] = field(default_factory=list)
    labels: list[Array] = field(default_factory=list)
    images: list[Array] = field(default_factory=list)
    rows: int = 0
    unmatched: int = 0  # passes through the module's own call since the last `see_pass`
    example: tuple[Any, ...] | None = None  # what the module was called with, while the model is to be read
    seen: SeenStep | None = None

    def complete(self, seen: SeenStep, epoch: int) -> SeenStep:
        """Add loss, classes and numbers of the images, where they are known of all images."""
        losses = [float(loss) for loss in self.losses]
        seen.epoch, seen.loss = max(epoch, 0), sum(losses) / len(losses) if losses else math.nan
        images, labels = _joined(self.images), _joined(self.labels)
        seen.images = images if images is not None and len(images) == seen.rows else None
        seen.labels = labels if labels is not None and len(labels) == seen.rows else None
        return seen


class Watcher:
    """A training that is being watched; made by `watch`.

    Attributes:
        folder: of the run; None in the other processes of a training by several.
    """

    def __init__(
        self,
        trained: Trained,
        book: WatchBook | None,
        criterion: Any,
        loader: Any,
        holds_model: bool = False,
    ) -> None:
        self._trained, self._book, self._loader = trained, book, loader
        self.folder = None if book is None else book.folder
        self._share = checks.processes(trained.module)[1]
        self._notes = Notes(trained.names, self.event, self._share < 1)
        self._inputs = Inputs(trained.names.paths)
        self._is_compiled = compiled.is_compiled(trained.module)
        self._step, self._epoch = _Step(), -1
        self._holds_model, self._criterion = holds_model, criterion
        self._handles: list[Any] = []
        self._of_step: list[Any] = []  # handles of hooks that a recorded step has
        self._has_looked = False  # at this step's gradients, which its optimiser asks for more than once
        self._keeps_inputs, self._is_grad_enabled = False, require("torch", _PURPOSE).is_grad_enabled
        self._is_on = book is not None
        if book is not None:
            self._hook(criterion)
            stand(self)

    # --- what the user calls

    def note(
        self, loss: Any = None, labels: Any = None, images: Any = None, epoch: int | None = None
    ) -> None:
        """Say what cannot be seen of the step that comes next: before `optimizer.step()`.

        Args:
            loss: of the batch, a number or a tensor.
            labels: (n,) class numbers of its images.
            images: (n,) numbers of its images in the data.
            epoch: number of the pass through the data, from 0.
        """
        if not self._is_on:
            return
        step = self._step
        if loss is not None:
            step.losses = [loss.detach() if hasattr(loss, "detach") else float(loss)]
        if labels is not None:
            step.labels = [np.asarray(labels).reshape(-1)]
        if images is not None:
            step.images = [np.asarray(images).reshape(-1)]
        if epoch is not None:
            self._begin_epoch(int(epoch))

    def event(self, kind: str, **about: Any) -> None:
        """Note what happened, at the step that was done last."""
        if self._book is not None and self._is_on:
            self._book.event(kind, **about)

    def stop(self) -> None:
        """End the recording: all hooks are removed, the files are closed."""
        self._end("finished")

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self._end("finished" if kind is None else "interrupted")

    # --- what other watchers ask

    @property
    def watched(self) -> Any:
        """The module."""
        return self._trained.module

    @property
    def is_writing(self) -> bool:
        """Whether it records."""
        return self._is_on

    def give_way(self) -> None:
        """End the recording, as interrupted."""
        self._end("interrupted")

    def forget(self) -> None:
        """In a process that was forked off: the run is that of its parent."""
        self._is_on = False

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.give_way()

    # --- hooks

    def _hook(self, criterion: Any) -> None:
        module, optimizer = self._trained.module, self._trained.optimizer
        self._handles += [
            module.register_forward_hook(self._guarded(self._after_forward), with_kwargs=True),
            optimizer.register_step_pre_hook(self._guarded(self._before_step)),
            optimizer.register_step_post_hook(self._guarded(self._after_update)),
        ]
        if criterion is not None:
            self._handles.append(criterion.register_forward_hook(self._guarded(self._after_loss)))
        self._prepare_next()

    def _guarded(self, function: Callable[..., Any]) -> Hook:
        """The function, whose errors end the recording and not the training."""

        def call(*arguments: Any) -> Any:
            if not self._is_on:
                return None
            try:
                return function(*arguments)
            except Exception as error:
                self._give_up(error)
                return None

        return Hook(call)

    @property
    def _is_ledger_due(self) -> bool:
        book = self._book
        return book is not None and (book.is_ledger_due or not book.has_begun)

    @property
    def _is_any_due(self) -> bool:
        """Whether anything will be written of the step."""
        book, step = self._book, self._step
        return book is not None and bool(
            book.due or step.losses or step.images or step.labels or not book.has_begun
        )

    def _before_forward(self, module: Any, arguments: Any) -> None:
        """There once inputs are needed that the graph does not give."""
        if not self._is_ledger_due:
            return
        self._inputs.kept.clear()
        for owner in module.modules():
            weight = owner._parameters.get("weight")
            if weight is not None and not list(owner.children()):
                self._of_step.append(owner.register_forward_pre_hook(Hook(self._keeper(weight))))

    def _keep_inputs_from_now_on(self) -> None:
        """Where the graph does not give inputs, they are kept on their way."""
        if self._inputs.are_needed and not self._keeps_inputs:
            self._keeps_inputs = True
            hook = self._guarded(self._before_forward)
            self._handles.append(self._trained.module.register_forward_pre_hook(hook))

    def _keeper(self, weight: Any) -> Callable[..., None]:
        """A hook that keeps what a module is called with, for the weight that it uses."""

        def keep(module: Any, arguments: Any) -> None:
            if arguments and self._is_on:
                values = np.array(array_of(arguments[0]), np.float32)
                self._inputs.kept.setdefault(id(weight), []).append(values)

        return keep

    def _after_forward(self, module: Any, arguments: Any, options: Any, outputs: Any) -> None:
        # Most often one tensor came out and nothing is due: nothing is looked for then.
        is_plain = hasattr(outputs, "grad_fn")
        results = [outputs] if is_plain else list(_tensors(outputs))
        results = [output for output in results if output.grad_fn is not None]
        if not (results and self._is_grad_enabled()):
            return
        is_given = bool(arguments) and hasattr(arguments[0], "grad_fn")
        first = arguments[0] if is_given else next(_tensors((arguments, options)), None)
        self._see(results, 0 if first is None or not first.dim() else len(first), (arguments, options))
        self._step.unmatched += 1
        if not is_plain:
            self._note_answer(outputs, options)

    def _note_answer(self, outputs: Any, options: Mapping[str, Any]) -> None:
        """Loss and classes of a module that takes its targets and gives its loss, as in Transformers."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else None
        if loss is not None and loss.dim() == 0:
            self._step.losses.append(loss.detach())
            self._note_targets(options.get("labels"))

    def see_pass(self, loss: Any, batch: Any = None) -> None:
        """Tell of a forward pass that did not go through the module's own call, before its backward pass.

        Args:
            loss: that the backward pass begins with, a tensor.
            batch: what the pass was of; its first tensor says how many images, a second one of class numbers
                what they are.
        """
        self._guarded(self._see_loss)(loss, batch)

    def _see_loss(self, loss: Any, batch: Any) -> None:
        tensors = list(_tensors(batch))
        if self._step.unmatched:  # the module was called after all
            self._step.unmatched = 0
        else:
            rows = int(tensors[0].shape[0]) if tensors and tensors[0].dim() else 0
            self._see([loss], rows, ((), {}))
        self._step.losses.append(loss.detach())
        self._note_targets(tensors[1] if len(tensors) > 1 else None)

    def _note_targets(self, target: Any) -> None:
        if hasattr(target, "dim") and target.dim() == 1 and not target.is_floating_point():
            self._step.labels.append(target.detach().cpu().numpy())

    def _see(self, results: list[Any], rows: int, given: tuple[Any, Any]) -> None:
        """A forward pass has been done that gave these outputs for these arguments and options."""
        if self._has_looked:
            return
        if self._step.passes:
            self._forget_if_dropped()
        self._step.rows += rows
        if self._loader is not None and self._loader.images is not None:
            self._step.images.append(self._loader.images)
        if self._is_ledger_due:
            self._remove_step_hooks()
            self._step.example = _example(*given) if self._holds_model else None
            found = find_uses(results, rows, self._inputs)
            self._step.passes.append(found)
            self._is_compiled |= found.is_compiled
            self._keep_inputs_from_now_on()
            self._notes.of_pass(found)
            for weight in {id(use.weight): use.weight for use in found.uses}.values():
                self._of_step.append(weight.register_post_accumulate_grad_hook(Hook(self._keep_raw)))

    def _forget_if_dropped(self) -> None:
        """Forget passes whose update never came: their gradients were thrown away (a scaler skipped it)."""
        uses = [use for found in self._step.passes for use in found.uses]
        has_been_back = any(use.delta is not None for use in uses)
        if has_been_back and all(_is_zero(use.weight.grad) for use in uses[:4]):
            self.event("step skipped")
            self._forget_step()

    def _keep_raw(self, parameter: Any) -> None:
        if not parameter.grad.is_sparse:
            self._step.raw[id(parameter)] = parameter, parameter.grad.detach().clone()

    def _after_loss(self, criterion: Any, arguments: Any, loss: Any) -> None:
        if self._has_looked or not getattr(loss, "requires_grad", False):
            return
        self._step.losses.append(loss.detach())
        self._note_targets(arguments[1] if len(arguments) > 1 else None)

    def _before_step(self, optimizer: Any, arguments: Any, options: Any) -> Any:
        """Before `optimizer.step`: before the update, or before a closure that computes the gradients."""
        given = options.get("closure", arguments[1] if len(arguments) > 1 else None)
        if given is None:
            if self._is_any_due:
                self._before_update()
            return None

        def closure() -> Any:
            result = given()
            if not self._has_looked:  # an optimiser that computes several times: the first time counts
                self._guarded(self._before_update)()
                self._has_looked = True
            return result

        return arguments[:1], {**options, "closure": closure}

    def _before_update(self) -> None:
        book, trained = self._book, self._trained
        assert book is not None
        seen = SeenStep(self._step.rows, trained.learning_rate)
        if self._is_ledger_due:
            passes = self._passes_that_came_back()
            seen.rows = self._step.rows
            if not passes and not self._is_compiled and compiled.has_compiled():
                self._is_compiled = True
                return  # as below: what was compiled and hides its passes was not known
            self._notes.of_module(trained.module, passes)
            # NOTE: before gradients are read, because uses say how weights are laid out.
            trained.names.learn(use for found in passes for use in found.uses)
            if self._holds_model and any(found.uses for found in passes):
                self._hold_model(book)
            seen.gradients = trained.gradients()
            raw = {key: trained.names.turned(p, before) for key, (p, before) in self._step.raw.items()}
            found = assemble(passes, trained.names, raw, seen.gradients, self._share)
            seen.uses = found.uses
            self._notes.of_uses(found)
            if not found.uses and any(p.is_compiled for p in passes):
                return  # the next step runs without compiled code, and begins the run
            book.prepare(trained.model(book.step, self._loader is not None), seen)
        elif Stream.GRADIENTS in book.due:
            seen.gradients = trained.gradients()
        self._step.seen = seen

    def _passes_that_came_back(self) -> list[Pass]:
        """Those that have a part in the gradient: others were done to look at their outputs, or failed."""
        step = self._step
        if not all(found.came_back for found in step.passes):
            if len(step.images) == len(step.passes):
                step.images = [i for i, found in zip(step.images, step.passes) if found.came_back]
            for found in step.passes:
                if not found.came_back:
                    found.release()
            step.passes = [found for found in step.passes if found.came_back]
            step.rows = sum(found.rows for found in step.passes)
        return step.passes

    def _hold_model(self, book: WatchBook) -> None:
        """Read the model, once: the run begins with it."""
        self._holds_model = False
        names = self._trained.names
        held = held_model(self._trained.module, self._step.example, names, self._criterion)
        if held.config is None:
            self._notes.say(
                f"The run does not hold the model: {held.why} Ledgers, updates, histories and the report "
                "work on it; what computes with the model (explain unit, delta, dense, field) does not."
            )
            return
        names.place(held.placements)
        shapes = {path: seen.shape for path, seen in names.weights().items()}
        book.hold(held.config, shapes, held.compiled)

    def _after_update(self, optimizer: Any, arguments: Any, options: Any) -> None:
        book, seen = self._book, self._step.seen
        assert book is not None
        book.arrive()
        if self._loader is not None:
            self._begin_epoch(self._loader.epoch)
        if seen is None or not book.has_begun:
            book.skip(self._step.rows)
        else:
            book.record(self._step.complete(seen, self._epoch))
        self._forget_step()
        if self._is_compiled:
            self._prepare_next()

    def _begin_epoch(self, epoch: int) -> None:
        if epoch != self._epoch and self._epoch >= 0 and self._book is not None:
            self._book.end_epoch(self._epoch)
        self._epoch = epoch

    def _prepare_next(self) -> None:
        """A compiled module hides what it does: the next recorded step runs without its compiled code."""
        if self._is_compiled:
            compiled.run_eagerly(self._is_ledger_due)

    # --- ending

    def _forget_step(self) -> None:
        step = self._step
        if self._of_step or step.passes or self._inputs.kept:
            self._remove_step_hooks()
            for found in step.passes:
                found.release()
            self._inputs.kept.clear()
        self._step, self._has_looked = _Step(), False

    def _remove_step_hooks(self) -> None:
        for handle in self._of_step:
            handle.remove()
        self._of_step = []

    def _give_up(self, error: Exception) -> None:
        giving_up("watch", error)
        with contextlib.suppress(Exception):
            self._end("interrupted")
        self._is_on = False

    def _end(self, kind: str) -> None:
        if not self._is_on:
            return
        self._is_on = False
        self._forget_step()
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._is_compiled:
            compiled.run_eagerly(False)
        if self._book is not None:
            self._book.close(kind)


def _example(arguments: Any, options: Any) -> tuple[Any, ...] | None:
    """What a module was called with, where it is tensors alone."""
    is_plain = bool(arguments) and not options and all(hasattr(a, "grad_fn") for a in arguments)
    return tuple(a.detach()[:2].cpu() for a in arguments) if is_plain else None


def _is_zero(gradient: Any) -> bool:
    return gradient is None or not bool(gradient.any())


def _tensors(values: Any) -> Iterator[Any]:
    """The tensors in nested arguments or results."""
    if hasattr(values, "grad_fn"):
        yield values
    elif isinstance(values, Mapping | list | tuple):
        for value in values.values() if isinstance(values, Mapping) else values:
            yield from _tensors(value)


def _joined(parts: list[Array]) -> Array | None:
    return np.concatenate(parts).astype(np.int64) if parts else None
