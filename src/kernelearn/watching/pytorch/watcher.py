"""`watch`: a training in PyTorch's own loop writes the run folder that all explanations read.

    forward of the module    on recorded steps: find the uses of weights in the graph and hook them (`passes`)
    backward                 the hooks take inputs and gradients of outputs
    optimizer.step, before   gradients as they reach the optimiser; weights are still those before the update
    optimizer.step, after    weights and the optimiser's arrays; everything is written

On all other steps the hooks count images, and see that nothing is due. Where it is known that nothing will be
due for some steps, and nobody tells of losses or images, they count steps and images alone: code that is not
in the caches takes many times as long as a loop of it does (`_sleep`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.recording.arguments import checked_flag
from kernelearn.recording.schedule import Stream
from kernelearn.storage import PathLike
from kernelearn.watching.book import WatchBook
from kernelearn.watching.opening import Opening, tried
from kernelearn.watching.pytorch import checks, compiled
from kernelearn.watching.pytorch.assembling import assemble
from kernelearn.watching.pytorch.holding import held_model
from kernelearn.watching.pytorch.hooks import Hook
from kernelearn.watching.pytorch.notes import Notes
from kernelearn.watching.pytorch.passes import Passes
from kernelearn.watching.pytorch.probing import Probing
from kernelearn.watching.pytorch.trained import Trained
from kernelearn.watching.sayings import giving_up
from kernelearn.watching.seen import SeenStep
from kernelearn.watching.standing import Standing

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
    checked_flag("watch", "hold_model", hold_model)
    checks.check_module(module)
    trained = Trained(module, optimizer)
    checks.check_optimizer(trained.optimizer, trained.names)
    if criterion is not None:
        checks.check_criterion(criterion)
    if loader is not None:
        checks.check_loader(loader)
    if checks.processes(module)[0]:  # every process trains; the first one records
        return Watcher(trained, None, None, None)
    probing = None
    if probe_images is not None:
        probing = tried("watch", lambda: Probing(module, trained.names, probe_images))
    book = opening.book(trained.about(), module)
    if probing is not None:
        book.watch_probes(probing.images(), probing.maps)
    return Watcher(trained, book, criterion, loader, hold_model)


class Watcher(Standing):
    """A training that is being watched; made by `watch`."""

    def __init__(
        self,
        trained: Trained,
        book: WatchBook | None,
        criterion: Any,
        loader: Any,
        holds_model: bool = False,
    ) -> None:
        self._trained, self._book, self._loader = trained, book, loader
        self._is_on = book is not None
        self._share = checks.processes(trained.module)[1]
        self._notes = Notes(trained.names, self.event, self._share < 1)
        self._passes = Passes(trained, loader, self._notes, self._is_ledger_due, self._counted)
        self._passes.keeps_example = holds_model
        self._epoch, self._criterion = -1, criterion
        self._handles: list[Any] = []
        self._before: Any = None  # handle of the hook before an update: not there while it sleeps
        self._asleep = self._sleeps_for = 0  # steps left, and all of them
        self._is_told = criterion is not None or loader is not None  # something of every step, from outside
        if book is not None:
            self._hook(criterion)
            self.stand()

    @property
    def folder(self) -> Path | None:
        """Of the run; None in the other processes of a training by several."""
        return None if self._book is None else self._book.folder

    @property
    def watched(self) -> Any:
        """The module."""
        return self._trained.module

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
        self._guarded(self._wake)()
        self._is_told = True
        step = self._passes.step
        if loss is not None:
            step.losses = [loss.detach() if hasattr(loss, "detach") else float(loss)]
        if labels is not None:
            step.labels = [np.asarray(labels).reshape(-1)]
        if images is not None:
            step.images = [np.asarray(images).reshape(-1)]
        if epoch is not None:
            self._counted(self._begin_epoch)(int(epoch))

    def see_pass(self, loss: Any, batch: Any = None, share: float = 1.0) -> None:
        """Tell of a forward pass that did not go through the module's own call, before its backward pass.

        Args:
            loss: that the backward pass begins with, a tensor.
            batch: what the pass was of; its first tensor says how many images, a second one of class numbers
                what they are.
            share: what the loss of the batch was multiplied by, where gradients of several are accumulated.
        """
        self._guarded(self._wake)()
        self._is_told = True
        self._counted(self._passes.see_loss)(loss, batch, share)

    def stop(self) -> None:
        """End the recording: all hooks are removed, the files are closed."""
        self.end()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.end("finished" if kind is None else "interrupted")

    # --- hooks

    def _hook(self, criterion: Any) -> None:
        optimizer = self._trained.optimizer
        self._passes.hook(criterion)
        self._handles.append(optimizer.register_step_post_hook(self._guarded(self._after_update)))
        self._hook_before()
        self._prepare_next()

    def _hook_before(self) -> None:
        optimizer = self._trained.optimizer
        self._before = optimizer.register_step_pre_hook(self._counted(self._before_step))

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

    def _counted(self, function: Callable[..., Any]) -> Hook:
        """The same; the time that it takes is told to the book."""

        def call(*arguments: Any) -> Any:
            book = self._book
            assert book is not None
            began = book.now()
            try:
                return function(*arguments)
            finally:
                book.aside(began)

        return self._guarded(call)

    def _is_ledger_due(self) -> bool:
        book = self._book
        return self._is_on and book is not None and (book.is_ledger_due or not book.has_begun)

    @property
    def _is_any_due(self) -> bool:
        """Whether anything will be written of the step."""
        book, step = self._book, self._passes.step
        return book is not None and bool(
            book.due or step.losses or step.images or step.labels or not book.has_begun
        )

    def _before_step(self, optimizer: Any, arguments: Any, options: Any) -> Any:
        """Before `optimizer.step`: before the update, or before a closure that computes the gradients."""
        given = options.get("closure", arguments[1] if len(arguments) > 1 else None)
        if given is None:
            if self._is_any_due:
                self._before_update()
            return None

        def closure() -> Any:
            result = given()
            if not self._passes.has_looked:  # an optimiser that computes several times: the first time counts
                self._counted(self._before_update)()
                self._passes.has_looked = True
            return result

        return arguments[:1], {**options, "closure": closure}

    def _before_update(self) -> None:
        book, trained = self._book, self._trained
        assert book is not None
        seen = SeenStep(self._passes.step.rows, trained.learning_rate)
        if self._is_ledger_due():
            passes = self._passes.step.passes_that_came_back()
            seen.rows = self._passes.step.rows
            if not passes and not self._passes.is_compiled and compiled.has_compiled():
                self._passes.is_compiled = True
                return  # as below: what was compiled and hides its passes was not known
            self._notes.of_module(trained.module, passes)
            # NOTE: before gradients are read, because uses say how weights are laid out.
            trained.names.learn(use for found in passes for use in found.uses)
            if self._passes.keeps_example and any(found.uses for found in passes):
                began = book.now()
                self._hold_model(book)
                book.set_apart(began)
            seen.gradients = trained.gradients()
            raw = {key: trained.names.turned(p, before) for key, (p, before) in self._passes.step.raw.items()}
            found = assemble(passes, trained.names, raw, seen.gradients, self._share)
            seen.uses = found.uses
            self._notes.of_uses(found)
            if not found.uses and any(p.is_compiled for p in passes):
                return  # the next step runs without compiled code, and begins the run
            book.prepare(trained.model(book.step, self._loader is not None), seen)
        elif Stream.GRADIENTS in book.due:
            seen.gradients = trained.gradients()
        self._passes.step.seen = seen

    def _hold_model(self, book: WatchBook) -> None:
        """Read the model, once: the run begins with it."""
        self._passes.keeps_example = False
        names = self._trained.names
        held = held_model(self._trained.module, self._passes.step.example, names, self._criterion)
        if held.config is None:
            self._notes.say(
                f"The run does not hold the model: {held.why} Ledgers, updates, histories and the report "
                "work on it; what computes with the model (explain unit, delta, dense, field) does not."
            )
            return
        names.place(held.placements, held.constants)
        shapes = {path: seen.shape for path, seen in names.weights().items()}
        book.hold(held.config, shapes, held.compiled)

    def _sleep(self) -> None:
        """Do as little as possible until something may be due."""
        assert self._book is not None
        self._asleep = self._sleeps_for = 0 if self._is_told else self._book.free_steps
        if self._asleep:
            self._passes.is_asleep = True
            self._before.remove()
            self._before = None

    def _wake(self) -> None:
        """Tell of the steps that have passed, and look again."""
        if not self._passes.is_asleep:
            return
        done, self._asleep = self._sleeps_for - self._asleep, 0
        rows = self._passes.wake()
        self._hook_before()
        if done:
            assert self._book is not None
            self._book.slept(done, rows)
            self._prepare_next()

    def _after_update(self, optimizer: Any, arguments: Any, options: Any) -> None:
        if self._asleep:
            self._asleep -= 1
            self._passes.next_asleep()
            if not self._asleep:
                self._wake()
            return
        book, seen = self._book, self._passes.step.seen
        assert book is not None
        book.arrive()
        if self._loader is not None:
            self._begin_epoch(self._loader.epoch)
        if seen is None or not book.has_begun:
            book.skip(self._passes.step.rows)
        else:
            book.record(self._passes.step.complete(seen, self._epoch))
        self._is_told = self._is_told or bool(self._passes.step.losses)
        self._passes.forget_step()
        self._prepare_next()
        self._sleep()

    def _begin_epoch(self, epoch: int) -> None:
        if epoch != self._epoch and self._epoch >= 0 and self._book is not None:
            self._book.end_epoch(self._epoch)
        self._epoch = epoch

    def _prepare_next(self) -> None:
        """A compiled module hides what it does: the next recorded step runs without its compiled code."""
        if self._passes.is_compiled:
            compiled.run_eagerly(self._is_ledger_due())

    # --- ending

    def _give_up(self, error: Exception) -> None:
        giving_up("watch", error)
        with contextlib.suppress(Exception):
            self.end("interrupted")
        self._is_on = False

    def end(self, kind: str = "finished") -> None:
        """End the recording: all hooks are removed, the files are closed; twice does no harm."""
        if not self._is_on:
            return
        try:
            self._wake()
        finally:
            self._is_on = False
            self._unhook()
        if self._book is not None:
            self._book.close(kind)

    def _unhook(self) -> None:
        self._passes.unhook()
        for handle in (*self._handles, self._before):
            if handle is not None:
                handle.remove()
        self._handles, self._before = [], None
        if self._passes.is_compiled:
            compiled.run_eagerly(False)
