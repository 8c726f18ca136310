"""A helper process that compiles kernels: LLVM's Python binding compiles one at a time per process.

`python -m kernelearn.engine.cpu.machine.worker` reads requests from its input and answers on its output,
until the input ends. A request is a target and the text of a module, an answer the object file, empty if it
could not be compiled.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import struct
import subprocess
import sys
from typing import IO

from kernelearn.engine.cpu.machine.target import Target

LENGTH = struct.Struct("<Q")


def send(stream: IO[bytes], *parts: bytes) -> None:
    """Write parts, each after its length."""
    for part in parts:
        stream.write(LENGTH.pack(len(part)))
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """The next part; None if the stream has ended, in the middle of a part too."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    part = stream.read(size)
    return part if len(part) == size else None


class Worker:
    """The caller's end of a helper process.

    Raises: OSError if the process cannot be started.
    """

    def __init__(self) -> None:
        # NOTE: -P keeps the current folder from shadowing modules; the path is what found this package.
        command = [sys.executable, "-P", "-m", __name__]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )

    def compile(self, text: str, target: Target) -> bytes | None:
        """The object file of a module; None if the process failed or could not compile it."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            send(process.stdin, json.dumps(dataclasses.asdict(target)).encode(), text.encode())
            return receive(process.stdout) or None
        except (OSError, ValueError):  # it has died, or was closed by another thread
            return None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


def can_start() -> bool:
    """Whether `sys.executable` is a Python: in a frozen application it is the application."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


def main() -> None:
    """Answer requests until there are no more."""
    from kernelearn.engine.cpu.machine.compiler import compile_object

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's business, who ends this process
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while (head := receive(source)) is not None and (text := receive(source)) is not None:
        try:
            blob = compile_object(text.decode(), Target(**json.loads(head)))
        except Exception:  # the caller compiles it itself and gets the message
            blob = b""
        send(sink, blob)


if __name__ == "__main__":
    main()
