"""`watch`: a training in PyTorch's own loop writes the run folder that all explanations read.

    forward of the module    on recorded steps: find the uses of weights in the graph and hook them
    backward                 the hooks take inputs and gradients of outputs
    optimizer.step, before   gradients as they reach the optimiser; weights are still those before the update
    optimizer.step, after    weights and the optimiser's arrays; everything is written

On all other steps three hooks look at one flag each.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.recording.schedule import Stream
from kernelearn.storage import PathLike
from kernelearn.watch.book import WatchBook
from kernelearn.watch.pytorch import rules
from kernelearn.watch.pytorch.assembling import Assembled, assemble
from kernelearn.watch.pytorch.graph import Inputs, Pass, find_uses
from kernelearn.watch.pytorch.hooks import Hook
from kernelearn.watch.pytorch.names import Names
from kernelearn.watch.pytorch.probing import Probing
from kernelearn.watch.seen import Array, SeenModel, SeenRule, SeenStep

# Steps between ledgers, and between feature maps, where the user does not say.
_USUAL = 100
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
        max_bytes, overwrite: as for the Recorder.
    Returns: a Watcher; `stop()` ends it, and so does leaving `with watch(...)`.
    Raises: ArgumentError for what cannot be watched, with what to do; StorageError for the folder.

    Training computes the same with it. An error while recording ends the recording, with a warning.
    """
    require("torch", _PURPOSE)
    strides = {
        Stream.KERNELS: kernels_every,
        Stream.LEDGER: every,
        Stream.MAPS: maps_every if probe_images is not None else 0,
    }
    return Watcher(
        module,
        optimizer,
        run,
        strides,
        layers,
        probe_images,
        criterion,
        loader,
        class_names,
        max_bytes,
        overwrite,
    )


