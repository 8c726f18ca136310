"""The hooks of `watch` while a step is computed: what went forward, and what came back of it.

On steps of which no ledger is due they count images, and keep the losses that they are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kernelearn._optional import require
from kernelearn.watching.pytorch import compiled
from kernelearn.watching.pytorch.calling import LOSS, TARGETS, example_of
from kernelearn.watching.pytorch.graph import Inputs, find_uses
from kernelearn.watching.pytorch.hooks import Hook
from kernelearn.watching.pytorch.layouts import array_of
from kernelearn.watching.pytorch.notes import Notes
from kernelearn.watching.pytorch.step import Step, tensors_in
from kernelearn.watching.pytorch.trained import Trained

Guard = Callable[[Callable[..., Any]], Hook]


class Passes:
    """Sees the passes of a module, and writes down what it sees of the step that is computed.

    Args:
        is_ledger_due: whether the step that is computed is looked at.
        guard: gives a hook that calls a function, and survives its errors.
    Attributes:
        step: what is known of that step.
        has_looked: whether its gradients were read: its optimiser asks for them more than once.
        is_compiled: whether compiled code hides what the module does.
        keeps_example: whether to keep what the module is called with.
        is_asleep: whether nothing is looked at, and images are counted alone.
    """

    def __init__(
        self, trained: Trained, loader: Any, notes: Notes, is_ledger_due: Callable[[], bool], guard: Guard
    ) -> None:
        self._trained, self._loader, self._notes = trained, loader, notes
        self._is_ledger_due, self._guard = is_ledger_due, guard
        self._inputs = Inputs(trained.names.paths)
        self._handles: list[Any] = []
        self._of_step: list[Any] = []  # handles of hooks that a recorded step has
        self._is_grad_enabled = require("torch", "watching a training in PyTorch").is_grad_enabled
        self._keeps_inputs = False
        self.step, self.has_looked, self.keeps_example = Step(), False, False
        self.is_compiled = compiled.is_compiled(trained.module)
        self.is_asleep, self._slept_rows = False, 0

    def hook(self, criterion: Any) -> None:
        """Begin."""
        self._look_at_forward = self._guard(self._after_forward)
        forward = Hook(self._pass_done)
        self._handles.append(self._trained.module.register_forward_hook(forward, with_kwargs=True))
        if criterion is not None:
            self._handles.append(criterion.register_forward_hook(self._guard(self._after_loss)))

    def unhook(self) -> None:
        """End: nothing is left."""
        self.forget_step()
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def forget_step(self) -> None:
        """Another step begins."""
        step = self.step
        if self._of_step or step.passes or self._inputs.kept:
            self._remove_step_hooks()
            for found in step.passes:
                found.release()
            self._inputs.kept.clear()
        self.step, self.has_looked = Step(), False

    def _remove_step_hooks(self) -> None:
        for handle in self._of_step:
            handle.remove()
        self._of_step = []

    # --- asleep

    def _pass_done(self, module: Any, arguments: Any, options: Any, outputs: Any) -> None:
        """A forward pass was done: asleep, its images are counted where one tensor gave one tensor."""
        if self.is_asleep and arguments:
            shape = getattr(arguments[0], "shape", None)
            if shape and getattr(outputs, "grad_fn", None) is not None:
                self.step.rows += shape[0]
                return
        self._look_at_forward(module, arguments, options, outputs)

    def next_asleep(self) -> None:
        """A step was done asleep."""
        self._slept_rows += self.step.rows
        self.step.rows = 0
        if self.step.passes or self.step.images or self.step.unmatched:
            self.forget_step()

    def wake(self) -> int:
        """Look again; gives the number of images of the steps that were slept."""
        rows, self._slept_rows, self.is_asleep = self._slept_rows, 0, False
        return rows

    # --- what went forward

    def _after_forward(self, module: Any, arguments: Any, options: Any, outputs: Any) -> None:
        # Most often one tensor came out and nothing is due: nothing is looked for then.
        is_plain = hasattr(outputs, "grad_fn")
        results = [outputs] if is_plain else list(tensors_in(outputs))
        results = [output for output in results if output.grad_fn is not None]
        if not (results and self._is_grad_enabled()):
            return
        is_given = bool(arguments) and hasattr(arguments[0], "grad_fn")
        first = arguments[0] if is_given else next(tensors_in((arguments, options)), None)
        self._see(results, 0 if first is None or not first.dim() else len(first), (arguments, options))
        self.step.unmatched += 1
        if not is_plain:
            self._note_answer(outputs, options)

    def _note_answer(self, outputs: Any, options: Mapping[str, Any]) -> None:
        """Loss and classes of a module that takes its targets and gives its loss, as in Transformers."""
        loss = outputs.get(LOSS) if isinstance(outputs, Mapping) else None
        if loss is not None and loss.dim() == 0:
            self.step.losses.append(loss.detach())
            self._note_targets(options.get(TARGETS))

    def see_loss(self, loss: Any, batch: Any, share: float) -> None:
        """A pass that may not have gone through the module's own call, told by its loss."""
        tensors = list(tensors_in(batch))
        if self.step.unmatched:  # the module was called after all
            self.step.unmatched = 0
        else:
            rows = int(tensors[0].shape[0]) if tensors and tensors[0].dim() else 0
            self._see([loss], rows, ((), {}))
        self.step.losses.append(loss.detach() / share)
        self._note_targets(tensors[1] if len(tensors) > 1 else None)

    def _after_loss(self, criterion: Any, arguments: Any, loss: Any) -> None:
        if self.has_looked or not getattr(loss, "requires_grad", False):
            return
        self.step.losses.append(loss.detach())
        self._note_targets(arguments[1] if len(arguments) > 1 else None)

    def _note_targets(self, target: Any) -> None:
        if hasattr(target, "dim") and target.dim() == 1 and not target.is_floating_point():
            self.step.labels.append(target.detach().cpu().numpy())

    def _see(self, results: list[Any], rows: int, given: tuple[Any, Any]) -> None:
        """A forward pass has been done that gave these outputs for these arguments and options."""
        if self.has_looked:
            return
        if self.step.passes and self.step.was_dropped():
            if self.step.has_overflowed():
                self._notes.event("step skipped")
            self.forget_step()
        self.step.rows += rows
        if self._loader is not None and self._loader.images is not None:
            self.step.images.append(self._loader.images)
        if self._is_ledger_due():
            self._look(results, rows, given)

    def _look(self, results: list[Any], rows: int, given: tuple[Any, Any]) -> None:
        """Find the uses of weights behind these outputs, and hook what comes back to them."""
        self._remove_step_hooks()
        self.step.example = example_of(*given) if self.keeps_example else None
        found = find_uses(results, rows, self._inputs, self._guard)
        self.step.passes.append(found)
        self.is_compiled |= found.is_compiled
        self._keep_inputs_from_now_on()
        self._notes.of_pass(found)
        for weight in {id(use.weight): use.weight for use in found.uses}.values():
            self._of_step.append(weight.register_post_accumulate_grad_hook(self._guard(self._keep_raw)))

    def _keep_raw(self, parameter: Any) -> None:
        if not parameter.grad.is_sparse:
            self.step.raw[id(parameter)] = parameter, parameter.grad.detach().clone()

    # --- inputs that the graph does not give

    def _keep_inputs_from_now_on(self) -> None:
        """Where the graph does not give inputs, they are kept on their way."""
        if self._inputs.are_needed and not self._keeps_inputs:
            self._keeps_inputs = True
            hook = self._guard(self._before_forward)
            self._handles.append(self._trained.module.register_forward_pre_hook(hook))

    def _before_forward(self, module: Any, arguments: Any) -> None:
        """There once inputs are needed that the graph does not give."""
        if not self._is_ledger_due():
            return
        self._inputs.kept.clear()
        for owner in module.modules():
            weight = owner._parameters.get("weight")
            if weight is not None and not list(owner.children()):
                self._of_step.append(owner.register_forward_pre_hook(self._guard(self._keeper(weight))))

    def _keeper(self, weight: Any) -> Callable[..., None]:
        """A hook that keeps what a module is called with, for the weight that it uses."""

        def keep(module: Any, arguments: Any) -> None:
            if arguments:
                values = np.array(array_of(arguments[0]), np.float32)
                self._inputs.kept.setdefault(id(weight), []).append(values)

        return keep
