"""Runs the server: finds a port, says where the page is, opens it, and ends at once when asked to."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kernelearn._optional import require
from kernelearn.errors import ArgumentError
from kernelearn.view.page.frontend import Frontend
from kernelearn.view.page.library import Library
from kernelearn.view.page.security import Gate
from kernelearn.view.page.server import Site, application
from kernelearn.view.page.watching import Watcher

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class PageServer:
    """A server that is ready to run: its port is taken, its address known.

    Args:
        library: the runs.
        host, port: where to listen; port 0 takes a free one.
        can_control: whether trainings may be steered from the page.
        frontend: a folder with a page of the user's own.
        token: of the address; a random one by default.
    Attributes:
        url: to open, with the token.
    Raises: ArgumentError if the port cannot be taken; MissingDependencyError.
    """

    def __init__(
        self,
        library: Library,
        host: str = "127.0.0.1",
        port: int = 0,
        can_control: bool = False,
        frontend: Path | None = None,
        token: str | None = None,
    ) -> None:
        require("starlette", "the page")
        self._uvicorn = require("uvicorn", "the page")
        front = Frontend(frontend)
        self._socket = _listening(host, port)
        self.host, self.port = host, int(self._socket.getsockname()[1])
        self.gate = Gate(host, self.port, **({} if token is None else {"token": token}))
        library.can_control = can_control
        self.site = Site(library, self.gate, front, Watcher(), can_control)
        self._server: Any = None

    @property
    def url(self) -> str:
        """The address to open."""
        name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(self.host, self.host)
        shown = f"[{name}]" if ":" in name else name
        return f"http://{shown}:{self.port}/?token={self.gate.token}"

    def run(self, started: Callable[[], None] | None = None) -> None:
        """Serve until `stop` or Ctrl-C; both end it at once, whoever is connected.

        Args:
            started: called when the server answers.
        """
        config = self._uvicorn.Config(
            application(self.site),
            log_level="error",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=1,
            ws="none",
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server = _prompt(self._uvicorn)(config, started)
        with suppress(KeyboardInterrupt):
            self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """End it from another thread."""
        if self._server is not None:
            self._server.should_exit = self._server.force_exit = True
        else:
            self._socket.close()

    def start(self) -> threading.Thread:
        """Serve in a thread; returns when the server answers."""
        ready = threading.Event()
        thread = threading.Thread(target=self.run, args=(ready.set,), name="kernelearn page", daemon=True)
        thread.start()
        if not ready.wait(20):
            raise ArgumentError("The server did not start within 20 seconds.")
        return thread


def _prompt(uvicorn: Any) -> Any:
    """A server that does not wait for its readers when it is told to end."""

    class Prompt(uvicorn.Server):  # type: ignore[misc]
        def __init__(self, config: Any, started: Callable[[], None] | None) -> None:
            super().__init__(config)
            self._tell = started

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self._tell is not None and self.started:
                self._tell()

        def handle_exit(self, sig: int, frame: Any) -> None:
            self.force_exit = True
            super().handle_exit(sig, frame)

    return Prompt


def _listening(host: str, port: int) -> socket.socket:
    """A socket that has its port.

    Raises: ArgumentError if it cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(found[0], found[1], found[2])
    except (OSError, OverflowError) as error:
        raise ArgumentError(f"The page cannot be served on {host!r}, port {port}: {error}.") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(found[4])
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise ArgumentError(
                f"{host!r} is no address of this machine: give one of its own, or leave --host out."
            ) from error
        raise ArgumentError(
            f"Port {port} of {host!r} cannot be taken: {error.strerror}. Leave --port out to get a free one."
        ) from error
    return listening


def serve(
    runs: Any,
    host: str = "127.0.0.1",
    port: int = 0,
    browser: bool = True,
    control: bool = False,
    frontend: Any = None,
    lessons: Any = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the microscope over recorded runs, until Ctrl-C.

    Args:
        runs: folder of a recorded run or a training, or several.
        host, port: where to listen; port 0 takes a free one. Another host than 127.0.0.1 lets others in
            who have the token.
        browser: open the page.
        control: let the page steer trainings that were started with control.
        frontend: a folder with a page of your own, over the data of docs/page-api.md.
        lessons: a folder with Markdown files of your own.
        say: is told the address.
    Raises: ArgumentError for no such run or a port that is taken; MissingDependencyError.
    """
    paths = [runs] if isinstance(runs, str | Path) else list(runs)
    library = Library(_existing(paths), lessons=lessons)
    server = PageServer(library, host, port, control, None if frontend is None else Path(frontend))
    if host not in LOCAL_HOSTS:
        say(
            "Warning: the page is served to the network. Everybody who has this address can see the runs"
            + (" and steer the training." if control else ".")
        )

    def open_page() -> None:
        say(f"Microscope: {server.url}")
        say("Ctrl-C ends it.")
        if browser:
            threading.Thread(target=webbrowser.open, args=(server.url,), daemon=True).start()

    server.run(open_page)


def _existing(paths: Sequence[Any]) -> list[Any]:
    return [getattr(path, "folder", path) for path in paths]
