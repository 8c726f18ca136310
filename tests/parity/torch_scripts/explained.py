"""What works on the runs of the ten trainings, watched: `python -m tests.parity.torch_scripts.explained`.

A line a training: whether its losses are those without a watcher, the largest residual of a ledger by the sum
of its absolute terms, how many times as long a step takes of which everything is recorded, whether the run
holds the model, and what of the commands does not work on it.
"""

import argparse
import io
import tempfile
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import torch

from kernelearn.cli import main as command
from kernelearn.recording import Run
from tests.parity.torch_scripts import NAMES, modes

ON_ANY_RUN = ("ledger", "update", "history", "dense", "field")
WITH_THE_MODEL = ("unit", "delta")
HEADS = ("losses", "residual", "a step with all of it", "the run holds the model", "does not work")


def outcome(words: list[str]) -> str:
    """What a command says that fails; nothing for one that works."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = command(words)
        except Exception as error:  # a fault of ours: told in the table, and the others go on
            return f"{type(error).__name__}: {error}"
    return " ".join(said.getvalue().split()) or "failed" if code else ""


def failures(folder: Path) -> dict[str, str]:
    """Command -> why it does not work on a run, of those that do not."""
    found = {name: outcome(["explain", name, str(folder)]) for name in (*ON_ANY_RUN, *WITH_THE_MODEL)}
    found["report"] = outcome(["report", str(folder)])
    found["page"] = outcome(["view", str(folder), "--export", str(folder / "page.html")])
    return {name: why for name, why in found.items() if why}


def row(name: str, steps: int) -> str:
    """One line of the table."""
    plain = modes.eager()
    losses = plain.losses(name, steps)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        mode = modes.watched(folder, every=1)
        seen = mode.losses(name, steps)
        mode.stop()  # type: ignore[attr-defined]
        run = Run(folder)
        worst = max(modes.residuals(run).values())
        failed = failures(folder)
    cells = (
        name,
        "the same bits" if np.array_equal(losses, seen) else f"{modes.apart(losses, seen)[-1]:.0e}",
        f"{worst:.0e}",
        f"{mode.step_time() / plain.step_time():.1f}",
        "no" if run.about.model is None else "yes",
        "; ".join(f"{one}: {why}" for one, why in failed.items()),
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--steps", type=int, default=50)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| training | " + " | ".join(HEADS) + " |")
    print("|---" * (len(HEADS) + 1) + "|")
    for name in given.names:
        try:
            print(row(name, given.steps), flush=True)
        except ModuleNotFoundError as error:
            print(f"| {name} | {error} |")


if __name__ == "__main__":
    main()
