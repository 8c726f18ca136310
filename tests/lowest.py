"""The oldest versions that pyproject.toml allows, as requirements: `python tests/lowest.py data plot`.

`make test-lowest` installs them. What an extra names from itself (`kernelearn[data]`) is left out.
"""

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def lowest(extras: list[str], text: str) -> list[str]:
    """Requirements of the core and of some extras, each at its lower bound.

    >>> lowest(["a"], '[project]\\ndependencies = ["x>=1.2"]\\noptional-dependencies = {a = ["y>=3; os"]}')
    ['x==1.2', 'y==3']
    """
    project = tomllib.loads(text)["project"]
    wanted = [*project["dependencies"], *(one for e in extras for one in project["optional-dependencies"][e])]
    bare = [one.partition(";")[0].strip() for one in wanted if not one.startswith("kernelearn[")]
    return [one.replace(">=", "==") for one in bare if ">=" in one]


if __name__ == "__main__":
    print(*lowest(sys.argv[1:], PROJECT.read_text(encoding="utf-8")))
