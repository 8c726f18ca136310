"""Train, explain and report with what is installed, in an empty folder: for `make check-dist`."""

import subprocess
import sys
import tempfile
from pathlib import Path

COMMANDS = (
    "train digits --epochs 3 --record --record-ledger 20 --run run --quiet",
    "explain ledger run",
    "explain update run",
    "report run",
    "view run --export run/page.html",
    "evaluate run digits",
)


def main() -> int:
    """Exit status: 0 if every command did its work."""
    program = str(Path(sys.executable).with_name("kernelearn"))
    with tempfile.TemporaryDirectory() as folder:
        where = [sys.executable, "-c", "import kernelearn; print(kernelearn.__file__)"]
        home = subprocess.run(where, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
        if not Path(home).is_relative_to(sys.prefix):
            print(f"Expected the installed package under {sys.prefix}, got {home}.", file=sys.stderr)
            return 1
        for command in COMMANDS:
            print("$ kernelearn", command, flush=True)
            subprocess.run([program, *command.split()], cwd=folder, check=True)
        made = {path.name for path in (Path(folder) / "run").iterdir()}
    missing = {"model.kernelearn", "kernels.png", "report.html", "page.html"} - made
    print(f"Missing: {sorted(missing)}" if missing else "The wheel alone trains, explains and reports.")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
