"""A whole training step in one call: forward pass, loss, backward pass and the update of every weight."""

from __future__ import annotations

import contextlib
import itertools
import types
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule

from kernelearn.torch.backend import compile_graph
from kernelearn.torch.cumulative import Cumulative
from kernelearn.torch.graphs.capture import capture
from kernelearn.torch.inside import TorchDynamoException, say_stepped
from kernelearn.torch.measuring import Choice, Measured, check_options, is_wanted
from kernelearn.torch.shortcut import NotPlain, Shortcut
from kernelearn.torch.telling import warn_once
from kernelearn.torch.translation import load_families
from kernelearn.torch.translation.table import reason_of
from kernelearn.torch.updates import find_method
from kernelearn.torch.whole import Bound, NotNow, NotWhole

# Shortcuts that are made before it is plain that no call is like the one before.
_TRIES = 8


class Step:
    """A training step: `loss = step(x, y)`.

    What `optimizer.zero_grad(); loss = criterion(model(x), y); loss.backward(); optimizer.step()` does, in
    one program where that can be, else in PyTorch, said once. Weights and the optimiser's state stay where
    they are, so schedulers, `state_dict` and files work as ever; gradients are kept nowhere (`grad` is None).

    Attributes:
        model, optimizer, loss: as given.
        is_fused: whether the last step was one program.
        measured: the step on the engine beside one in PyTorch; None where nothing was measured.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Callable[..., Any],
        ours: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.is_fused = False
        self.measured: Measured | None = None
        check_options(ours)
        self._is_measured = is_wanted(ours)
        self._failure: Exception | None = None
        self._settings: Any = None
        self._options = options
        self._cumulative = Cumulative(model)
        # NOTE: what Dynamo knows of sizes belongs to code, so that another model's would be met here as well.
        self._loss_of = with_own_code(self._loss_of)  # type: ignore[method-assign]
        self._whole: Callable[..., Any] = self._compiled()
        self._made: tuple[Callable[..., Any], Sequence[Any]] | None = None
        self._shortcut: Shortcut | None = None
        self._unused = 0  # shortcuts that were made and never taken, in a row
        self._parts: Callable[..., Any] = torch.compile(
            self._loss_of, backend=compile_graph, options=ours, **options
        )

    def __call__(self, *batch: Any) -> torch.Tensor:
        """One step.

        Args:
            batch: what the model is called with, and last what the loss compares its result with.
        Returns: the loss, a number without a graph.
        """
        settings = _settings(self.optimizer)
        if settings != self._settings:  # other parameters, or other numbers in the code
            self._settings, self._whole, self._failure = settings, self._compiled(), None
            self._shortcut = None
        eager: torch.Tensor | None = None
        if self._failure is None:
            try:
                loss = self._fused(batch)
            except NotWhole as error:
                self._failure = error
                warn_once(f"kernelearn updates the weights in PyTorch: {error}")
            except _NotCompiled as error:
                eager = error.loss
                warn_once(
                    "kernelearn makes steps in PyTorch: torch.compile is disabled, and compiles nothing"
                )
            except NotNow:
                pass
            else:
                self.is_fused = True
                _forget_gradients(self.optimizer)
                say_stepped(self.optimizer)
                return loss
        self.is_fused = False
        self.optimizer.zero_grad()
        loss = self._parts(*batch) if eager is None else eager
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _fused(self, batch: Sequence[Any]) -> torch.Tensor:
        """A step in one program; past Dynamo where nothing that it looks at has changed.

        Raises: NotWhole, NotNow where it cannot be.
        """
        shortcut = self._shortcut
        if shortcut is not None and shortcut.is_for(self.model, self.loss, batch):
            self._unused = 0
            with contextlib.suppress(NotWhole):  # weights that lie otherwise: Dynamo may compile for them
                (loss,) = shortcut.run(batch)
                return loss  # type: ignore[no-any-return]
        self._shortcut = self._made = None
        if self._cumulative:
            with self._cumulative.as_numbers():
                loss = self._whole(*batch)
        else:
            loss = self._whole(*batch)
        if self._made is None:
            raise _NotCompiled(loss)
        if not self._cumulative and self._unused < _TRIES:
            self._unused += 1
            with contextlib.suppress(NotPlain):
                self._shortcut = Shortcut(self.model, self.loss, batch, *self._made)
        self._made = None
        return loss  # type: ignore[no-any-return]

    def _loss_of(self, *batch: Any) -> Any:
        return self.loss(self.model(*batch[:-1]), batch[-1])

    def _compiled(self) -> Callable[..., Any]:
        """The step as one program; raises `NotWhole` where it cannot be."""

        def backend(gm: GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
            fused = _Fused(gm, self.optimizer, self._weighed if self._is_measured else None)

            def call(*given: Any) -> Any:
                loss = fused(*given)
                self._made = fused, given
                return loss

            return call

        inner = torch.compile(self._loss_of, backend=backend, fullgraph=True, **self._options)

        def run(*batch: Any) -> Any:
            try:
                return inner(*batch)
            except TorchDynamoException as error:
                cause = _cause(error)
                raise (cause if isinstance(cause, NotWhole) else NotWhole(reason_of(cause))) from error

        return run

    def _weighed(self, bound: Bound, inputs: Sequence[Any]) -> None:
        """Time a new program beside PyTorch; what was found for the first batch decides.

        Raises: NotWhole if PyTorch is faster.
        """
        choice = Choice(bound.description(), is_measured=True)
        is_left = choice.is_left(inputs[bound.counted].shape[0], lambda: bound.trial(inputs))
        self.measured = choice.last
        if is_left:
            raise NotWhole(f"measured: a step takes {self.measured}")


class _NotCompiled(Exception):
    """torch.compile ran the function as it is.

    Attributes:
        loss: with its graph: nothing has been updated.
    """

    def __init__(self, loss: torch.Tensor) -> None:
        super().__init__()
        self.loss = loss


def _forget_gradients(optimizer: torch.optim.Optimizer) -> None:
    """What `zero_grad` does, without being recorded as an event of its own."""
    for group in optimizer.param_groups:
        for param in group["params"]:
            param.grad = None


def with_own_code(function: Any) -> Any:
    """The same function, or method, with code that no other has: Dynamo counts variants by code."""
    if isinstance(function, types.MethodType):
        return types.MethodType(with_own_code(function.__func__), function.__self__)
    code = function.__code__.replace(co_name=f"{function.__name__}_{next(_NUMBERS)}")
    return types.FunctionType(
        code, function.__globals__, code.co_name, function.__defaults__, function.__closure__
    )


_NUMBERS = itertools.count()


def _cause(error: BaseException) -> BaseException:
    while not isinstance(error, NotWhole) and (error.__cause__ or getattr(error, "inner_exception", None)):
        error = error.__cause__ or error.inner_exception  # type: ignore[attr-defined]
    return error


def _settings(optimizer: torch.optim.Optimizer) -> Any:
    """What the program of a step depends on besides the graph."""
    skipped = ("params", "lr", "initial_lr")
    return [
        (*map(id, group["params"]), *((k, v) for k, v in group.items() if k not in skipped))
        for group in optimizer.param_groups
    ]


class _Fused:
    """One graph with its loss, its gradients and its updates, as a function of the graph's inputs."""

    def __init__(
        self,
        gm: GraphModule,
        optimizer: torch.optim.Optimizer,
        weigh: Callable[[Bound, Sequence[Any]], None] | None,
    ) -> None:
        load_families()
        self.optimizer, self.weigh = optimizer, weigh
        try:
            self.method = find_method(optimizer)
            captured = capture(gm)
            # Which inputs are which parameters is known only when the function is called.
            self.captured = captured
            self.learns = any(node.meta["needs"] for node in captured.inputs)
            self.bound: Bound | None = None
        except Exception as error:
            raise NotWhole(reason_of(error)) from error

    def __call__(self, *given: Any) -> Any:
        inputs: Sequence[Any] = given
        if not self.learns:
            raise NotNow
        if self.bound is None or not self.bound.is_of(inputs):
            try:
                self.bound = Bound(self.captured, self.optimizer, self.method, inputs)
            except Exception as error:
                raise NotWhole(reason_of(error)) from error
            self.is_weighed = self.weigh is None
        inputs = self.bound.turned(inputs)
        self.bound.check(inputs)
        if not self.is_weighed and self.weigh is not None:
            self.weigh(self.bound, inputs)
            self.is_weighed = True
        return (self.bound.run(inputs),)
