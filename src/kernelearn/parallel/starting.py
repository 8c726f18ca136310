"""Which command starts several processes: the mpiexec of the MPI that is there."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from kernelearn._optional import require
from kernelearn.errors import MissingDependencyError


def mpiexec(processes: int, purpose: str) -> list[str]:
    """The words before a command that is to run in so many processes.

    The starter is that of the MPI beside this Python, else that on the path.

    Args:
        purpose: what it is needed for, as in `require`.
    Raises: MissingDependencyError without mpi4py or mpiexec.
    """
    require("mpi4py", purpose)
    folder = Path(sys.executable).parent
    found = shutil.which("mpiexec", path=str(folder)) or shutil.which("mpiexec") or shutil.which("mpirun")
    if found is None:
        raise MissingDependencyError(
            f"mpiexec is needed for {purpose}, and is neither beside this Python nor on the path. Install an "
            "MPI: pip install mpich (or pip install 'kernelearn[mpi]')."
        )
    return [found, "-n", str(processes)]
