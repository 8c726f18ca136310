"""How a running loop is shown: a live line on a terminal, plain lines elsewhere, nothing when asked.

A display gets `start`, `update` and `finish` for each pass over data (an epoch, an evaluation, a prediction)
and shows what the `ShownPass` says.
"""

import os
import shutil
import sys
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from kernelearn.errors import ArgumentError

VERBOSE = ("auto", 0, 1, 2)
REDRAW_SECONDS = 0.1
LINE_SECONDS = 30.0
_BAR_WIDTH = 20


@dataclass
class ShownPass:
    """One pass over data, as far as it is known.

    Attributes:
        title: "Epoch 3/12", "Evaluate", "Predict".
        steps: number of batches, None if unknown.
        batch_size: images in a batch, None if unknown.
        done: batches finished; `first` of them before this pass began (a resumed epoch).
        values: name -> value to show, in order.
        started, trained, now: seconds of the clock at the start, after the last batch, and now.
    """

    title: str
    steps: int | None
    batch_size: int | None
    started: float
    first: int = 0
    done: int = 0
    trained: float = 0.0
    now: float = 0.0
    values: dict[str, float] = field(default_factory=dict)

    def seconds(self) -> float:
        """Time since the pass began."""
        return max(self.now - self.started, 0.0)

    def rate(self) -> float | None:
        """Images a second, or batches a second if their size is unknown; None before the first."""
        count, seconds = self.done - self.first, self.trained - self.started
        if count <= 0 or seconds <= 0:
            return None
        return count * (self.batch_size or 1) / seconds

    def remaining(self) -> float | None:
        """Expected seconds to the end; None if unknown."""
        count = self.done - self.first
        if self.steps is None or count <= 0:
            return None
        return (self.trained - self.started) / count * max(self.steps - self.done, 0)

    def counts(self) -> str:
        """For example " 17/120"."""
        if self.steps is None:
            return str(self.done)
        return f"{self.done:>{len(str(self.steps))}}/{self.steps}"

    def speed(self) -> str:
        """For example "1,840 images/s"; empty before the first batch."""
        rate = self.rate()
        if rate is None:
            return ""
        number = f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"
        return f"{number} {'images' if self.batch_size else 'batches'}/s"

    def text(self) -> str:
        """For example "loss: 0.3012 - accuracy: 0.9100"."""
        return " - ".join(f"{name}: {_value(name, value)}" for name, value in self.values.items())

    def short_text(self) -> str:
        """For example "loss 0.3012 acc 0.9100"."""
        values = self.values.items()
        return " ".join(f"{_short_name(name)} {_value(name, value)}" for name, value in values)

    def line(
        self, timing: str, width: int | None = None, gap: str = " - ", head_gap: str | None = None
    ) -> str:
        """All of it in one row, with as much of the rest as the row has room for.

        Args:
            width: columns of the row; None for as many as it takes. Speed goes first, then the counts, long
                names, and the time; values stay.
            gap, head_gap: between the parts, and between title and counts.
        """
        text, short = self.text(), self.short_text()
        head = (gap if head_gap is None else head_gap).join((self.title, self.counts().strip()))
        choices = (
            (head, timing, self.speed(), text),
            (head, timing, text),
            (self.title, timing, text),
            (self.title, timing, short),
            (self.title, short),
        )
        lines = [gap.join(part for part in parts if part) for parts in choices]
        return next((line for line in lines if width is None or len(line) <= width), lines[-1])


class Display(Protocol):
    """Where a pass is shown."""

    def start(self, shown: ShownPass) -> None: ...
    def update(self, shown: ShownPass) -> None: ...
    def finish(self, shown: ShownPass) -> None: ...
    def close(self) -> None: ...


class Silent:
    """Shows nothing."""

    def start(self, shown: ShownPass) -> None:
        pass

    def update(self, shown: ShownPass) -> None:
        pass

    def finish(self, shown: ShownPass) -> None:
        pass

    def close(self) -> None:
        pass


class PlainLines:
    """One line a pass, for files and pipes; in a long pass also a line every half minute.

    Args:
        stream: where to; None means what `sys.stdout` is when a line is written.
        line_seconds: seconds between the lines of a long pass; None for none.
    """

    def __init__(self, stream: TextIO | None = None, line_seconds: float | None = LINE_SECONDS) -> None:
        self._stream = stream
        self._line_seconds = line_seconds
        self._last = 0.0

    def start(self, shown: ShownPass) -> None:
        self._last = shown.started

    def update(self, shown: ShownPass) -> None:
        if self._line_seconds is None or shown.now - self._last < self._line_seconds:
            return
        self._last = shown.now
        remaining = shown.remaining()
        left = "" if remaining is None else f"{duration(remaining)} left"
        self._print(shown, left)

    def finish(self, shown: ShownPass) -> None:
        self._print(shown, duration(shown.seconds()))

    def close(self) -> None:
        pass

    def _print(self, shown: ShownPass, timing: str) -> None:
        width = window_width() if self._stream is None else None
        print(shown.line(timing, width), file=self._stream or sys.stdout, flush=True)