class Watcher:
    """A training that is being watched; made by `watch`.

    Attributes:
        folder: of the run.
    """

    def __init__(
        self,
        module: Any,
        optimizer: Any,
        run: PathLike,
        strides: Mapping[Stream, int | None],
        layers: Any,
        probe_images: Any,
        criterion: Any,
        loader: Any,
        class_names: Any,
        max_bytes: int,
        overwrite: bool,
    ) -> None:
        _check_module(module)
        self._module, self._optimizer = module, rules.plain_optimizer(optimizer)
        self._names = Names(module)
        _check_optimizer(self._optimizer, self._names)
        self._loader, self._is_compiled = loader, hasattr(module, "_orig_mod")
        self._passes: list[Pass] = []
        self._inputs = Inputs(self._names.paths)
        self._raw: dict[int, tuple[Any, Any]] = {}  # id of a parameter -> it, its gradient after backward
        self._handles: list[Any] = []
        self._of_step: list[Any] = []  # handles of hooks that a recorded step has
        self._losses: list[Any] = []
        self._labels: list[Array] = []
        self._numbers: list[Array] = []
        self._rows = 0
        self._pending: SeenStep | None = None
        self._said: set[str] = set()
        self._epoch = -1
        self._rank, self._share = _processes(module)
        self._is_on = True
        self._book = (
            None if self._rank else self._begun(run, strides, layers, class_names, max_bytes, overwrite)
        )
        self.folder = None if self._book is None else self._book.folder
        if self._book is not None:
            self._hook(criterion, probe_images)

    def _begun(
        self,
        run: PathLike,
        strides: Mapping[Stream, int | None],
        layers: Any,
        class_names: Any,
        max_bytes: int,
        overwrite: bool,
    ) -> WatchBook:
        usual = {Stream.KERNELS: 1, Stream.LEDGER: _USUAL, Stream.MAPS: _USUAL}
        for name, stride in strides.items():
            if stride is not None and (not isinstance(stride, int) or isinstance(stride, bool) or stride < 0):
                raise ArgumentError(f"watch: {name} must be recorded every so many steps, got {stride!r}.")
        every = {str(n): usual[n] if stride is None else stride for n, stride in strides.items()}
        automatic = [str(name) for name, stride in strides.items() if stride is None]
        every |= {Stream.GRADIENTS: 0, Stream.FULL: 0, Stream.SNAPSHOTS: 1}
        return WatchBook(run, self._about(class_names), every, automatic, layers, max_bytes, overwrite)

    def _about(self, class_names: Any) -> dict[str, Any]:
        import torch

        shapes = {path: list(seen.shape) for path, seen in self._names.weights().items()}
        return {
            "model": None,
            "metadata": {"program": f"PyTorch {torch.__version__}", "module": type(self._module).__name__},
            "weights": shapes,
            "engine": "PyTorch",
            "policy": None,
            "class_names": None if class_names is None else [str(name) for name in class_names],
        }

    # --- what the user calls

    def note(
        self, loss: Any = None, labels: Any = None, images: Any = None, epoch: int | None = None
    ) -> None:
        """Say what cannot be seen of the step that comes next: before `optimizer.step()`.

        Args:
            loss: of the batch, a number or a tensor.
            labels: (n,) class numbers of its images.
            images: (n,) numbers of its images in the data.
            epoch: number of the pass through the data.
        """
        if loss is not None:
            self._losses = [loss.detach() if hasattr(loss, "detach") else float(loss)]
        if labels is not None:
            self._labels = [np.asarray(labels).reshape(-1)]
        if images is not None:
            self._numbers = [np.asarray(images).reshape(-1)]
        if epoch is not None:
            self._epoch = int(epoch)

    def event(self, kind: str, **about: Any) -> None:
        """Note what happened, at the step that was done last."""
        if self._book is not None:
            self._book.event(kind, **about)

    def stop(self) -> None:
        """End the recording: all hooks are removed, the files are closed."""
        self._end("finished")

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self._end("finished" if kind is None else "interrupted")

    # --- hooks

    def _hook(self, criterion: Any, probe_images: Any) -> None:
        assert self._book is not None
        if probe_images is not None:
            probing = Probing(self._module, self._names, probe_images)
            self._book.watch_probes(probing.images(), probing.maps)
        add = self._handles.append
        add(self._module.register_forward_pre_hook(Hook(self._guard(self._before_forward))))
        add(self._module.register_forward_hook(Hook(self._guard(self._after_forward)), with_kwargs=True))
        add(self._optimizer.register_step_pre_hook(Hook(self._guard(self._before_update))))
        add(self._optimizer.register_step_post_hook(Hook(self._guard(self._after_update))))
        if criterion is not None:
            if not hasattr(criterion, "register_forward_hook"):
                raise ArgumentError(
                    f"watch: criterion must be a module such as nn.CrossEntropyLoss(), got {criterion!r}. A loss "
                    "that is a function is said with watcher.note(loss=loss)."
                )
            add(criterion.register_forward_hook(Hook(self._guard(self._after_loss))))
        self._prepare_next()

    def _guard(self, function: Callable[..., None]) -> Callable[..., None]:
        """The function, whose errors end the recording and not the training."""

        def call(*arguments: Any) -> None:
            if not self._is_on:
                return
            try:
                function(*arguments)
            except Exception as error:
                self._give_up(error)

        return call

    @property
    def _is_ledger_due(self) -> bool:
        return self._book is not None and (Stream.LEDGER in self._book.due or not self._book.has_begun)

    def _before_forward(self, module: Any, arguments: Any) -> None:
        if not (self._inputs.are_needed and self._is_ledger_due):
            return
        self._inputs.kept.clear()
        for owner in self._module.modules():
            weight = owner._parameters.get("weight")
            if weight is not None and not list(owner.children()):
                self._of_step.append(owner.register_forward_pre_hook(Hook(self._keeps_input(weight))))

    def _keeps_input(self, weight: Any) -> Callable[..., None]:
        from kernelearn.watch.pytorch.layouts import array_of

        def keep(module: Any, arguments: Any) -> None:
            if arguments:
                values = np.array(array_of(arguments[0]), np.float32)
                self._inputs.kept.setdefault(id(weight), []).append(values)

        return keep

    def _after_forward(self, module: Any, arguments: Any, options: Any, outputs: Any) -> None:
        import torch

        tensors = list(_tensors((arguments, options)))
        outputs = [output for output in _tensors(outputs) if output.grad_fn is not None]
        if not (torch.is_grad_enabled() and outputs):
            return
        rows = int(tensors[0].shape[0]) if tensors and tensors[0].dim() else 0
        self._begin_step_anew_if_dropped()
        self._rows += rows
        numbers = None if self._loader is None else self._loader.images
        if numbers is not None:
            self._numbers.append(numbers)
        if not self._is_ledger_due:
            return
        self._remove_step_hooks()
        found = find_uses(outputs, rows, self._inputs)
        self._passes.append(found)
        self._say_of_pass(found)
        self._watch_raw_gradients(found)

    def _begin_step_anew_if_dropped(self) -> None:
        """Forget passes whose update never came: gradients were thrown away since (a scaler skipped it)."""
        parameters = [use.weight for seen in self._passes for use in seen.uses]
        if parameters and all(p.grad is None or not bool(p.grad.any()) for p in parameters[:4]):
            has_been_back = any(use.delta is not None for seen in self._passes for use in seen.uses)
            if has_been_back:
                self.event("step skipped")
                self._forget_step()

    def _watch_raw_gradients(self, found: Pass) -> None:
        """Copy gradients as backward passes leave them: what changes them afterwards is told from that."""
        for weight in {id(use.weight): use.weight for use in found.uses}.values():
            self._of_step.append(weight.register_post_accumulate_grad_hook(Hook(self._keep_raw)))

    def _keep_raw(self, parameter: Any) -> None:
        with contextlib.suppress(Exception):
            if not parameter.grad.is_sparse:
                self._raw[id(parameter)] = parameter, parameter.grad.detach().clone()

    def _after_loss(self, criterion: Any, arguments: Any, loss: Any) -> None:
        import torch

        if not torch.is_grad_enabled() or not getattr(loss, "requires_grad", False):
            return
        self._losses.append(loss.detach())
        target = arguments[1] if len(arguments) > 1 else None
        is_class = target is not None and target.dim() == 1 and not target.is_floating_point()
        if is_class:
            self._labels.append(target.detach().cpu().numpy())

    def _before_update(self, optimizer: Any, arguments: Any, options: Any) -> None:
        book = self._book
        assert book is not None
        seen = SeenStep(self._rows, rules.base_rate(self._optimizer))
        if self._is_ledger_due:
            # NOTE: before gradients are read, because uses say how weights are laid out.
            self._names.learn(use for found in self._passes for use in found.uses)
            seen.gradients = self._gradients()
            found = assemble(self._passes, self._names, self._raw_turned(), seen.gradients, self._share)
            seen.uses = found.uses
            self._say_of_uses(found)
            if not seen.uses and not book.has_begun and self._passes and self._passes[-1].is_compiled:
                self._pending = None
                return
            book.prepare(self._model(book.step), seen)
        elif Stream.GRADIENTS in book.due:
            seen.gradients = self._gradients()
        self._pending = seen

    def _raw_turned(self) -> Mapping[int, Array]:
        """Gradients as the backward passes left them, in this library's layout."""
        return {key: self._names.turned(parameter, raw) for key, (parameter, raw) in self._raw.items()}

    def _after_update(self, optimizer: Any, arguments: Any, options: Any) -> None:
        book, seen = self._book, self._pending
        assert book is not None
        book.arrive()
        if self._loader is not None and self._loader.epoch != self._epoch:
            if self._epoch >= 0:
                book.end_epoch(self._epoch)
            self._epoch = self._loader.epoch
        if seen is None or not book.has_begun:
            book.skip()
        else:
            self._add_numbers(seen)
            book.record(seen)
        self._forget_step()
        self._prepare_next()

    def _add_numbers(self, seen: SeenStep) -> None:
        seen.epoch = max(self._epoch, 0)
        losses = [float(loss) for loss in self._losses]
        seen.loss = sum(losses) / len(losses) if losses else math.nan
        numbers, labels = _joined(self._numbers), _joined(self._labels)
        if numbers is not None and len(numbers) == seen.rows:
            seen.images = numbers
        if labels is not None and len(labels) == seen.rows:
            seen.labels = labels

    def _prepare_next(self) -> None:
        """A compiled module hides what it does: the next recorded step runs without its compiled code."""
        if not self._is_compiled:
            return
        import torch

        torch.compiler.set_stance("force_eager" if self._is_ledger_due else "default")

    # --- what is seen

    def _gradients(self) -> dict[str, Array]:
        found = {}
        for path, tensor in self._names.tensors.items():
            gradient = getattr(tensor, "grad", None)
            if gradient is not None and not gradient.is_sparse:
                found[path] = np.array(self._names.turned(tensor, gradient), np.float32)
        return found

    def _model(self, step: int) -> SeenModel:
        optimizer, kind = self._optimizer, rules.kind_of(self._optimizer)
        rate, found, before = rules.base_rate(optimizer), {}, 0
        for group in optimizer.param_groups:
            attrs = rules.attrs_of(optimizer, group)
            multiplier = float(group["lr"]) / rate if rate else 1.0
            for parameter in group["params"]:
                path = self._names.path(parameter)
                if path is None or parameter.grad is None:
                    continue
                slots = {
                    slot: self._slot(parameter, name) for slot, name in rules.slots_of(kind, attrs).items()
                }
                found[path] = SeenRule(kind, {**attrs, "multiplier": multiplier}, slots)
                before = max(before, rules.updates_before(optimizer, parameter))
        about = {
            "kind": kind,
            "attrs": rules.attrs_of(optimizer, optimizer.param_groups[0]),
            "clipping": None,
        }
        changing = [path for path, tensor in self._names.tensors.items() if _changes(tensor)]
        return SeenModel(
            self._names.weights(),
            found,
            {**about, "config": None},
            changing,
            step - before,
            self._loader is not None,
        )

    def _slot(self, parameter: Any, name: str) -> Callable[[], Array]:
        def read() -> Array:
            value = self._optimizer.state.get(parameter, {}).get(name)
            if value is None:
                return np.zeros_like(self._names.turned(parameter, parameter))
            return self._names.turned(parameter, value)

        return read

    # --- what is said

    def _say_of_pass(self, found: Pass) -> None:
        if found.is_compiled and not self._is_compiled:
            self._is_compiled = True
            self._once(
                "compiled",
                "A compiled part hides what it does: recorded steps run without compiled code from now on.",
            )
        if found.is_checkpointed:
            self._once(
                "checkpoint",
                "What runs inside torch.utils.checkpoint(..., use_reentrant=True) is not seen: its layers have no "
                "ledgers. Call checkpoint(..., use_reentrant=False).",
            )
        if found.derived:
            paths = sorted({self._names.path(p) or "" for p in found.derived} - {""})
            if paths:
                self._once(
                    f"derived {paths}",
                    f"Kernels are made from {', '.join(paths)} by other code before they are used (a "
                    "parametrisation, weight norm): what is recorded are these parameters and their gradients, "
                    "without ledgers.",
                )

    def _say_of_uses(self, found: Assembled) -> None:
        if found.unmatched:
            self._once(
                f"unmatched {found.unmatched}",
                f"The inputs of {', '.join(found.unmatched)} cannot be told apart by image: no ledger of them.",
            )
        if found.mixed:
            why = (
                "gradients of other processes are in them"
                if self._share < 1
                else "something else changed them"
            )
            self._once(
                "mixed",
                f"The gradients of {', '.join(found.mixed[:4])} are not those of the images alone: {why}. "
                "Ledgers tell the part of the images.",
            )
        if found.scales and self._book is not None:
            self._book.event("gradients scaled", factors=found.scales)

    def _once(self, what: str, text: str) -> None:
        if what in self._said:
            return
        self._said.add(what)
        self.event("note", text=text)
        warnings.warn(f"watch: {text}", UserWarning, stacklevel=2)

    # --- ending

    def _forget_step(self) -> None:
        self._remove_step_hooks()
        for found in self._passes:
            found.release()
        self._passes, self._raw, self._pending = [], {}, None
        self._losses, self._labels, self._numbers, self._rows = [], [], [], 0
        self._inputs.kept.clear()

    def _remove_step_hooks(self) -> None:
        for handle in self._of_step:
            handle.remove()
        self._of_step = []

    def _give_up(self, error: Exception) -> None:
        said = str(error) if isinstance(error, KernelearnError) else f"{type(error).__name__}: {error}"
        warnings.warn(
            f"watch: {said} Recording ends; training goes on without it. What is recorded can be read.",
            UserWarning,
            stacklevel=3,
        )
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
            import torch

            torch.compiler.set_stance("default")
        if self._book is not None:
            self._book.close(kind)


