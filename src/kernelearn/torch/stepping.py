"""A whole training step as one program: forward pass, loss, backward pass and the update of every weight."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from kernelearn.engine.cpu.cut import CutStep
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import Buffer
from kernelearn.torch.assembly import calls
from kernelearn.torch.backend import compile_graph
from kernelearn.torch.capture import Captured, capture
from kernelearn.torch.labels import Labels
from kernelearn.torch.memory import given_of, point
from kernelearn.torch.passes import warn_once
from kernelearn.torch.translation import load_families
from kernelearn.torch.translation.region import Region, is_batched
from kernelearn.torch.translation.table import CannotTranslate, reason_of
from kernelearn.torch.updates import Builder, Group, Method, find_method

aten = torch.ops.aten


class Step:
    """A training step: `loss = step(x, y)`.

    What `optimizer.zero_grad(); loss = criterion(model(x), y); loss.backward(); optimizer.step()` does, in
    one program where that can be, else in PyTorch, said once. Weights and the optimiser's state stay where
    they are, so schedulers, `state_dict` and files work as ever; gradients are kept nowhere (`grad` is None).

    Attributes:
        model, optimizer, loss: as given.
        is_fused: whether the last step was one program.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[..., Any], **options: Any
    ) -> None:
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.is_fused = False
        self._failure: Exception | None = None
        self._settings: Any = None
        self._options = options
        self._whole: Callable[..., Any] = self._compiled()
        self._parts: Callable[..., Any] = torch.compile(self._loss_of, backend=compile_graph, **options)

    def __call__(self, *batch: Any) -> torch.Tensor:
        """One step.

        Args:
            batch: what the model is called with, and last what the loss compares its result with.
        Returns: the loss, a number without a graph.
        """
        settings = _settings(self.optimizer)
        if settings != self._settings:  # other parameters, or other numbers in the code
            self._settings, self._whole, self._failure = settings, self._compiled(), None
        if self._failure is None:
            try:
                loss: torch.Tensor = self._whole(*batch)
            except _NotWhole as error:
                self._failure = error
                warn_once(f"kernelearn updates the weights in PyTorch: {error}")
            except _NotNow:
                pass
            else:
                self.is_fused = True
                self.optimizer.zero_grad(set_to_none=True)
                # NOTE: schedulers look here whether the optimiser has made a step.
                self.optimizer._opt_called = True  # type: ignore[attr-defined]
                return loss
        self.is_fused = False
        self.optimizer.zero_grad()
        loss = self._parts(*batch)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def _loss_of(self, *batch: Any) -> Any:
        return self.loss(self.model(*batch[:-1]), batch[-1])

    def _compiled(self) -> Callable[..., Any]:
        """The step as one program; raises `_NotWhole` where it cannot be."""

        def backend(gm: GraphModule, example_inputs: Sequence[Any]) -> Callable[..., Any]:
            return _Fused(gm, self.optimizer)

        inner = torch.compile(self._loss_of, backend=backend, fullgraph=True, **self._options)

        def run(*batch: Any) -> Any:
            try:
                return inner(*batch)
            except torch._dynamo.exc.TorchDynamoException as error:
                cause = _cause(error)
                raise (cause if isinstance(cause, _NotWhole) else _NotWhole(reason_of(cause))) from error

        return run


class _NotWhole(Exception):
    """The step cannot be one program; the message says why."""


class _NotNow(Exception):
    """A step that PyTorch has to make: no images, labels that are no classes, nothing to learn."""


def _cause(error: BaseException) -> BaseException:
    while not isinstance(error, _NotWhole) and (error.__cause__ or getattr(error, "inner_exception", None)):
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

    def __init__(self, gm: GraphModule, optimizer: torch.optim.Optimizer) -> None:
        load_families()
        self.optimizer = optimizer
        try:
            self.method = find_method(optimizer)
            captured = capture(gm)
            # Which inputs are which parameters is known only when the function is called.
            self.captured = captured
            self.bound: _Bound | None = None
        except Exception as error:
            raise _NotWhole(reason_of(error)) from error

    def __call__(self, *inputs: Any) -> Any:
        if not any(node.meta["needs"] for node in self.captured.inputs):
            raise _NotNow
        if self.bound is None or not self.bound.is_of(inputs):
            try:
                self.bound = _Bound(self.captured, self.optimizer, self.method, inputs)
            except Exception as error:
                raise _NotWhole(reason_of(error)) from error
        return (self.bound.run(inputs),)


