"""One child of `tests.fuzz`: damages one kind in one way, within limits, and writes lines of JSON.

Arguments: kind, damage, first and last number. A file that takes too long ends the child by SIGALRM.
"""

import json
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.kinds import make_kinds
from tests.fuzz.outcomes import outcome_of

MEMORY = 3 << 29  # bytes beyond what the process has when it begins: a picture may have 100 million pixels
SECONDS = 20  # for one file


def main(name, title, first, last):
    """Write {"next": number, "found": [[outcome, text], ...]} after every stretch of files."""
    with tempfile.TemporaryDirectory() as place:
        kind = next(kind for kind in make_kinds(Path(place)) if kind.name == name)
        expected = kind.read()
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
        found, told = [], time.monotonic()
        for number in range(int(first), int(last)):
            signal.alarm(SECONDS)
            outcome, text = outcome_of(kind, title, number, expected)
            found.append((outcome, f"number {number}: {text}"))
            if time.monotonic() - told > 0.3 or number == int(last) - 1:
                print(json.dumps({"next": number + 1, "found": found}), flush=True)
                found, told = [], time.monotonic()
        signal.alarm(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
