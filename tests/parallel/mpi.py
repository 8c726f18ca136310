"""Real processes: scripts and commands under mpiexec, where there is one."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
MPIEXEC = which("mpiexec", path=PATH)

try:
    import mpi4py
except ImportError:
    mpi4py = None

needs_mpi = pytest.mark.skipif(
    mpi4py is None or MPIEXEC is None, reason="needs mpi4py and mpiexec: pip install mpi4py mpich"
)


def environment(**options):
    """One thread a process, and this checkout."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PMI_", "MPI_"))}
    return {
        **kept,
        "PYTHONPATH": str(SOURCE),
        "KERNELEARN_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        # What waits for a message gives its processor to others: tests start more processes than there are.
        "MPIR_CVAR_POLLS_BEFORE_YIELD": "1",
        **options,
    }


def start(size, *words, **options):
    """Python with these words in `size` processes."""
    return subprocess.Popen(
        [MPIEXEC, "-n", str(size), sys.executable, *map(str, words)],
        env=environment(**options),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(size, *words, seconds=120, **options):
    """(exit code, stdout, stderr) of Python with these words in `size` processes."""
    process = start(size, *words, **options)
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    return process.returncode, out, err