class _Bound:
    """The program of a step, and where PyTorch keeps what it changes."""

    def __init__(
        self, captured: Captured, optimizer: torch.optim.Optimizer, method: Method, inputs: Sequence[Any]
    ) -> None:
        self.captured, self.optimizer, self.method = captured, optimizer, method
        groups = {
            id(p): number for number, group in enumerate(optimizer.param_groups) for p in group["params"]
        }
        nodes = captured.inputs
        self.trained = [
            (position, groups[id(x)])
            for position, (node, x) in enumerate(zip(nodes, inputs))
            if node.meta["needs"] and id(x) in groups
        ]
        self.params = [(position, inputs[position]) for position, _ in self.trained]
        _refuse_unseen(captured, optimizer, inputs, {position for position, _ in self.trained})
        region = Region()
        loss, self.counters, averages = _translated(region, captured)
        names = _numbers(region, optimizer, method)
        self.slots = _add_updates(region, optimizer, method, self.trained, loss, names, nodes)
        for target, value in averages:
            region.graph.update("assign", (value,), (region.declared[target].buffer,))
        region.graph.outputs = {"loss": loss.name}
        self.step = CutStep(region.graph.build(), is_whole=True)
        self.slots = [(p, [(name, self.step.number(b)) for name, b in slots]) for p, slots in self.slots]
        self.given = given_of(self.step, region, nodes)
        self.counted = next(i for i, n in enumerate(nodes) if is_batched(n) and n in region.declared)
        self.averaged = [nodes.index(target) for target, _ in averages]
        self.written = {*(position for position, _ in self.trained), *self.averaged}
        self.fixed = [given for given in self.given if given.position in self.written]
        self.loss = self.step.number(loss.name)
        self.numbers = [[self.step.number(name) for name in group] for group in names]
        named = {region.declared[n].buffer.name: i for i, n in enumerate(nodes) if n in region.declared}
        self.labels = Labels(self.step, named)
        # Counters of the optimiser's steps that are equal for certain, and their versions.
        self._counts: list[torch.Tensor] = []
        self._versions: list[int] = []

    def is_of(self, inputs: Sequence[Any]) -> bool:
        """Whether parameters are those that it was made for, and still nobody looks at gradients or steps."""
        is_seen = any(inputs[i] is not x or _has_hooks(x) for i, x in self.params)
        return not is_seen and not _has_hooks(self.optimizer)

    def run(self, inputs: Sequence[Any]) -> torch.Tensor:
        """One step; the loss."""
        if not inputs[self.counted].shape[0] or not self.labels.are_usual(inputs):
            raise _NotNow
        if not all(given.lies(inputs[given.position]) for given in self.fixed):
            raise _NotWhole("a weight does not lie in memory as when the step was compiled")
        frame = self.step.frame(inputs[self.counted].shape[0], torch.get_num_threads())
        addresses = frame.addresses
        kept = point(addresses, inputs, self.given)
        state = self._point_slots(addresses, inputs)
        numbers = self._point_numbers(addresses)
        loss = torch.empty(())
        addresses[self.loss] = loss.data_ptr()
        frame.forward()
        del numbers, kept
        self.step.release(frame)
        torch.autograd.graph.increment_version([*(inputs[i] for i in self.written), *state])
        for count, positions in self.counters:
            torch._foreach_add_([inputs[i] for i in positions], count)
        return loss

    def _point_slots(self, addresses: Any, inputs: Sequence[Any]) -> list[torch.Tensor]:
        """Tell where the optimiser keeps its state; it is made as the optimiser itself would."""
        found, steps = [], []
        for position, slots in self.slots:
            param = inputs[position]
            state = self.optimizer.state[param]
            if self.method.counts:
                if "step" not in state:
                    state["step"] = torch.tensor(0.0)
                steps.append(state["step"])
            for name, number in slots:
                slot = state.get(name)
                if slot is None:
                    slot = state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
                elif slot.stride() != param.stride() or slot.dtype != param.dtype:
                    slot = state[name] = torch.zeros_like(param).copy_(slot)
                addresses[number] = slot.data_ptr()
                found.append(slot)
        if steps:
            is_known = len(steps) == len(self._counts) and all(map(operator.is_, steps, self._counts))
            is_known = is_known and [s._version for s in steps] == self._versions
            if not is_known and len({float(s) for s in steps}) > 1:
                raise _NotWhole("the optimiser has made different numbers of steps for its parameters")
            torch._foreach_add_(steps, 1)
            self._counts, self._versions = steps, [s._version for s in steps]
        return found

    def _point_numbers(self, addresses: Any) -> torch.Tensor:
        """The numbers of this step."""
        count = int(self._counts[0]) if self._counts else 0
        groups = self.optimizer.param_groups
        numbers = torch.tensor([self.method.numbers(group, count) for group in groups], dtype=torch.float32)
        place = numbers.data_ptr()
        for row in self.numbers:
            for number in row:
                if number is not None:
                    addresses[number] = place
                place += 4
        return numbers


