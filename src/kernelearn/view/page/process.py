"""The server of a training that is being watched, as a process: `python -m kernelearn.view.page.process`.

It says its address on standard output and ends when its standard input ends, so that it never outlives the
process that started it.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

from kernelearn.errors import KernelearnError

# Training goes first where both want a processor.
_NICE = 5


def main(arguments: list[str]) -> int:
    """Serve: folder, host, port, "control" or "watch"."""
    from kernelearn.view.page.library import Library
    from kernelearn.view.page.serving import PageServer

    folder, host, port, how = arguments
    with suppress(OSError, AttributeError):
        os.nice(_NICE)
    try:
        server = PageServer(Library([folder], may_be_missing=True), host, int(port), how == "control")
    except KernelearnError as error:
        print(error, flush=True)
        return 1
    threading.Thread(target=_end_with_input, args=(server,), daemon=True).start()
    server.run(lambda: print(server.url, flush=True))
    return 0


def _end_with_input(server: object) -> None:
    """End the process when whoever started it has ended."""
    with suppress(OSError, ValueError):
        while sys.stdin.buffer.read(4096):
            pass
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