class LiveLine:
    """A line on a terminal that is redrawn in place, by rich; each finished pass leaves its line behind.

    Args:
        console: a `rich.console.Console`; by default one on stdout.
        redraw_seconds: shortest time between two drawings.
    """

    def __init__(self, console: Any = None, redraw_seconds: float = REDRAW_SECONDS) -> None:
        self._console = console
        self._redraw_seconds = redraw_seconds
        self._live: Any = None
        self._last = 0.0

    def start(self, shown: ShownPass) -> None:
        if self._live is None:
            self._live = self._new_live()
            self._live.start()
        self._draw(shown)

    def update(self, shown: ShownPass) -> None:
        if shown.now - self._last >= self._redraw_seconds:
            self._draw(shown)

    def finish(self, shown: ShownPass) -> None:
        if self._live is None:
            return
        self._live.update("", refresh=True)
        console = self._live.console
        console.print(self._finished_line(shown, console.width), highlight=False, markup=False)

    def close(self) -> None:
        """Give the cursor and the streams back to the terminal."""
        if self._live is not None:
            self._live.update("", refresh=True)
            self._live.stop()
            self._live = None

    def _new_live(self) -> Any:
        from rich.console import Console
        from rich.live import Live

        # Without a refreshing thread: drawing happens here, between two batches, and costs nothing else.
        return Live(console=self._console or Console(), auto_refresh=False, transient=True)

    def _draw(self, shown: ShownPass) -> None:
        self._last = shown.now
        remaining = shown.remaining()
        left = "" if remaining is None else duration(remaining)
        self._live.update(self._line(shown, left), refresh=True)

    def _finished_line(self, shown: ShownPass, width: int) -> Any:
        from rich.text import Text

        line = Text(shown.line(duration(shown.seconds()), width, gap="  ", head_gap=" "))
        line.stylize("bold", 0, len(shown.title))
        return line

    def _line(self, shown: ShownPass, timing: str) -> Any:
        from rich.text import Text

        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(shown.title, "bold")
        if shown.steps:
            filled = round(_BAR_WIDTH * min(shown.done / shown.steps, 1.0))
            line.append(" ").append("━" * filled, "green").append("━" * (_BAR_WIDTH - filled), "bright_black")
        line.append(f" {shown.counts()}")
        for part, style in ((timing, "cyan"), (shown.speed(), "magenta"), (shown.text(), "")):
            if part:
                line.append("  ").append(part, style)
        return line


def make_display(verbose: int | str = "auto", stream: TextIO | None = None) -> Display:
    """The display that fits a `verbose` argument and the place where output goes.

    Args:
        verbose: 0 shows nothing, 1 and "auto" a live line on a terminal and plain lines elsewhere, 2 one
            plain line a pass.
        stream: by default `sys.stdout`.
    Raises: ArgumentError.
    """
    if verbose not in VERBOSE:
        raise ArgumentError(f'verbose must be "auto", 0, 1 or 2, got {verbose!r}.')
    if not verbose:
        return Silent()
    if verbose == 2:
        return PlainLines(stream, line_seconds=None)
    return LiveLine() if stream is None and is_terminal(sys.stdout) else PlainLines(stream)


def is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal that can redraw a line."""
    try:
        return bool(stream.isatty()) and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


def window_width() -> int | None:
    """Columns of the window that somebody reads in; None for files and pipes, unless COLUMNS is set."""
    return shutil.get_terminal_size((0, 0)).columns or None


def _short_name(name: str) -> str:
    return "lr" if name == "learning_rate" else name.replace("accuracy", "acc")


def _value(name: str, value: Any) -> str:
    """As `number` has it; small learning rates with the digits that count, such as 1e-05."""
    is_small_rate = name == "learning_rate" and float(value) <= 1e-3
    return f"{float(value):.3g}" if is_small_rate else number(value)


def number(value: Any) -> str:
    """A value of the logs in a few characters.

    >>> number(0.123456), number(1.5e-5), number(float("nan"))
    ('0.1235', '1.5000e-05', 'nan')
    """
    try:
        value = float(value)
    except (TypeError, ValueError):
        return "..."
    return f"{value:.4f}" if abs(value) > 1e-3 or value == 0 else f"{value:.4e}"


def duration(seconds: float) -> str:
    """A time span for people.

    >>> duration(0.21), duration(75), duration(4000)
    ('0.2s', '1:15', '1:06:40')
    """
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
