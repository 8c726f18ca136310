"""Runs the notebooks of this folder and stores what they show: `python examples/_notebooks.py [NAME ...]`.

Stored without times, paths and the version of Python, so that a run that shows the same changes nothing.
"""

from __future__ import annotations

import sys
import tempfile
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).resolve().parent
SECONDS = 120


def executed(path: Path, folder: Path) -> Any:
    """The notebook with what its cells give, run in a folder of its own.

    Raises: nbclient's CellExecutionError with the cell that failed.
    """
    book = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(book, timeout=SECONDS, kernel_name="python3", resources=resources).execute()
    return tidy(book)


def tidy(book: Any) -> Any:
    """Without what differs from machine to machine."""
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(book.cells):
        cell.metadata = {}
        cell.id = f"cell-{number}"
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
            for output in cell.outputs:
                if "image/png" in output.get("data", {}):
                    output.data["image/png"] = _small(output.data["image/png"])
    return book


def _joined(outputs: Any) -> list[Any]:
    """Text that came in pieces as one."""
    found: list[Any] = []
    for output in outputs:
        if output.output_type == "stream" and found and found[-1].get("name") == output.name:
            found[-1].text += output.text
        else:
            found.append(output)
    return found


def _small(picture: str) -> str:
    """A picture with few colours, as a figure has, in a third of the bytes."""
    found = Image.open(BytesIO(b64decode(picture))).convert("RGB")
    file = BytesIO()
    found.quantize(96, dither=Image.Dither.NONE).save(file, format="png", optimize=True)
    return b64encode(file.getvalue()).decode()


def main() -> None:
    """Run those that are named, or all."""
    paths = [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb"))
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            nbformat.write(executed(path, Path(folder)), path)
        print(path.name, f"{path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