def _refuse_unseen(
    captured: Captured, optimizer: torch.optim.Optimizer, inputs: Sequence[Any], trained: set[int]
) -> None:
    """Whatever would see a gradient or a step that happens inside of a program."""
    for position, (node, x) in enumerate(zip(captured.inputs, inputs)):
        if node.meta["needs"] and position not in trained:
            raise CannotTranslate("something needs a gradient that the optimiser does not have")
        if position in trained and _has_hooks(x):
            raise CannotTranslate("a parameter has hooks on its gradient")
    if _has_hooks(optimizer):
        raise CannotTranslate("the optimiser has hooks")


def _has_hooks(watched: Any) -> bool:
    """Whether somebody asked to be told of a parameter's gradient, or of an optimiser's steps."""
    if isinstance(watched, torch.optim.Optimizer):
        return bool(watched._optimizer_step_pre_hooks or watched._optimizer_step_post_hooks)
    return bool(watched._backward_hooks or watched._post_accumulate_grad_hooks)


def _translated(
    region: Region, captured: Captured
) -> tuple[Buffer, list[tuple[int, list[int]]], list[tuple[Node, Buffer]]]:
    """The loss, counters (what is added, to which inputs), and new values of other inputs."""
    outputs, inputs = captured.outputs, captured.inputs
    if captured.results != 1 or not isinstance(outputs[0], Node) or outputs[0].meta["val"].dim():
        raise CannotTranslate("the loss is not a single number")
    if outputs[0].meta["val"].dtype != torch.float32:
        raise CannotTranslate(f"the loss is of type {outputs[0].meta['val'].dtype}")
    counters: dict[int, list[int]] = {}
    moving: list[tuple[Node, Node]] = []
    for position, value in zip(captured.changed, outputs[1:]):
        if (
            value.target is aten.add.Tensor
            and value.args[0] is inputs[position]
            and type(value.args[1]) is int
        ):
            counters.setdefault(value.args[1], []).append(position)
        else:
            moving.append((inputs[position], value))
    needed = _needed([outputs[0], *(value for _, value in moving)])
    for node in calls(captured.module.graph):
        if node in needed:
            region.translate(node)
    averages = [(t, region.take(v, region.value(t).order)) for t, v in moving]
    return region.plain(outputs[0]), list(counters.items()), averages


def _needed(nodes: Sequence[Node]) -> set[Node]:
    found: set[Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += node.all_input_nodes
    return found


def _numbers(region: Region, optimizer: torch.optim.Optimizer, method: Method) -> list[list[str]]:
    """Names of the inputs that bring the numbers of a step, for each group of parameters."""
    return [
        [
            region.graph.input(f"number/{number}/{i}", (), "float32").name
            for i in range(len(method.numbers({**group, "lr": 0.0}, 1)))
        ]
        for number, group in enumerate(optimizer.param_groups)
    ]


def _add_updates(
    region: Region,
    optimizer: torch.optim.Optimizer,
    method: Method,
    trained: Sequence[tuple[int, int]],
    loss: Buffer,
    names: Sequence[Sequence[str]],
    nodes: Sequence[Node],
) -> list[tuple[int, list[tuple[str, Any]]]]:
    """The backward pass and the updates; for each parameter its slots and the buffers of these."""
    graph = region.graph
    params = {position: region.declared[nodes[position]].buffer for position, _ in trained}
    grads = add_gradients(graph, loss, tuple(params.values()))
    if any(param.name not in grads for param in params.values()):
        raise CannotTranslate("the loss does not depend on all parameters")
    graph.phase, made = "update", []
    for position, number in trained:
        group: Group = optimizer.param_groups[number]
        param = params[position]
        slots = [(name, f"slot/{name}/{position}") for name in method.slots(group)]
        buffers = [graph.given_weight(name, param.shape) for _, name in slots]
        rates = [graph.buffers[name] for name in names[number]]
        new = method.step(Builder(graph), group, rates, param, grads[param.name], *buffers)
        for value, buffer in zip(new, (param, *buffers)):
            graph.update("assign", (value,), (buffer,))
        made.append((position, slots))
    graph.phase = "forward"
    return made
