"""Make golden_programs.json: the losses of ten steps of every program, by Keras on JAX in float64.

Run from the root of the repository, in an environment with keras and jax:

    python -m tests.parity.make_golden_programs
"""

from tests.parity.keras64 import keras  # isort: skip  (sets JAX to 64 bits, so it comes before it)
import json
from pathlib import Path

from tests.parity.programs import every_program, losses
from tests.parity.programs.steps import LOOPS

PATH = Path(__file__).with_name("golden_programs.json")


def main() -> None:
    found = {name: losses(one, keras) for name, one in every_program().items()}
    found |= {name: loop.theirs(keras) for name, loop in LOOPS.items()}
    PATH.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found)} programs")


if __name__ == "__main__":
    main()
