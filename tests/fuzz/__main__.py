"""`python -m tests.fuzz --mutations 1000000`: damage files of every kind, and print what became of them.

Each kind runs in child processes (`child`) with a limit on memory and on the time of one file.
"""

import argparse
import collections
import json
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.kinds import make_kinds
from tests.fuzz.outcomes import OUTCOMES, faults

_SHOWN = 3
_SKIPPED = 50  # files behind one that ended its child: which of the last it was is not known


def main() -> int:
    """Run, print the table; 1 if there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--mutations", type=int, default=100_000, help="of all kinds together")
    parser.add_argument("--first", type=int, default=0, help="number of the first: others give other damage")
    parser.add_argument("--only", default="", help="kinds whose name begins so")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        names = [(k.name, title, faults(k, title)) for k in make_kinds(Path(place)) for title in k.damage]
    names = [pair for pair in names if pair[0].startswith(arguments.only)]
    each = -(-arguments.mutations // len(names))
    found_faults, total = [], 0
    print(f"{'kind':<18}{'damage':<9}{'files':>8}" + "".join(f"{name:>11}" for name in OUTCOMES), flush=True)
    for name, title, bad in names:
        counts, shown = _run(name, title, bad, arguments.first, arguments.first + each)
        total += sum(counts.values())
        print(
            f"{name:<18}{title:<9}{sum(counts.values()):>8}" + "".join(f"{counts[o]:>11}" for o in OUTCOMES)
        )
        for line in shown:
            print(f"    {line}")
        sys.stdout.flush()
        found_faults += [f"{name}, {title}: {counts[o]} {o}" for o in bad if counts[o]]
    print(f"{total:,} damaged files; " + ("; ".join(found_faults) or "no fault"))
    return 1 if found_faults else 0


def _run(name, title, bad, first, last):
    """Counts of outcomes, and the first files of each fault in words."""
    counts, shown = collections.Counter(), []
    while first < last:
        command = [sys.executable, "-m", "tests.fuzz.child", name, title, str(first), str(last)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            before = first
            for line in child.stdout:
                message = json.loads(line)
                first = message["next"]
                for outcome, text in message["found"]:
                    counts[outcome] += 1
                    if outcome in bad and sum(line.startswith(outcome) for line in shown) < _SHOWN:
                        shown.append(f"{outcome}: {text}")
        if child.returncode:
            if first == before == 0:
                raise SystemExit(f"{name}, {title}: the child ended with {child.returncode} at once.")
            counts["hang" if child.returncode == -signal.SIGALRM else "exception"] += 1
            shown.append(f"a child ended with {child.returncode} behind number {first}")
            first += _SKIPPED
    return counts, shown


if __name__ == "__main__":
    sys.exit(main())
