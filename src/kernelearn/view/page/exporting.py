"""The page as one file: its modules as data: URLs, and the answers of the addresses that it may ask.

The answers are those of the server, thinned to some steps and ledgers; the file says which.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.choices import kernel_layers, some_steps
from kernelearn.recording.run import Run
from kernelearn.storage import PathLike, atomic_write
from kernelearn.view.page.answers import answer
from kernelearn.view.page.blocks import (
    BLOCKS_TYPE,
    Answer,
    Blocks,
    as_ranges,
    blocks_answer,
    json_answer,
    read_blocks,
)
from kernelearn.view.page.frontend import DATA_MARK, HEAD_MARK, modules, page, style
from kernelearn.view.page.library import Library, PageRun

# What the page asks for when it opens a layer; `frame.js` has the same number.
FRAMES = 40
_LEDGERS, _STEPS = 5, 30
_MOST_BYTES = 16_000_000
# Kernels of more numbers have fewer frames.
_LARGE, _FEW_FRAMES = 8192, 12
# Layers of at most so many numbers have the update of each by itself; of others the page cuts whole updates.
_SINGLE = 1024
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
# As JavaScript's encodeURIComponent leaves them, and the three that the page puts back.
_PLAIN = "-_.!~*'(),:/"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file; holds: in words, what of the run is in it.
    """

    path: Path
    holds: str


@dataclass
class Collection:
    """Answers for a file, up to a size.

    Attributes:
        held: address -> [type, base64 of the deflated bytes]; size: characters of them.
    """

    library: Library
    most: int
    held: dict[str, list[str]] = field(default_factory=dict)
    size: int = 0

    def put(self, path: str, found: Answer, **params: Any) -> int:
        """Hold an answer; gives the characters that it takes."""
        kind = "blocks" if found.kind == BLOCKS_TYPE else "json"
        text = packed(found.body)
        self.held[address(path, params)] = [kind, text]
        self.size += len(text)
        return len(text)

    def ask(self, path: str, **params: Any) -> None:
        """Ask for an answer and hold it; what cannot be answered is left out."""
        found = answer(self.library, path, {name: str(value) for name, value in params.items()})
        if found.status == 200:
            self.put(path, _smaller(found) if found.kind == BLOCKS_TYPE else found, **params)

    def all_or_none(self, asked: list[tuple[str, dict[str, Any]]]) -> bool:
        """Hold several answers if all of them have room."""
        before = dict(self.held), self.size
        for path, params in asked:
            self.ask(path, **params)
            if self.size > self.most:
                self.held, self.size = before
                return False
        return True


def packed(body: bytes) -> str:
    """Bytes for a file: raw deflate, then base64.

    >>> zlib.decompress(base64.b64decode(packed(b"aaaaaaaa")), -15)
    b'aaaaaaaa'
    """
    deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
    return base64.b64encode(deflate.compress(body) + deflate.flush()).decode()


def address(path: str, params: Mapping[str, Any]) -> str:
    """An address as the page writes it: parameters in alphabetical order.

    >>> address("runs/demo/weights", {"step": 61, "layer": "conv 1"})
    'runs/demo/weights?layer=conv%201&step=61'
    """
    parts = [f"{name}={quote(str(params[name]), safe=_PLAIN)}" for name in sorted(params)]
    return f"{path}?{'&'.join(parts)}" if parts else path


def _smaller(found: Answer) -> Answer:
    """The same answer with fewer bytes: what was computed from the record is rounded to 16 bits of 24."""
    header, arrays = read_blocks(found.body)
    own = {name: value for name, value in header.items() if name not in ("blocks", "missing")}
    small = {name: _fewer_bytes(name, array) for name, array in arrays.items() if not _is_left_out(name)}
    return blocks_answer(Blocks(small, own, header["missing"]))


# Blocks that follow from the others, and those that the page shows and does not compute with.
_LEFT_OUT = ("residual",)
_LEFT_OUT_PARTS = "scaling:"
_SHOWN = ("z", "norm", "a", "pool")


def _is_left_out(name: str) -> bool:
    return name in _LEFT_OUT or name.startswith(_LEFT_OUT_PARTS)


def _fewer_bytes(name: str, array: np.ndarray) -> np.ndarray:
    if name == "winner" and array.size and array.min() >= 0 and array.max() < 256:
        return array.astype(np.uint8)
    if name in _SHOWN or name.startswith(("part:", "value:")):
        return rounded(array)
    return array.astype(np.float32) if name in ("before", "after") else array


def rounded(array: np.ndarray) -> np.ndarray:
    """float32 numbers with 16 significant bits, which deflate to three quarters.

    >>> float(rounded(np.array([1.0000001]))[0])
    1.0
    """
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x80)) & np.uint32(0xFFFFFF00)).view(np.float32)


@dataclass(frozen=True)
class _Held:
    """Steps of a run that a file holds."""

    steps: list[int]
    ledgers: list[int]


