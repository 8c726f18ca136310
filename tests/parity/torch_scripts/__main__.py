"""The table of the ten trainings: `python -m tests.parity.torch_scripts [names] [--steps 50] [--rounds 2]`.

Watched: how far the losses are from those without (0: the same bits), the largest residual of a ledger.
On our engine: how far the losses have gone from eager's after all steps, beside how far eager goes by itself
from weights that differ in their last bit; and how many of our steps fit into one of eager's (medians of
steps, runs taking turns).
"""

import argparse
import statistics
import tempfile
import warnings
from pathlib import Path

import torch

from kernelearn.recording import Run
from tests.parity.torch_scripts import NAMES, modes


def row(name: str, steps: int, rounds: int) -> str:
    """One line of the table."""
    plain = modes.eager().losses(name, steps)
    usual = modes.usual_distance(name, steps, plain)[-1]
    with tempfile.TemporaryDirectory() as folder:
        watched = modes.watched(Path(folder) / "run")
        seen = watched.losses(name, steps)
        watched.stop()
        residual = max(modes.residuals(Run(Path(folder) / "run")).values())
    times: dict[str, list[float]] = {"eager": [], "ours": []}
    for _ in range(rounds):
        for kind, make in (("eager", modes.eager), ("ours", modes.compiled)):
            mode = make()
            losses = mode.losses(name, steps)
            times[kind].append(mode.step_time())
    eager, ours = (statistics.median(times[kind]) for kind in ("eager", "ours"))
    apart = modes.apart(plain, losses)[-1]
    cells = (
        name,
        f"{modes.apart(plain, seen)[-1]:.0e}",
        f"{residual:.1e}",
        f"{apart:.1e}",
        f"{usual:.1e}",
        f"{1e3 * eager:.1f}",
        f"{1e3 * ours:.1f}",
        f"{eager / ours:.2f}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    heads = ("watched: losses", "residual", "ours: losses", "last bit", "eager ms", "ours ms", "ratio")
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| training | " + " | ".join(heads) + " |")
    print("|---" * (len(heads) + 1) + "|")
    for name in given.names:
        try:
            print(row(name, given.steps, given.rounds), flush=True)
        except ModuleNotFoundError as error:
            print(f"| {name} | {error} |")


if __name__ == "__main__":
    main()
