"""The style sheet of the report: the colours of `view.families`, then the rules of `assets/report.css`."""

from __future__ import annotations

from importlib.resources import files

from kernelearn.view.families import css_tokens


def style() -> str:
    """Everything between <style> and </style>."""
    return f"{_tokens()}\n{asset('report.css')}"


def _tokens() -> str:
    light, dark = css_tokens(is_dark=False), css_tokens(is_dark=True)
    return f":root{{{light}}}\n@media (prefers-color-scheme: dark){{:root{{{dark}}}}}"


def asset(name: str) -> str:
    """A file that goes into the page as it is."""
    return (files("kernelearn.view.report") / "assets" / name).read_text("utf-8")