def _check_module(module: Any) -> None:
    import torch

    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(
            f"watch: the first argument must be a torch.nn.Module, got {type(module).__name__}."
        )
    refused = {
        "DataParallel": "its copies on other devices live for one step only; use DistributedDataParallel",
        "FullyShardedDataParallel": "a process holds slices of the weights; watch a smaller run without it",
        "FSDPModule": "a process holds slices of the weights; watch a smaller run without it",
    }
    for cls in (base.__name__ for part in module.modules() for base in type(part).__mro__):
        if cls in refused:
            raise ArgumentError(f"watch: {cls} cannot be watched: {refused[cls]}.")


def _check_optimizer(optimizer: Any, names: Names) -> None:
    if not hasattr(optimizer, "register_step_post_hook"):
        raise ArgumentError(
            f"watch: the second argument must be an optimiser of torch.optim, got {type(optimizer).__name__}. Of "
            "several optimisers watch each with the module whose weights it updates."
        )
    own = [p for group in optimizer.param_groups for p in group["params"] if names.path(p) is not None]
    if not own:
        raise ArgumentError(
            "watch: the optimiser updates none of the module's parameters. Make it with module.parameters(), after "
            "the module was moved or replaced."
        )


def _processes(module: Any) -> tuple[int, float]:
    """(rank, 1 / number of processes) of a module that is trained by several; (0, 1) for others."""
    import torch

    if not isinstance(module, torch.nn.parallel.DistributedDataParallel):
        return 0, 1.0
    distributed = torch.distributed
    return distributed.get_rank(module.process_group), 1 / distributed.get_world_size(module.process_group)


def _changes(tensor: Any) -> bool:
    """Whether training changes it: a parameter that is trained, or a statistic."""
    import torch

    return tensor.requires_grad or not isinstance(tensor, torch.nn.Parameter)


def _tensors(values: Any) -> Iterator[Any]:
    """The tensors in nested arguments or results."""
    if hasattr(values, "grad_fn"):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _tensors(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _tensors(value)


def _joined(parts: list[Array]) -> Array | None:
    return np.concatenate(parts).astype(np.int64) if parts else None
