"""`python -m kernelearn ...`: the command line, also where its script is not on the path."""

from kernelearn.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
