"""The parent's side of the worker processes: start one per framework, ask it, end it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from kernelearn.errors import KernelearnError

# Seconds to wait for an answer: compiling a large network in another framework can take minutes.
PATIENCE = 900.0
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "KERNELEARN_NUM_THREADS",
)


class WorkerError(KernelearnError):
    """A worker could not do what it was asked."""


def environment(framework: str, threads: int) -> dict[str, str]:
    """The variables that hold a framework to so many threads of the CPU and keep it quiet."""
    result = {**os.environ, **{name: str(threads) for name in _THREADS}}
    result.update(
        CUDA_VISIBLE_DEVICES="",
        JAX_PLATFORMS="cpu",
        TF_CPP_MIN_LOG_LEVEL="3",
        TF_NUM_INTEROP_THREADS="1",
        PYTHONUNBUFFERED="1",
    )
    if framework.startswith("keras-"):
        result["KERAS_BACKEND"] = framework.partition("-")[2]
    if threads == 1:
        result["XLA_FLAGS"] = f"{result.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    return result


class Worker:
    """One framework in a process of its own.

    Args:
        framework: name in `runners.FRAMEWORKS`.
        threads: that it may use.
        python: interpreter that has the framework; this one by default.
    """

    def __init__(self, framework: str, threads: int, python: str | None = None) -> None:
        self.framework = framework
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            [python or sys.executable, "-m", "kernelearn.bench.worker", framework, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(framework, threads),
            cwd=Path.cwd(),
            text=True,
            encoding="utf-8",
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, patience: float = PATIENCE, **message: Any) -> Any:
        """Send a message and wait for its answer.

        Raises: WorkerError with the worker's reason, or if it ends or does not answer in time.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # if it has ended, its last words are in the queue
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        try:
            line = self._answers.get(timeout=patience)
        except queue.Empty:
            self.close()
            raise WorkerError(f"{self.framework} gave no answer within {patience:.0f} s.") from None
        if not line:
            raise WorkerError(f"The process of {self.framework} ended. {self._last_words()}".strip())
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["ok"]

    def _last_words(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 600))
        return " ".join(self._log.read().decode(errors="replace").split())

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(5)
        if self._process.stdout is not None and not self._listener.is_alive():
            self._process.stdout.close()
        self._log.close()