def collect(
    library: Library, steps: int = _STEPS, ledgers: int = _LEDGERS, most: int = _MOST_BYTES
) -> tuple[dict[str, list[str]], str]:
    """(answers, what they hold in words) for a file.

    Args:
        library: the runs; of the first one most is held, of the others their curves and kernels.
        steps, ledgers: at most so many of each run.
        most: characters of all answers; steps and ledgers are left out for it.
    Raises: ArgumentError if not even the beginning has room.
    """
    held = Collection(library, most)
    told = []
    for page_run in library.runs.values():
        found = _collect_run(held, page_run, steps, ledgers)
        told.append(_in_words(page_run.open(), found))
    for name in ("lessons", *(f"lessons/{one}" for one in _lessons(library))):
        held.ask(name)
    keys = list(library.runs)
    if len(keys) > 1:
        held.ask("compare", runs=",".join(keys))
    words = told[0] if len(told) == 1 else "; ".join(f"{k}: {w}" for k, w in zip(keys, told))
    held.put("runs", _overview(library, words))
    return held.held, words


def _lessons(library: Library) -> list[str]:
    found = json.loads(answer(library, "lessons").body)
    return [one["name"] for one in found.get("lessons", [])]


def _overview(library: Library, words: str) -> Answer:
    about = json.loads(answer(library, "runs").body)
    runs = [{**one, "status": _ended(one["status"])} for one in about["runs"]]
    return json_answer({**about, "kind": "export", "holds": words, "control": False, "runs": runs})


def _ended(status: str) -> str:
    """A file follows nothing: a run that is growing is one that stopped there."""
    return "stopped" if status == "recording" else status


def _in_words(run: Run, held: _Held) -> str:
    steps = f"{len(held.steps):,} of {len(run.steps):,} steps"
    return f"{steps}, {len(held.ledgers)} of {len(run.ledger_steps)} ledgers"


def _collect_run(held: Collection, page_run: PageRun, steps: int, ledgers: int) -> _Held:
    """The answers of one run, the most important first."""
    run, path = page_run.open(), f"runs/{page_run.key}"
    about = json.loads(answer(held.library, path).body)
    layers = list(kernel_layers(run))
    opening = about["opening"]
    held.ask(f"{path}/scalars")
    held.ask(f"{path}/events", since=0)
    held.ask(f"{path}/hints")
    for layer in layers:
        _film(held, run, path, layer)
    if held.size > held.most:
        raise ArgumentError(f"The curves and kernels alone take {held.size:,} characters; raise max_bytes.")
    kept = _Held([], [])
    for step in _ledgers_in_order(run, opening, ledgers):
        if not held.all_or_none(list(_at_ledger(run, path, layers, step, opening))):
            break
        kept.ledgers.append(step)
    small = [layer for layer in layers if not _is_large(run, layer)]
    for step in _steps_in_order(run, small, steps, kept.ledgers):
        if not held.all_or_none(list(_at_step(run, path, small, step))):
            break
        kept.steps.append(step)
    done = _Held(sorted({*kept.steps, *kept.ledgers}), sorted(kept.ledgers))
    held.put(path, json_answer(_thinned(about, done, small)))
    return done


def _is_large(run: Run, layer: str) -> bool:
    """Whether a layer is held at ledger steps alone."""
    return int(np.prod(run.shape_of(layer, run.about.kernel_name(layer) or "kernel"))) > _LARGE


def _film(held: Collection, run: Run, path: str, layer: str) -> None:
    """The kernels of a layer over the steps; of a large one fewer of them, under the same address."""
    frames = _FEW_FRAMES if _is_large(run, layer) else FRAMES
    found = answer(held.library, f"{path}/film", {"layer": layer, "count": str(frames)})
    if found.status == 200:
        held.put(f"{path}/film", found, layer=layer, count=FRAMES)


def _ledgers_in_order(run: Run, opening: Mapping[str, Any], count: int) -> list[int]:
    """The ledgers to hold: that of the opening screen, the first, the last, and some between."""
    known = [int(k) for k in run.ledger_steps]
    if not known or count < 1:
        return []
    first = [int(opening["step"])] if opening.get("step") in known else []
    chosen = [*first, known[0], known[-1], *some_steps(known, count).tolist()]
    return list(dict.fromkeys(chosen))[:count]


def _steps_in_order(run: Run, layers: list[str], count: int, ledgers: list[int]) -> list[int]:
    """Steps without a ledger to hold: those at which all kernels are known."""
    known = np.union1d(run.steps, run.model_steps)
    for layer in layers:
        weight = run.about.kernel_name(layer) or "kernel"
        known = np.intersect1d(known, np.union1d(run.weight_steps(layer, weight), run.model_steps))
    chosen = some_steps(known, count).tolist()
    ends = [chosen[0], chosen[-1]] if chosen else []
    return [int(k) for k in dict.fromkeys([*ends, *chosen]) if k not in ledgers]


