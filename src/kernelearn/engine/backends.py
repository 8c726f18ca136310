"""The engines by name, and the choice between them: the only place that knows which exist.

An engine turns a `Program` and its variables into an `Executable`. A faster engine registers here; layers and
training never see the difference.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np

from kernelearn import config
from kernelearn.engine.arrays import Reached, Use
from kernelearn.engine.executor import ReferenceExecutable
from kernelearn.engine.program import Program
from kernelearn.engine.variable import Variable
from kernelearn.errors import unknown_name


class Executable(Protocol):
    """A program on an engine.

    Attributes:
        engine: the engine's name.
        program: what it runs.
        variables: name of a parameter or state -> Variable.
    """

    @property
    def engine(self) -> str: ...

    @property
    def program(self) -> Program: ...

    @property
    def variables(self) -> Mapping[str, Variable]: ...

    def run(self, inputs: Mapping[str, np.ndarray], is_checked: bool = False) -> dict[str, np.ndarray]:
        """Label -> array for every output; `is_checked`: the inputs are known to be as the program says."""
        ...

    def announce(self, groups: Sequence[Collection[str]]) -> None:
        """Let `visit` say when groups of outputs are there, by their labels, in the order of the groups."""
        ...

    def visit(self, inputs: Mapping[str, np.ndarray], use: Use, reached: Reached | None = None) -> None:
        """Run, and let `use` have the outputs, which lie where they were computed until it returns: nothing
        is copied. It must not write them, nor run this program. The inputs are known to be as it says.

        Args:
            reached: called with the number of a group that was announced and the outputs, of which those of
                this group are there and will not change, while others are still to be computed.
        """
        ...


Prepare = Callable[[Program, Mapping[str, Variable]], Executable]


def _cpu(program: Program, variables: Mapping[str, Variable]) -> Executable:
    """Compiled for this processor; a program without floats goes to the reference engine, and says so."""
    if not computes_floats(program):
        return ReferenceExecutable(program, variables)
    from kernelearn.engine.cpu.executable import CpuExecutable

    return CpuExecutable(program, variables)


# In order of preference: the first one is the default.
ENGINES: dict[str, Prepare] = {"cpu": _cpu, "reference": ReferenceExecutable}


def writes_inputs(engine: str) -> bool:
    """Whether programs on an engine may write into arrays that they are given (`add_share`)."""
    return engine == "cpu"


def resolve_engine(name: str | None = None) -> str:
    """The engine's name: the one asked for, else the process's default, else the first of `ENGINES`."""
    chosen = name or config.engine() or next(iter(ENGINES))
    if chosen not in ENGINES:
        raise unknown_name("engine", chosen, ENGINES)
    return chosen


def prepare(program: Program, variables: Mapping[str, Variable], engine: str | None = None) -> Executable:
    """Make a program ready to run on an engine."""
    return ENGINES[resolve_engine(engine)](program, variables)


def computes_floats(program: Program) -> bool:
    """Whether anything that the program computes is a float: what compiled kernels are for."""
    written = (program.buffers[name] for op in program.operations for name in op.outputs)
    return any(buffer.dtype in ("float32", "float64") for buffer in written)
