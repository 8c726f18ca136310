"""A region as a function of PyTorch: forward now, backward when autograd asks, on the tensors' own memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.fx import GraphModule, Node

from kernelearn.engine.cpu.cut import CutStep, Frame
from kernelearn.engine.cpu.machine import threads
from kernelearn.torch.building import Parts, finish, read_by_backward
from kernelearn.torch.inside import goes_forwards, is_mapped
from kernelearn.torch.labels import Labels
from kernelearn.torch.made import as_said, gradients_of, made_of, typed
from kernelearn.torch.measuring import Choice, Work
from kernelearn.torch.memory import Given, Standing, given_of, in_order, point
from kernelearn.torch.samples import Seen
from kernelearn.torch.translation.region import Region, is_batched


class Lease:
    """A frame until the backward part has run, or nobody can ask for it any more."""

    def __init__(self, step: CutStep, frame: Frame) -> None:
        self.step, self.frame = step, frame

    def __del__(self) -> None:
        self.step.release(self.frame)


class RegionCall:
    """Nodes of a graph as one function, differentiable where PyTorch's would be.

    Args:
        module: the nodes as a graph of their own, marked as `capture` does; what runs where a region cannot.
        in_place: number of a result -> number of the input that it overwrites.
        is_measured: whether PyTorch takes the nodes over where it is faster.
    Raises: KernelearnError if the nodes together cannot be a program.
    """

    def __init__(self, module: GraphModule, in_place: Mapping[int, int], is_measured: bool = False) -> None:
        self.module, self.__name__ = module, "kernelearn_region"
        nodes = list(module.graph.nodes)
        inputs = [node for node in nodes if node.op == "placeholder"]
        found = module.graph.output_node().args[0]
        self.is_single = isinstance(found, Node)
        outputs: Sequence[Node] = (found,) if isinstance(found, Node) else found  # type: ignore[assignment]
        region = Region()
        for node in nodes:
            if node.op == "call_function":
                region.translate(node)
        finished = finish(region, Parts(outputs, [node for node in inputs if node.meta["needs"]]))
        self.program = finished.program
        self.is_differentiable = bool(finished.gradients)
        self.step = CutStep(finished.program, keeps_constants=not self.is_differentiable)
        self._seen: Seen | None = None
        self._renewing = threads.RunLock()
        names = {region.declared[n].buffer.name: i for i, n in enumerate(inputs) if n in region.declared}
        self._labels = Labels(self.step, names, region.uncounted)
        self.given = given_of(self.step, region, inputs, read_by_backward(finished.program))
        self.counted = next(g.position for g in self.given if is_batched(inputs[g.position]))
        self.results = [
            made_of(self.step, result, tangent, in_place.get(i), self.step.read_later)
            for i, (result, tangent) in enumerate(zip(finished.results, finished.tangents))
        ]
        self.gradients = gradients_of(self.step, finished, region, inputs)
        self.autocast = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")
        self.overwritten = [m.target for m in self.results if m.target is not None]
        # Arguments that autograd keeps for the backward part, and those that only a second one needs.
        self.saved = tuple(g for g in self.given if g.is_later)
        # Results that it reads: all of them, and those that are the memory that the forward part wrote.
        self.later = tuple(i for i, made in enumerate(self.results) if made.is_later and made.target is None)
        self.read_back = [
            Given(k, made.order, made.strides, made.number, torch.float32)
            for k, made in enumerate(self.results[i] for i in self.later)
            if made.restrided is None and made.dtype is torch.float32
        ]
        saved = {g.position for g in self.saved}
        tensors = [i for i, node in enumerate(inputs) if isinstance(node.meta["val"], torch.Tensor)]
        self.others = tuple(i for i in tensors if i not in saved)
        self.numbers = tuple(i for i in range(len(inputs)) if i not in tensors)
        self.count = len(inputs)
        fixed = {g.position for g in self.given if not is_batched(inputs[g.position])}
        self.standing = Standing([g for g in self.given if g.position in fixed])
        self.moving = [g for g in self.given if g.position not in fixed]
        self.saved_standing = Standing([g for g in self.saved if g.position in fixed])
        self.saved_moving = [g for g in self.saved if g.position not in fixed]
        self._function = _function(self)
        self.choice = Choice(self._description(), is_measured)

    def __call__(self, *inputs: Any) -> Any:
        images = inputs[self.counted].shape[0]
        if not images or not self._labels.are_usual(inputs) or goes_forwards():
            return self._in_pytorch(inputs)
        if self.choice.is_measured and self.choice.is_left(images, lambda: self._trial(inputs)):
            return self._in_pytorch(inputs)
        if self.is_differentiable:
            outputs = self._function.apply(*inputs)
        else:
            outputs, frame, _ = self.forward(inputs)
            self.step.release(frame)
        return outputs[0] if self.is_single else outputs

    # ------------------------------------------------------------------ the parts
    def forward(
        self, inputs: Sequence[Any], is_again: bool = False
    ) -> tuple[tuple[Any, ...], Frame, list[Any]]:
        """The results, the frame, and what has to live until the backward part has run.

        Args:
            is_again: leave what would be overwritten alone.
        """
        images = inputs[self.counted].shape[0]
        frame = self.step.frame(images, torch.get_num_threads())
        weights = self.standing.of(inputs)
        places, kept = self.standing.point(frame, weights)
        are_copied = bool(kept)
        kept += point(frame.addresses, inputs, self.moving)
        buffers = []
        for made in self.results:
            given_back = made.target is None or is_again
            buffer = made.empty(images) if given_back else inputs[made.target]  # type: ignore[index]
            buffers.append(buffer)
            if made.number is not None:
                frame.addresses[made.number] = buffer.data_ptr()
        try:
            self._run_forward(frame, weights, None if are_copied else places)
        finally:  # an interrupt may come where averages have moved
            if self.overwritten and not is_again:
                torch.autograd.graph.increment_version([inputs[i] for i in self.overwritten])
        outputs = [as_said(made, buffer) for made, buffer in zip(self.results, buffers)]
        kept += [b for m, b, y in zip(self.results, buffers, outputs) if m.is_later and b is not y]
        return tuple(outputs), frame, kept

    def _run_forward(
        self, frame: Frame, weights: Sequence[torch.Tensor], places: Sequence[int] | None
    ) -> None:
        """Args: places: addresses of the weights; None where copies of them are read."""
        if not self.step.prologue:
            frame.forward()
            return
        # NOTE: what is kept of the weights is one for all threads, and for all models of this graph.
        with self._renewing.lock:
            if places is None or self._seen is None or not self._seen.is_still(weights, places):
                self._seen = None
                frame.constants()
                self._seen = None if places is None else Seen(weights, places)
            frame.forward()

    def backward(self, frame: Frame, tangents: Sequence[Any]) -> tuple[Any, ...]:
        """The gradient of every argument; None where none was asked for, or nothing comes.

        Args:
            tangents: None for a result that nothing was computed from: PyTorch tells it from zeros, and so do
                optimisers, which pass over parameters without a gradient.
        """
        kept = []
        for made, tangent in zip(self.results, tangents):
            if made.tangent is not None:
                lying = tangent
                if tangent is None:
                    lying = made.empty(frame.images).zero_()
                elif tangent.stride() != made.strides or tangent.dtype is not torch.float32:
                    lying = in_order(tangent, made.order, torch.float32)
                kept.append(lying)
                frame.addresses[made.tangent] = lying.data_ptr()
        grads: list[Any] = [None] * self.count
        for position, made in self.gradients:
            grads[position] = made.empty(frame.images)
            frame.addresses[made.number] = grads[position].data_ptr()
        frame.backward()
        come = {number for number, tangent in enumerate(tangents) if tangent is not None}
        for position, made in self.gradients:
            is_reached = not come.isdisjoint(made.sources)
            grads[position] = typed(made, grads[position]) if is_reached else None
        return tuple(grads)

    # ------------------------------------------------------------------ which of the two
    def _description(self) -> str:
        """What tells the work of this region from that of others."""
        layouts = [(g.position, g.order, g.number) for g in self.given]
        return f"{self.program.explain()} {layouts} {self.autocast} {self.is_differentiable}"

    def _trial(self, inputs: Sequence[Any]) -> tuple[Work, Work]:
        """A forward and backward pass, on the engine and in PyTorch, that nobody else sees."""
        given = [x.detach() if isinstance(x, torch.Tensor) else x for x in inputs]
        for position, _ in self.gradients:
            given[position].requires_grad_()
        tangents = [torch.ones_like(y) for y in _listed(self.module(*given))]

        def ours() -> None:
            _, frame, kept = self.forward(given, is_again=True)
            if self.is_differentiable:
                self.backward(frame, tangents)
            del kept
            self.step.release(frame)

        def theirs() -> None:
            if self.is_differentiable:
                self.gradients_in_pytorch(given, tangents, create_graph=False)
            else:
                self.module(*given)

        return ours, theirs

    # ------------------------------------------------------------------ in PyTorch itself
    def _in_pytorch(self, inputs: Sequence[Any]) -> Any:
        """The same nodes run by PyTorch."""
        results = self.module(*inputs)
        if not self.overwritten:
            return results
        results = [results] if self.is_single else list(results)
        for number, made in enumerate(self.results):
            if made.target is not None:
                with torch.no_grad():
                    inputs[made.target].copy_(results[number])
                results[number] = None
        return results[0] if self.is_single else tuple(results)

    def gradients_in_pytorch(
        self, inputs: Sequence[Any], tangents: Sequence[Any], create_graph: bool = True
    ) -> tuple[Any, ...]:
        """The gradients, computed by PyTorch; by default such that they have gradients themselves."""
        enabled, dtype = self.autocast
        with torch.enable_grad(), torch.autocast("cpu", dtype, enabled):
            results = _listed(self.module(*inputs))
        pairs = [(y, t) for y, t, m in zip(results, tangents, self.results) if m.tangent is not None]
        pairs = [(y, t) for y, t in pairs if t is not None]
        wanted = [position for position, _ in self.gradients]
        found = torch.autograd.grad(
            [y for y, _ in pairs],
            [inputs[i] for i in wanted],
            [t.to(y.dtype) for y, t in pairs],
            create_graph=create_graph,
            allow_unused=True,
        )
        grads: list[Any] = [None] * self.count
        for position, grad in zip(wanted, found):
            grads[position] = grad
        return tuple(grads)


def _listed(results: Any) -> Sequence[Any]:
    return results if isinstance(results, tuple | list) else (results,)


def _function(region: RegionCall) -> Any:
    """The region as autograd knows it."""
    unmoved = [number for number, made in enumerate(region.results) if made.tangent is None]

    class Passing(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            ctx.set_materialize_grads(False)
            outputs, frame, ctx.kept = region.forward(inputs)
            ctx.lease = Lease(region.step, frame)
            ctx.save_for_backward(
                *[inputs[g.position] for g in region.saved], *[outputs[i] for i in region.later]
            )
            ctx.others = [(i, inputs[i], inputs[i]._version) for i in region.others]
            ctx.moving = region.overwritten  # nothing but the next averages is computed from these
            ctx.numbers = [inputs[i] for i in region.numbers]
            fixed = [outputs[i] for i in unmoved if outputs[i] is not None]
            if fixed:
                ctx.mark_non_differentiable(*fixed)
            return outputs

        @staticmethod
        def backward(ctx: Any, *tangents: Any) -> Any:
            inputs: list[Any] = [None] * region.count
            saved = ctx.saved_tensors  # hooks of the user's may have put them elsewhere
            for given, x in zip(region.saved, saved):
                inputs[given.position] = x
            for position, x in zip(region.numbers, ctx.numbers):
                inputs[position] = x
            is_again = torch.is_grad_enabled()  # gradients of gradients are wanted
            if is_again or any(map(is_mapped, tangents)):
                return region.gradients_in_pytorch(_with_others(ctx, inputs), tangents, is_again)
            lease, ctx.lease = ctx.lease, None
            if lease is None:  # the first backward pass has overwritten what was kept
                _, frame, kept = region.forward(_with_others(ctx, inputs), is_again=True)
                lease = Lease(region.step, frame)
            else:
                standing = region.saved_standing
                _, kept = standing.point(lease.frame, standing.of(inputs))
                kept += point(lease.frame.addresses, inputs, region.saved_moving)
                kept += point(lease.frame.addresses, saved[len(region.saved) :], region.read_back)
            grads = region.backward(lease.frame, tangents)
            del kept
            return grads

    return Passing


def _with_others(ctx: Any, inputs: list[Any]) -> list[Any]:
    """All arguments, also those that only a second backward pass needs."""
    for position, x, version in ctx.others:
        if x._version != version and position not in ctx.moving:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace "
                f"operation: a tensor of shape {tuple(x.shape)} is at version {x._version}; expected version "
                f"{version} instead."
            )
        inputs[position] = x
    return inputs
