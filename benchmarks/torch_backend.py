"""Whole training steps of PyTorch networks, side by side: eager, inductor, and this library's backend.

Each mode runs in a process of its own (two pools of OpenMP threads in one disturb each other), bursts of a
quarter of a second in turn; told are medians, and medians of the ratios to the best mode of PyTorch, round by
round. A step is `zero_grad`, forward pass, cross-entropy, `backward` and `step` of SGD with momentum; with
--predict it is a forward pass in `eval()` without gradients. Run with
    python benchmarks/torch_backend.py resnet20 --batch 64 --seconds 60 [--predict] [--markdown]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F
from torch_networks import NETWORKS

from kernelearn.torch import arrange, compile_graph, optimize


@dataclass(frozen=True)
class Mode:
    """How a network is run.

    Attributes:
        backend: of `torch.compile`; None: eager.
        is_step: the update inside of the step.
    """

    backend: object = None
    channels_last: bool = False
    arranged: bool = False
    is_step: bool = False

    @property
    def is_ours(self) -> bool:
        return self.backend is compile_graph


MODES = {
    "eager": Mode(),
    "eager, channels_last": Mode(channels_last=True),
    "inductor": Mode("inductor"),
    "inductor, channels_last": Mode("inductor", channels_last=True),
    "kernelearn": Mode(compile_graph),
    "kernelearn, channels_last": Mode(compile_graph, channels_last=True),
    "kernelearn, arranged": Mode(compile_graph, channels_last=True, arranged=True),
    "kernelearn, whole step": Mode(compile_graph, channels_last=True, arranged=True, is_step=True),
}


def stepper(mode: Mode, name: str, batch: int, predict: bool) -> Callable[[], torch.Tensor]:
    """A step, as a function."""
    torch.manual_seed(0)
    make, size = NETWORKS[name]
    model, x, y = make(), torch.randn(batch, *size), torch.randint(0, 10, (batch,))
    if mode.channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if mode.arranged:
        arrange(model)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    if mode.is_step and not predict:
        whole = optimize(model, optimizer)
        return lambda: whole(x, y)
    called = model if mode.backend is None else torch.compile(model, backend=mode.backend)

    def prediction() -> torch.Tensor:
        with torch.no_grad():
            return called(x).sum()

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(called(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if predict:
        model.eval()
    return prediction if predict else step


def work(arguments: argparse.Namespace) -> None:
    """One mode: first steps, then bursts as they are asked for; seconds of a step, a line each."""
    start = time.perf_counter()
    step = stepper(MODES[arguments.mode], arguments.network, arguments.batch, arguments.predict)
    for _ in range(4):
        step()
    print(time.perf_counter() - start, flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line) + 2):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(float(np.median(times[2:])), flush=True)


def measure(
    arguments: argparse.Namespace, names: list[str]
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of a step in each round, and of the first four steps, for every mode."""
    workers, firsts, times = {}, {}, {name: [] for name in names}
    for name in names:
        command = [
            sys.executable,
            __file__,
            arguments.network,
            "--batch",
            str(arguments.batch),
            "--mode",
            name,
        ]
        command += ["--predict"] * arguments.predict
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        workers[name] = subprocess.Popen(command, text=True, **pipes)
        firsts[name] = float(workers[name].stdout.readline())
    end = time.perf_counter() + arguments.seconds
    while time.perf_counter() < end:
        for name, worker in workers.items():
            last = times[name][-1] if times[name] else 0.05
            print(max(2, int(0.25 / last)), file=worker.stdin, flush=True)
            times[name].append(float(worker.stdout.readline()))
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()
    return times, firsts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--predict", action="store_true")
    parser.add_argument("--markdown", action="store_true", help="rows of a table")
    parser.add_argument("--mode", choices=MODES, help="this one alone, driven through standard input")
    arguments = parser.parse_args()
    if arguments.mode:
        work(arguments)
        return
    names = [name for name, mode in MODES.items() if not (arguments.predict and mode.is_step)]
    times, firsts = measure(arguments, names)
    theirs = [name for name in names if not MODES[name].is_ours]
    best = min(theirs, key=lambda name: np.median(times[name]))
    row = (
        "| {:26} | {:8.2f} | {:5.2f} | {:5.1f} |"
        if arguments.markdown
        else "{:26} {:8.2f} ms  x{:5.2f}  first {:5.1f} s"
    )
    print(
        f"{arguments.network}, batch {arguments.batch}, {torch.get_num_threads()} threads; ratios to {best}"
    )
    for name in names:
        ratio = np.median(np.array(times[best]) / times[name])
        print(row.format(name, np.median(times[name]) * 1e3, ratio, firsts[name]))


if __name__ == "__main__":
    main()
