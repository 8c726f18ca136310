"""What there is to say of a training in PyTorch that cannot be seen as one expects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kernelearn.watching.pytorch.assembling import Assembled
from kernelearn.watching.pytorch.graph import Pass
from kernelearn.watching.pytorch.names import Names
from kernelearn.watching.sayings import Sayings


class Notes(Sayings):
    """What is to say of the passes and of the uses of weights in a module."""

    def __init__(self, names: Names, event: Callable[..., None], is_shared: bool) -> None:
        super().__init__("watch", event)
        self._names, self._is_shared = names, is_shared

    def of_pass(self, found: Pass) -> None:
        """What stands in the way of seeing a forward pass."""
        if found.is_checkpointed:
            self.say(
                "What runs inside torch.utils.checkpoint(..., use_reentrant=True) is not seen: its layers "
                "have no ledgers. Call checkpoint(..., use_reentrant=False)."
            )
        paths = sorted({self._names.path(parameter) or "" for parameter in found.derived} - {""})
        if paths:
            self.say(
                f"Kernels are made from {', '.join(paths)} by other code before they are used (a "
                "parametrisation, weight norm): what is recorded are these parameters and their gradients, "
                "without ledgers."
            )

    def of_module(self, module: Any, passes: Sequence[Pass]) -> None:
        """What has become of the module since it is watched."""
        new, gone = self._names.changed(module)
        if new or gone:
            self.say(
                f"The module was changed while it is watched (new: {', '.join(new[:4]) or 'none'}; gone: "
                f"{', '.join(gone[:4]) or 'none'}). What is new is not recorded. Call stop() and watch it "
                "anew, with another run."
            )
        if not passes:
            self.say(
                "The update came without a forward pass of the module that could be seen: weights and "
                "updates are recorded, without ledgers. Call the module that is watched; in other loops "
                "use see_pass."
            )

    def of_uses(self, found: Assembled) -> None:
        """What is not as one expects of the gradients of a step."""
        if found.unmatched:
            self.say(
                f"The inputs of {', '.join(found.unmatched)} cannot be told apart by image: there is no "
                "ledger of them."
            )
        if found.mixed:
            why = (
                "other processes add theirs"
                if self._is_shared
                else "something changed them before the update"
            )
            self.say(
                f"Gradients are not those of the images alone ({', '.join(found.mixed[:4])}): {why}. Ledgers "
                "tell the part of the images."
            )
        if found.scales:
            self.event("gradients scaled", factors=found.scales)
