"""`Microscope`: the callback that records a training and shows it in a page while it runs.

The page is served by a process of its own, which reads the run folder: a server within the training would
take its time, and hold it up whenever both want Python at once.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from kernelearn._optional import require
from kernelearn.errors import ArgumentError
from kernelearn.recording.control import LiveControl
from kernelearn.recording.recorder import Recorder
from kernelearn.storage import PathLike, absolute
from kernelearn.training.callbacks.base import Logs

_STARTING = 30.0


class Microscope(Recorder):
    """Records a training, as `recording.Recorder` does, and serves a page over it.

    The page follows the training and stays as long as this process, a notebook's for example; later,
    `kernelearn view RUN` shows the same.

    Args:
        run_dir: folder of the run alone; None for a new one, "runs/live-1" and so on.
        host, port: where the page is served; port 0 takes a free one.
        browser: open the page.
        control: let the page steer the training: pause, steps, learning rate, freezing, editing weights.
            Every intervention is an event of the run, see `Run.interventions`.
        start_paused: wait for the page before the first step; needs `control`.
        serve: False records, and listens if `control` says so, without a page of its own.
        say: is told the address of the page; None prints it.
        recorder: further arguments of `Recorder`, such as ledger_every=50.
    Attributes:
        url: of the page, with its token, once training has begun; None before.
    Raises: ArgumentError; MissingDependencyError without starlette and uvicorn.

    >>> microscope = Microscope("runs/digits", browser=False)
    >>> microscope.folder.name, microscope.url is None
    ('digits', True)
    """

    state_names: ClassVar[tuple[str, ...]] = ("run",)

    def __init__(
        self,
        run_dir: PathLike | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        browser: bool = True,
        control: bool = False,
        start_paused: bool = False,
        serve: bool = True,
        say: Callable[[str], None] | None = None,
        **recorder: Any,
    ) -> None:
        super().__init__(_next_folder() if run_dir is None else run_dir, **recorder)
        if start_paused and not control:
            raise ArgumentError(
                "Microscope: start_paused=True needs control=True, or nobody could let it go on."
            )
        if serve:
            require("starlette", "the microscope")
            require("uvicorn", "the microscope")
        self.host, self.port, self.browser = host, port, browser
        self.can_control, self.start_paused, self.serves = control, start_paused, serve
        self.url: str | None = None
        self._say = say or print
        self._server: PageProcess | None = None
        self._control: LiveControl | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        super().on_train_begin(logs)
        if self.serves and (self._server is None or not self._server.is_alive):
            self._server = PageProcess(self.folder, self.host, self.port, self.can_control)
            self.url = self._server.url
            self._say(f"Microscope: {self.url}")
            if self.browser:
                threading.Thread(target=webbrowser.open, args=(self.url,), daemon=True).start()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        if self.can_control and self._book is not None:
            if self._control is None:
                self._control = LiveControl(
                    self.folder, self.model, self.note, self.reselect, self.start_paused, self.rate_before
                )
            self._control.before_step(self.last_step)
        super().on_train_batch_begin(batch, logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._end_control()
        super().on_train_end(logs)

    def close(self) -> None:
        """The training has ended, also by an error or Ctrl-C; the page stays."""
        self._end_control()
        super().close()

    def stop(self) -> None:
        """End the page."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _end_control(self) -> None:
        if self._control is not None:
            self._control.end()
            self._control = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_server": None, "_control": None}


class PageProcess:
    """A server in a process of its own, which ends with this one.

    Args:
        folder: of the run; it may not be there yet.
    Attributes:
        url: of the page.
    Raises: ArgumentError if it does not start.
    """

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0, control: bool = False) -> None:
        arguments = [str(absolute(folder)), host, str(port), "control" if control else "watch"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kernelearn.view.page.process", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # NOTE: Ctrl-C is for the training; the server ends when its standard input does.
            start_new_session=True,
        )
        self._end = weakref.finalize(self, _end, self._process)
        self._end.atexit = False  # then its standard input ends, and nobody has to wait
        self.url = self._first_line()

    def _first_line(self) -> str:
        """What the server says when it answers.

        Raises: ArgumentError.
        """
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(self._readline()), daemon=True)
        reader.start()
        reader.join(_STARTING)
        if not said or not said[0].startswith("http"):
            self.stop()
            raise ArgumentError(f"The page could not be served: {said[0] if said else 'it did not start'}.")
        return said[0]

    def _readline(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    @property
    def is_alive(self) -> bool:
        """Whether it still serves."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it, and wait for that; done as well when nobody has it any more."""
        self._end()


def _end(process: subprocess.Popen[str]) -> None:
    """End a server by the end of its standard input, and wait for that."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _next_folder() -> Path:
    """The first of runs/live-1, runs/live-2, ... that is not there."""
    number = 1
    while Path("runs", f"live-{number}").exists():
        number += 1
    return Path("runs", f"live-{number}")
