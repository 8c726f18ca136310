"""Speed of attention and of products of matrices, side by side: this library, NumPy, PyTorch.

Three tables: products of matrices (GFLOP/s); the attention of heads alone, forward and backward, against
PyTorch's scaled_dot_product_attention; a training step of MultiHeadAttention by SGD. One thread each; seconds
of the processor (other programs do not count), the least of interleaved runs. Run with
    python benchmarks/attention.py [--runs 20]
PyTorch is skipped, with a line that says so, where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterable

import numpy as np

import kernelearn
from kernelearn import Input, Model, layers, ops
from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import gradients_of
from kernelearn.engine.program import ProgramBuilder
from kernelearn.tracing import Traced, tracing

Action = Callable[[], object]

# (leading sizes, m, k, n), and which operands are stored transposed.
PRODUCTS = [
    ((32, 4), 64, 32, 64, (False, True)),
    ((32, 4), 64, 64, 32, (False, False)),
    ((32, 4), 64, 64, 32, (True, False)),
    ((8, 4), 256, 64, 256, (False, True)),
    ((8, 4), 256, 256, 64, (False, False)),
    ((), 512, 512, 512, (False, False)),
    ((), 1000, 777, 1001, (False, False)),
    ((), 1024, 1024, 1024, (True, False)),
]
# Images, heads, positions, channels of a head.
HEADS = [(32, 4, 64, 32), (8, 4, 256, 64), (8, 8, 256, 64)]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def running(graph: ProgramBuilder, inputs: dict[str, np.ndarray]) -> Action:
    """A run of a program on these inputs; its results are copied out, which costs short products a third."""
    executable = prepare(graph.build(), graph.variables)
    arrays = executable.inputs({name: inputs[name] for name in (b.name for b in executable.program.inputs())})
    return lambda: executable.binding(arrays).run(arrays)


def product(lead: tuple[int, ...], a: np.ndarray, b: np.ndarray, turned: tuple[bool, bool]) -> Action:
    graph = ProgramBuilder()
    shapes = [(None, *x.shape[1:]) if lead else x.shape for x in (a, b)]
    x, y = (graph.input(name, shape) for name, shape in zip("ab", shapes))
    made = graph.add("matmul", x, y, transpose_a=turned[0], transpose_b=turned[1])
    graph.outputs = {"y": made.name}
    return running(graph, {"a": a, "b": b})


def attention(n: int, heads: int, t: int, d: int, is_causal: bool) -> Action:
    """Attention of heads and its gradients by query, key and value."""
    graph = ProgramBuilder(training=True)
    q, k, v, r = (Traced(graph, graph.input(name, (None, t, heads, d))) for name in "qkvr")
    with tracing(graph):
        y = ops.dot_product_attention(q, k, v, is_causal=is_causal)
    found = gradients_of(graph, y.buffer, ("q", "k", "v"), r.buffer)
    graph.outputs = {"y": y.buffer.name, **{name: grad.name for name, grad in found.items()}}
    return running(graph, {name: normal(n, t, heads, d) for name in "qkvr"})


def training(n: int, heads: int, t: int, d: int) -> Action:
    x = Input((t, heads * d))
    model = Model(x, layers.MultiHeadAttention(heads, d)(x, x))
    model.compile("sgd", "mse")
    images, targets = normal(n, t, heads * d), normal(n, t, heads * d)
    return lambda: model.train_on_batch(images, targets)


def torch_attention(n: int, heads: int, t: int, d: int, is_causal: bool) -> Action:
    import torch

    q, k, v, r = (torch.randn(n, heads, t, d, requires_grad=True) for _ in range(4))

    def run() -> object:
        y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=is_causal)
        return torch.autograd.grad(y, (q, k, v), r)

    return run


def torch_training(n: int, heads: int, t: int, d: int) -> Action:
    import torch

    layer = torch.nn.MultiheadAttention(heads * d, heads, batch_first=True)
    optimizer = torch.optim.SGD(layer.parameters(), 0.01)
    x, targets = torch.randn(n, t, heads * d), torch.randn(n, t, heads * d)

    def run() -> None:
        optimizer.zero_grad()
        y, _ = layer(x, x, x, need_weights=False)
        torch.nn.functional.mse_loss(y, targets).backward()
        optimizer.step()

    return run


def least(actions: dict[str, Action], runs: int) -> dict[str, float]:
    """Seconds of the processor of each, the least of interleaved runs; the first two do not count."""
    seconds = dict.fromkeys(actions, np.inf)
    for turn in range(runs + 2):
        for name, action in actions.items():
            start = time.process_time()
            action()
            if turn > 1:
                seconds[name] = min(seconds[name], time.process_time() - start)
    return seconds


def show(what: str, seconds: dict[str, float], flops: float = 0.0) -> None:
    for name, spent in seconds.items():
        what += f"   {name} " + (f"{flops / spent / 1e9:6.1f} GFLOP/s" if flops else f"{spent * 1e3:8.2f} ms")
    print(what)


def products(runs: int) -> None:
    for lead, m, k, n, turned in PRODUCTS:
        a, b = normal(*lead, m, k), normal(*lead, k, n)
        stored = [np.ascontiguousarray(x.swapaxes(-1, -2)) if t else x for x, t in zip((a, b), turned)]
        seen = [x.swapaxes(-1, -2) if t else x for x, t in zip(stored, turned)]
        seconds = least(
            {"here": product(lead, *stored, turned), "NumPy": lambda seen=seen: np.matmul(*seen)}, runs
        )
        marks = ["'" if t else " " for t in turned]
        show(
            f"{lead!s:8} {m:4} x {k:4}{marks[0]} {k:4} x {n:4}{marks[1]}",
            seconds,
            2.0 * np.prod(lead) * m * k * n,
        )


def rows(has_torch: bool) -> Iterable[tuple[str, dict[str, Action]]]:
    for sizes in HEADS:
        for is_causal in (False, True):
            actions = {"here": attention(*sizes, is_causal)}
            if has_torch:
                actions["PyTorch"] = torch_attention(*sizes, is_causal)
            yield f"attention {sizes!s:16}{' causal' if is_causal else ' ' * 7}", actions
    for sizes in HEADS:
        actions = {"here": training(*sizes)}
        if has_torch:
            actions["PyTorch"] = torch_training(*sizes)
        yield f"step of MultiHeadAttention {sizes!s:16}", actions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    kernelearn.set_num_threads(1)
    has_torch = importlib.util.find_spec("torch") is not None
    if has_torch:
        import torch

        torch.set_num_threads(1)
    else:
        print("PyTorch is not installed: its columns are left out.")
    products(runs)
    for what, actions in rows(has_torch):
        show(what, least(actions, runs))


if __name__ == "__main__":
    main()
