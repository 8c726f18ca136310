"""The program of a whole training step, and where PyTorch keeps what it changes."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.fx import Node
from torch.fx.node import map_arg

from kernelearn.engine.cpu.cut import CutStep, Frame
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import Buffer
from kernelearn.torch.assembly import calls
from kernelearn.torch.graphs import noise
from kernelearn.torch.graphs.capture import Captured
from kernelearn.torch.inside import add_to_each, has_hooks
from kernelearn.torch.labels import Labels
from kernelearn.torch.measuring import Work
from kernelearn.torch.memory import Standing, given_of, point
from kernelearn.torch.translation.region import Region, is_batched
from kernelearn.torch.translation.table import CannotTranslate
from kernelearn.torch.updates import Builder, Group, Method

aten = torch.ops.aten

_TURNS = (aten.transpose.int, aten.permute.default, aten.t.default)


class NotWhole(Exception):
    """The step cannot be one program; the message says why."""


class NotNow(Exception):
    """A step that PyTorch has to make: no images, labels that are no classes, nothing to learn."""


class Bound:
    """The program of a step, and where PyTorch keeps what it changes."""

    def __init__(
        self, captured: Captured, optimizer: torch.optim.Optimizer, method: Method, inputs: Sequence[Any]
    ) -> None:
        self.captured, self.optimizer, self.method = captured, optimizer, method
        groups = {
            id(p): number for number, group in enumerate(optimizer.param_groups) for p in group["params"]
        }
        # What dropouts are multiplied by is drawn by PyTorch before the program, in the order of the graph.
        self.drawn = [node for node in calls(captured.module.graph) if node.target is noise.draw]
        # Inputs whose images come second are turned before it, which moves nothing.
        self.moved = [node for node in calls(captured.module.graph) if _is_turned_input(node)]
        nodes = [*captured.inputs, *self.moved, *self.drawn]
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
        self._slot_numbers = np.array([number for _, slots in self.slots for _, number in slots], np.int64)
        self.given = given_of(self.step, region, nodes)
        self.counted = next(i for i, n in enumerate(nodes) if is_batched(n) and n in region.declared)
        self.averaged = [nodes.index(target) for target, _ in averages]
        self.written = {*(position for position, _ in self.trained), *self.averaged}
        self.fixed = [given for given in self.given if given.position in self.written]
        lasting = nodes[: len(nodes) - len(self.drawn)]
        positions = {i for i, node in enumerate(lasting) if not is_batched(node)}
        self.standing = Standing([g for g in self.given if g.position in positions])
        self.moving = [g for g in self.given if g.position not in positions]
        self.loss = self.step.number(loss.name)
        # Numbers of a step that some operation reads: where they go, and where they are among all, in bytes.
        asked = [self.step.number(name) for group in names for name in group]
        self._number_slots = np.array([n for n in asked if n is not None], np.int64)
        self._number_offsets = 4 * np.array([i for i, n in enumerate(asked) if n is not None], np.int64)
        named = {region.declared[n].buffer.name: i for i, n in enumerate(nodes) if n in region.declared}
        self.labels = Labels(self.step, named, region.uncounted)
        # Counters of the optimiser's steps that are equal for certain, and their versions.
        self._counts: list[torch.Tensor] = []
        self._versions: list[int] = []

    def is_of(self, inputs: Sequence[Any]) -> bool:
        """Whether parameters are those that it was made for, and still nobody looks at gradients or steps."""
        is_seen = any(inputs[i] is not x or has_hooks(x) for i, x in self.params)
        return not is_seen and not has_hooks(self.optimizer)

    def turned(self, inputs: Sequence[Any]) -> Sequence[Any]:
        """Inputs of the graph, and those that are turned behind them: what the other methods are given."""
        if not self.moved:
            return inputs
        found = dict(zip(self.captured.inputs, inputs))
        moved = (node.target(*map_arg(node.args, found.__getitem__)) for node in self.moved)  # type: ignore[operator]
        return [*inputs, *moved]

    def check(self, inputs: Sequence[Any]) -> None:
        """Raises NotNow for a batch that the program is not for."""
        if not inputs[self.counted].shape[0] or not self.labels.are_usual(inputs):
            raise NotNow

    def run(self, inputs: Sequence[Any]) -> torch.Tensor:
        """One step; the loss.

        Raises: NotWhole for weights that the program is not for, before any number is drawn.
        """
        frame, copies = self._pointed(inputs)
        inputs = self._with_noise(inputs)
        state = self._state_of(inputs)
        try:
            loss = self._compute(frame, inputs, state, int(self._counts[0]) if self._counts else 0)
            del copies
        finally:  # an interrupt may come where the weights have moved
            torch.autograd.graph.increment_version([*(inputs[i] for i in self.written), *state])
        for count, positions in self.counters:
            add_to_each([inputs[i] for i in positions], count)
        return loss

    def _with_noise(self, inputs: Sequence[Any]) -> Sequence[Any]:
        if not self.drawn:
            return inputs
        found = dict(zip(self.captured.inputs, inputs))
        drawn = (noise.draw(*map_arg(node.args, found.__getitem__)) for node in self.drawn)
        return [*inputs, *drawn]

    def _pointed(self, inputs: Sequence[Any]) -> tuple[Frame, list[torch.Tensor]]:
        """A frame that knows where parameters and averages lie, and copies of those that are only read.

        Raises: NotWhole where one that is written lies otherwise.
        """
        frame = self.step.frame(inputs[self.counted].shape[0], torch.get_num_threads())
        _, copies = self.standing.point(frame, self.standing.of(inputs))
        if copies and not all(given.lies(inputs[given.position]) for given in self.fixed):
            self.step.release(frame)
            raise NotWhole("a weight does not lie in memory as when the step was compiled")
        return frame, copies

    def _compute(
        self, frame: Frame, inputs: Sequence[Any], state: Sequence[torch.Tensor], count: int
    ) -> torch.Tensor:
        """Run the program; it writes weights, averages and the optimiser's state.

        Args:
            count: number of the step.
        """
        kept = point(frame.addresses, inputs, self.moving)
        places = [slot.data_ptr() for slot in state]
        if frame.standing.get("state") != places:
            frame.addresses[self._slot_numbers] = frame.standing["state"] = places
        self._point_numbers(frame, count)
        loss = torch.empty(())
        frame.addresses[self.loss] = loss.data_ptr()
        frame.forward()
        del kept
        self.step.release(frame)
        return loss

    # ------------------------------------------------------------------ which of the two
    def description(self) -> str:
        """What tells the work of this step from that of others."""
        layouts = [(g.position, g.order, g.number) for g in self.given]
        return f"{self.step.program.explain()} {layouts}"

    def trial(self, inputs: Sequence[Any]) -> tuple[Work, Work]:
        """A step on the engine and one in PyTorch, on copies of what they change."""
        inputs = self._with_noise(inputs)
        copies = [x.detach() if isinstance(x, torch.Tensor) else x for x in inputs]
        for position in self.written:
            copies[position] = copies[position].clone()
        state = [torch.zeros_like(copies[position]) for position, slots in self.slots for _ in slots]
        given, params = list(copies), [copies[position].clone() for position, _ in self.trained]
        for (position, _), param in zip(self.trained, params):
            given[position] = param.requires_grad_()
        optimizer = self._copied_optimizer(params)

        def theirs() -> None:
            optimizer.zero_grad()
            with torch.enable_grad():
                loss = self.captured.module(*given[: len(self.captured.inputs)])[0]
            loss.backward()
            optimizer.step()

        def ours() -> None:
            frame, kept = self._pointed(copies)
            self._compute(frame, copies, state, 1)
            del kept

        return ours, theirs

    def _copied_optimizer(self, params: Sequence[torch.Tensor]) -> torch.optim.Optimizer:
        """One of the same settings, for other parameters."""
        groups: list[dict[str, Any]] = [{**g, "params": []} for g in self.optimizer.param_groups]
        for (_, number), param in zip(self.trained, params):
            groups[number]["params"].append(param)
        return type(self.optimizer)([group for group in groups if group["params"]])

    def _state_of(self, inputs: Sequence[Any]) -> list[torch.Tensor]:
        """Where the optimiser keeps its state; it is made as the optimiser itself would. Counts the step."""
        found, steps = [], []
        for position, slots in self.slots:
            param = inputs[position]
            state = self.optimizer.state[param]
            if self.method.counts:
                if "step" not in state:
                    state["step"] = torch.tensor(0.0)
                steps.append(state["step"])
            for name, _ in slots:
                slot = state.get(name)
                if slot is None:
                    slot = state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
                elif slot.stride() != param.stride() or slot.dtype != param.dtype:
                    slot = state[name] = torch.zeros_like(param).copy_(slot)
                found.append(slot)
        if steps:
            is_known = len(steps) == len(self._counts) and all(map(operator.is_, steps, self._counts))
            is_known = is_known and [s._version for s in steps] == self._versions
            if not is_known and len({float(s) for s in steps}) > 1:
                raise NotWhole("the optimiser has made different numbers of steps for its parameters")
            add_to_each(steps, 1)
            self._counts, self._versions = steps, [s._version for s in steps]
        return found

    def _point_numbers(self, frame: Frame, count: int) -> None:
        """The numbers of this step."""
        numbers = [self.method.numbers(group, count) for group in self.optimizer.param_groups]
        if frame.standing.get("numbers") != numbers:
            row = np.array(numbers, np.float32)
            frame.addresses[self._number_slots] = row.ctypes.data + self._number_offsets
            frame.standing.update(numbers=numbers, row=row)


def _refuse_unseen(
    captured: Captured, optimizer: torch.optim.Optimizer, inputs: Sequence[Any], trained: set[int]
) -> None:
    """Whatever would see a gradient or a step that happens inside of a program."""
    for position, (node, x) in enumerate(zip(captured.inputs, inputs)):
        if node.meta["needs"] and position not in trained:
            raise CannotTranslate("something needs a gradient that the optimiser does not have")
        if position in trained and has_hooks(x):
            raise CannotTranslate("a parameter has hooks on its gradient")
    if has_hooks(optimizer):
        raise CannotTranslate("the optimiser has hooks")


def _is_turned_input(node: Node) -> bool:
    """Whether a node is an input with its images in front, where they are not by themselves."""
    source = node.args[0] if node.target in _TURNS else None
    is_input = isinstance(source, Node) and source.op == "placeholder" and not source.meta["of_module"]
    return is_input and is_batched(node) and not is_batched(source)  # type: ignore[arg-type]


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
        if node in needed and node.target is not noise.draw and not _is_turned_input(node):
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