def _at_ledger(
    run: Run, path: str, layers: list[str], step: int, opening: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the page may ask at a step with a ledger."""
    yield from _at_step(run, path, layers, step)
    rows = len(run.batch(step).images)
    for layer in layers:
        yield f"{path}/batch", {"layer": layer, "step": step}
        yield f"{path}/updates", {"layer": layer, "step": step}
        weight = run.about.kernel_name(layer) or "kernel"
        shape = run.shape_of(layer, weight)
        if int(np.prod(shape)) <= _SINGLE:
            for index in np.ndindex(*shape):
                yield f"{path}/update", {"layer": layer, "step": step, "index": ",".join(map(str, index))}
    for row in range(rows):
        yield f"{path}/network", {"step": step, "row": row}
    if step == opening.get("step") and opening.get("layer"):
        layer, index = str(opening["layer"]), opening["index"]
        channel = index[-2] if len(index) > 2 else 0
        yield f"{path}/dense", {"layer": layer, "step": step, "filter": index[-1], "channel": channel}
        for one in layers:
            yield f"{path}/families", {"layer": one, "step": step}


def _at_step(run: Run, path: str, layers: list[str], step: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the page may ask at any step."""
    for layer in layers:
        yield f"{path}/weights", {"layer": layer, "step": step}
        yield f"{path}/probe", {"layer": layer, "step": step}
    images = run.probe_images
    for place in range(0 if images is None or isinstance(images, list) else len(images)):
        yield f"{path}/network", {"step": step, "probe": place}


def _thinned(about: dict[str, Any], held: _Held, small: list[str]) -> dict[str, Any]:
    """What a run says of itself, with the steps that the file holds; of large layers those of ledgers."""
    own, ledgers = set(held.steps), set(held.ledgers)
    steps = {
        "weights": as_ranges(held.steps),
        "ledgers": as_ranges(held.ledgers),
        "maps": [],
        "models": _only(about["steps"]["models"], own),
    }
    parts = []
    for layer in about["layers"]:
        weights = {
            name: {
                **one,
                "steps": _only(one["steps"], own if layer["name"] in small else ledgers),
                "gradients": _only(one["gradients"], ledgers),
                "ledgers": _only(one["ledgers"], ledgers),
            }
            for name, one in layer["weights"].items()
        }
        parts.append({**layer, "weights": weights, "is_full": False})
    return {**about, "status": _ended(about["status"]), "steps": steps, "layers": parts}


def _only(ranges: list[list[int]], known: set[int]) -> list[list[int]]:
    steps = {k for first, last, stride in ranges for k in range(first, last + 1, stride)}
    return as_ranges(sorted(steps & known))


def file_text(answers: Mapping[str, list[str]]) -> str:
    """The whole file."""
    table = {f"kl/{name}": _data_url(source) for name, source in modules().items()}
    head = "\n".join(
        [
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            f"<style>{style()}</style>",
            f'<script type="importmap">{_in_html(json.dumps({"imports": table}))}</script>',
            '<script type="module">import "kl/main";</script>',
        ]
    )
    data = _in_html(json.dumps(answers, separators=(",", ":")))
    held = f'<script type="application/json" id="kl-answers">{data}</script>'
    return page().replace(HEAD_MARK, head).replace(DATA_MARK, held)


def _data_url(source: str) -> str:
    return "data:text/javascript;base64," + base64.b64encode(source.encode()).decode()


def _in_html(text: str) -> str:
    """JSON that may stand inside a script element."""
    return text.replace("<", "\\u003c")


def export(
    runs: Any,
    path: PathLike,
    steps: int = _STEPS,
    ledgers: int = _LEDGERS,
    max_bytes: int = _MOST_BYTES,
    lessons: Any = None,
) -> Exported:
    """Write the microscope over recorded runs as one HTML file, which needs neither server nor network.

    Args:
        runs: folder of a recorded run or training, a `recording.Run`, or several.
        path: of the file; it ends in .html.
        steps, ledgers: at most so many of each run are held; curves, and kernels at 60 steps, always are.
        max_bytes: size of what is held; steps and ledgers beyond it are left out.
        lessons: a folder with lessons of your own.
    Returns: where it is, and what it holds in words.
    Raises: ArgumentError for no run, another ending, or a run whose beginning alone is larger.
    """
    target = Path(path)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"The page is an HTML file; {str(path)!r} ends otherwise. Name it .html.")
    library = library_of(runs, lessons)
    answers, words = collect(library, steps, ledgers, max_bytes)
    with atomic_write(target) as file:
        file.write(file_text(answers).encode())
    return Exported(target, words)


def library_of(runs: Any, lessons: Any = None) -> Library:
    """The runs given by their folders, or as `Run`s.

    Raises: the error of the first one that is broken: a file cannot be mended later.
    """
    given = [runs] if isinstance(runs, str | Path | Run) else list(runs)
    library = Library([getattr(one, "folder", one) for one in given], lessons=lessons)
    for page_run in library.runs.values():
        page_run.open()
    return library


# The name that it has beside `write_report` in `kernelearn.view`.
export_page = export
