"""Real processes of which one is told something else: all learn what differs, and no sums are mixed."""

import ast
import re
from pathlib import Path

from tests.parallel.mpi import needs_mpi, run

pytestmark = needs_mpi
PROGRAM = Path(__file__).with_name("otherwise.py")

# What the last process is told -> what all say that differs.
SAID = {
    "rows": "the batch (12 of (4, 4, 1) and 7 of (4, 4, 1)); the values of the batch",
    "images": "the values of the batch",
    "labels": "the values of the batch",
    "weights of images": "the values of the batch",
    "momentum": "the optimizer or its arguments",
    "network": "the network",
    "shards": "the number of shards",
    "transport": "the number of shards of a batch, or their transport",
    "engine": "the engine (reference and cpu)",
    "rate": "the learning rate (0.1 and 0.5)",
    "frozen": "the network (its layers, their arguments or what is frozen)",
    "set": "the weights or what the optimizer keeps",
    "crossed": "which of the models it is",
    "own images": "the values of the batch",
    "own rate": "the learning rate, the seed or the number of the step",
    "stop": "terminate_on_nan (True and False)",
    "callbacks": "the callbacks (History and EarlyStopping, History)",
    "schedule": "the learning rate (0.1 and 0.2)",
    "set in fit": "the weights or what the optimizer keeps",
    "rate in fit": "the learning rate (0.1 and 0.5)",
    "frozen in fit": "the network",
}


def test_what_one_process_alone_is_told_is_refused_by_all():
    code, out, err = run(3, PROGRAM)
    assert code == 0, err
    told = re.findall(r"^met ([a-z ]+) (\[.*)$", out, re.MULTILINE)
    met = {name: ast.literal_eval(said) for name, said in told}
    for name, differs in SAID.items():
        wanted = f"ArgumentError: Process 2 trains something else than process 0; what differs: {differs}"
        assert all(said.startswith(wanted) for said in met.pop(name)), name
    for said in met.pop("set at end"):
        assert "Process 2 has other weights than process 0 at the end" in said
    assert set(met) == {"seed", "prints", "names", "set by all", "set before", "written"}
    assert {text for said in met.values() for text in said} == {"nothing"}
