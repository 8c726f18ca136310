"""The page's own files: page.html with style and import map put in, modules; or the user's own front end."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from kernelearn.errors import ArgumentError
from kernelearn.storage import absolute
from kernelearn.view.families import css_tokens
from kernelearn.view.page.asking import Refused

STATIC = Path(__file__).parent / "static"
PAGE, STYLE, WIDGET = "page.html", "page.css", "widget"
HEAD_MARK, DATA_MARK = "<!-- head -->", "<!-- data -->"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".htm": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".map": "application/json",
}
_LARGEST = 64_000_000


@dataclass(frozen=True)
class Asset:
    """A file of the front end; hashes: of the scripts that stand inside a page."""

    body: bytes
    kind: str
    hashes: tuple[str, ...] = ()


def modules() -> dict[str, str]:
    """Name -> source of the page's modules, that of the widget's loader left out."""
    found = sorted(STATIC.glob("*.js"))
    return {path.stem: path.read_text(encoding="utf-8") for path in found if path.stem != WIDGET}


def style() -> str:
    """The page's style: the colours of `view.families`, by the system's or reader's choice, and rules."""
    path = STATIC / STYLE
    rules = path.read_text(encoding="utf-8") if path.is_file() else ""
    light, dark = css_tokens(is_dark=False), css_tokens(is_dark=True)
    by_system = ':root:not([data-theme="light"]), :host(:not([data-theme="light"]))'
    return "\n".join(
        [
            f":root, :host {{{light}}}",
            f"@media (prefers-color-scheme: dark) {{ {by_system} {{{dark}}} }}",
            f':root[data-theme="dark"], :host([data-theme="dark"]) {{{dark}}}',
            rules,
        ]
    )


def page() -> str:
    """The page, with its two marks."""
    path = STATIC / PAGE
    if not path.is_file():
        raise ArgumentError(f"This installation lacks the page {PAGE!r}; install kernelearn again.")
    return path.read_text(encoding="utf-8")


class Frontend:
    """What the server serves besides numbers.

    Args:
        folder: with a front end of the user's own, which has an index.html; None for the microscope.
    Raises: ArgumentError for a folder without one.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = None if folder is None else absolute(folder)
        if self.folder is not None and not (self.folder / "index.html").is_file():
            raise ArgumentError(f"The folder {str(folder)!r} holds no index.html: --frontend wants one.")

    @property
    def is_foreign(self) -> bool:
        """Whether it is the user's own."""
        return self.folder is not None

    def asset(self, path: str) -> Asset:
        """A file by its path below the server's address; "" is the page.

        Raises: Refused with 404.
        """
        if self.folder is not None:
            return self._own_file(self.folder, path or "index.html")
        if path in ("", "index.html"):
            return _served_page()
        name = path.removeprefix("static/")
        names = {one.name for one in STATIC.iterdir() if one.is_file()}
        if not path.startswith("static/") or name not in names:
            raise _nothing(path)
        return Asset(style().encode(), _KINDS[".css"]) if name == STYLE else _file(STATIC / name)

    @staticmethod
    def _own_file(folder: Path, path: str) -> Asset:
        parts = path.split("/")
        if any(
            part in ("", "..", ".") or part.startswith(".") or "\\" in part or "\0" in part for part in parts
        ):
            raise _nothing(path)
        found = absolute(folder.joinpath(*parts))
        if not found.is_relative_to(folder) or not found.is_file() or found.stat().st_size > _LARGEST:
            raise _nothing(path)
        return _file(found)


def version(body: bytes) -> str:
    """What an address of a file of the page says about its content."""
    return hashlib.sha256(body).hexdigest()[:16]


def _nothing(path: str) -> Refused:
    return Refused(f"There is nothing at {path!r}.", 404, "unknown")


def _file(path: Path) -> Asset:
    return Asset(path.read_bytes(), _KINDS.get(path.suffix.lower(), "application/octet-stream"))


def _served_page() -> Asset:
    """The page for the server: style and modules by address, an import map inside.

    An address says what stands there, so that a browser asks for it once.
    """
    found = {name: f"static/{name}.js?v={version(text.encode())}" for name, text in modules().items()}
    table = json.dumps({"imports": {f"kl/{name}": f"./{address}" for name, address in found.items()}})
    head = "\n".join(
        [
            f'<link rel="stylesheet" href="static/{STYLE}?v={version(style().encode())}">',
            f'<script type="importmap">{table}</script>',
            f'<script type="module" src="{found["main"]}"></script>',
        ]
    )
    text = page().replace(HEAD_MARK, head).replace(DATA_MARK, "")
    return Asset(text.encode(), _KINDS[".html"], (script_hash(table),))


def script_hash(text: str) -> str:
    """What a Content-Security-Policy calls a script that stands in a page.

    >>> script_hash("")
    'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
    """
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
