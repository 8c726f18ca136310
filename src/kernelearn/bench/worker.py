"""The child process of a benchmark: one framework, asked over a pipe to prepare, to run a burst, to end.

    python -m kernelearn.bench.worker FRAMEWORK THREADS

Messages are lines of JSON: {"do": "prepare", "id": "a", "task": {...}} gives {"ok": ...}, and what goes wrong
gives {"error": "..."}. What frameworks print goes to stderr. The clock runs here, so the pipe is not timed.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from kernelearn.bench.machine import peak_memory
from kernelearn.bench.runners import Runner, load_runner


class Session:
    """What a worker has prepared, and the answers to messages.

    Args:
        runner: the framework.
        clock: seconds; tests give another.
    """

    def __init__(self, runner: Runner, clock: Callable[[], float] = time.perf_counter) -> None:
        self._runner, self._clock = runner, clock
        self._prepared: dict[str, Any] = {}

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """{"ok": result} or {"error": why}."""
        actions: dict[str, Callable[[dict[str, Any]], Any]] = {
            "hello": lambda m: {"versions": self._runner.versions(), "memory": peak_memory()},
            "prepare": self._prepare,
            "run": self._run,
            "drop": self._drop,
            "memory": lambda m: peak_memory(),
        }
        try:
            return {"ok": actions[message["do"]](message)}
        except Exception as error:  # whatever a framework raises is told, and the session goes on
            return {"error": f"{type(error).__name__}: {str(error).strip()[:600]}"}

    def _prepare(self, message: dict[str, Any]) -> dict[str, Any]:
        start = self._clock()
        made = self._runner.prepare(message["task"])
        self._prepared[message["id"]] = made
        made.ready(1)
        first = made.run(1)
        return {"first": first, "seconds": self._clock() - start, "note": made.note}

    def _run(self, message: dict[str, Any]) -> float:
        made, count = self._prepared[message["id"]], message["count"]
        made.ready(count)
        start = self._clock()
        made.run(count)
        return self._clock() - start

    def _drop(self, message: dict[str, Any]) -> None:
        self._prepared.pop(message["id"], None)
        gc.collect()


def serve(session: Session, lines: TextIO, out: TextIO) -> None:
    """Answer until there are no more messages."""
    for line in lines:
        out.write(json.dumps(session.answer(json.loads(line))) + "\n")
        out.flush()


def keep_to_cpus(threads: int) -> None:
    """Let this process run on so many CPUs only: some frameworks take as many threads as they see CPUs."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(allowed[:threads]))


def main() -> int:
    """Serve the parent; its pipe is kept for messages, and everything printed goes to stderr."""
    framework, threads = sys.argv[1], int(sys.argv[2])
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    keep_to_cpus(threads)
    try:
        runner = load_runner(framework, threads)
    except Exception as error:  # a package that is missing or broken: the parent says so
        out.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
        return 1
    serve(Session(runner), sys.stdin, out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
