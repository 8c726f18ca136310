"""Release the layers of a pretrained network one group after another, from its head down."""

from collections.abc import Sequence
from typing import Any, ClassVar

from kernelearn.errors import ArgumentError
from kernelearn.training.callbacks.base import KnownLogs, Logs
from kernelearn.training.callbacks.monitor import MonitorCallback, checked_count
from kernelearn.training.steps.layer_rates import matching_layers


class GradualUnfreezing(MonitorCallback):
    """Trains the head alone at first, then one group of layers more every so many epochs.

    Groups are counted from the head down. While `fit` runs the callback decides what is trained: everything
    that is not released is frozen, costs no gradient work, and its BatchNormalization uses its moving
    statistics. At the end the layers stay as they are then. Resumable with `BackupAndRestore`.

    Args:
        every: epochs from one release to the next; with `monitor` the number of epochs without improvement
            after which the next group is released.
        monitor: name in the logs; None releases by the number of epochs alone.
        until: the last group that is released is the one with this layer; None releases all.
        groups: names, paths or patterns of the layers of each group, the head first; None: every layer with
            weights in order, those of a normalisation with the layer before it.
        normalization: whether BatchNormalization below the head is released too. False keeps its
            moving statistics, which a few small batches would spoil, as Keras's guide advises.
        mode, min_delta: of `monitor`, as in `EarlyStopping`.
        verbose: 1 prints each release.
    Raises: ArgumentError; UnknownNameError, before the first step, for a layer that is not there.

    >>> callback = GradualUnfreezing(every=2, until="conv2")
    """

    state_names: ClassVar[tuple[str, ...]] = ("released", "best", "wait", "first_epoch")

    def __init__(
        self,
        every: int = 1,
        monitor: str | None = None,
        until: str | None = None,
        groups: Sequence[Sequence[str] | str] | None = None,
        normalization: bool = False,
        mode: str = "auto",
        min_delta: float = 0.0,
        verbose: int = 0,
    ) -> None:
        super().__init__(monitor or "", mode, min_delta=min_delta)
        if checked_count(self, "every", every) < 1:
            raise ArgumentError("GradualUnfreezing: every must be at least 1 epoch.")
        if isinstance(groups, str) or (groups is not None and not groups):
            raise ArgumentError(
                "GradualUnfreezing: groups must list at least one group, such as ['conv2', 'conv1'], "
                f"got {groups!r}."
            )
        self.every, self.until, self.normalization, self.verbose = every, until, bool(normalization), verbose
        self.groups = None if groups is None else [[g] if isinstance(g, str) else list(g) for g in groups]
        self.released = 1
        self.wait = 0
        self.first_epoch: int | None = None
        self._layers: list[list[Any]] = []

    def is_watching(self) -> bool:
        return bool(self.monitor)

    def check(self, known: KnownLogs) -> None:
        super().check(known)
        self._layers = self._found()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.released, self.best, self.wait, self.first_epoch = 1, None, 0, None
        self._layers = self._layers or self._found()
        self._apply()

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        self._apply()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.is_watching():
            return
        # A run resumed in the middle of an epoch begins it a second time: what counts is its number.
        self.first_epoch = epoch if self.first_epoch is None else self.first_epoch
        while self.released < 1 + (epoch - self.first_epoch) // self.every and self._release(epoch):
            pass

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        current = self.current(logs) if self.is_watching() else None
        if current is None:
            return
        if self.is_improvement(current, self.best):
            self.best, self.wait = current, 0
            return
        self.wait += 1
        if self.wait >= self.every:
            self.wait = 0
            self._release(epoch + 1)

    def _release(self, epoch: int) -> bool:
        """Release the next group; False if there is none."""
        if self.released == len(self._layers):
            return False
        self.released += 1
        self._apply()
        if self.verbose > 0:
            names = ", ".join(layer.name for layer in self._layers[self.released - 1])
            print(f"Epoch {epoch + 1}: GradualUnfreezing releasing {names}.")
        return True

    def _apply(self) -> None:
        """Freeze and release every layer with weights as the number of released groups says."""
        trained = {id(layer) for group in self._layers[: self.released] for layer in group}
        for layer in (self.model, *(layer for _, layer in self.model.descendants())):
            if layer.weights:  # what only holds other layers is in nobody's way
                layer.mark_trainable(id(layer) in trained or not layer.own_weights)

    def _found(self) -> list[list[Any]]:
        """The layers of each group, the head first, down to `until`."""
        groups = self._named() if self.groups is not None else self._one_by_one()
        if not self.normalization:
            groups[1:] = [[layer for layer in group if not _has_moving(layer)] for group in groups[1:]]
        groups = [group for group in groups if group]
        if not groups:
            raise ArgumentError("GradualUnfreezing: the model has no layers with weights to train.")
        if self.until is None:
            return groups
        last = {id(layer) for layer in matching_layers(self.model, self.until)}
        places = [i for i, group in enumerate(groups) if any(id(layer) in last for layer in group)]
        if not places:
            raise ArgumentError(f"GradualUnfreezing: until={self.until!r} is in none of the groups.")
        return groups[: max(places) + 1]

    def _named(self) -> list[list[Any]]:
        found: list[list[Any]] = []
        taken: set[int] = set()
        for patterns in self.groups or ():
            layers = [layer for pattern in patterns for layer in matching_layers(self.model, pattern)]
            group = list({id(la): la for la in layers if la.own_weights and id(la) not in taken}.values())
            if not group:
                raise ArgumentError(
                    f"GradualUnfreezing: the group {patterns} has no layers with weights that no group "
                    "before it has. Leave it out."
                )
            taken.update(id(layer) for layer in group)
            found.append(group)
        return found

    def _one_by_one(self) -> list[list[Any]]:
        found: list[list[Any]] = []
        for layer in self.model.flat_layers():
            if not layer.own_weights:
                continue
            if found and not _is_product(layer):
                found[-1].append(layer)
            else:
                found.append([layer])
        return found[::-1]


def _has_moving(layer: Any) -> bool:
    """Whether a layer has statistics that training moves without a gradient."""
    return any(weight.role != "parameter" for weight in layer.own_weights)


def _is_product(layer: Any) -> bool:
    """Whether a layer has a kernel of its own, and not one number for each channel."""
    return any(len(weight.shape) > 1 for weight in layer.own_weights)
