"""The page's end of live control: what a training says of itself, and commands to it."""

from __future__ import annotations

import json
from typing import Any

from kernelearn.errors import FormatError
from kernelearn.formats.foreign import refused
from kernelearn.recording.control import check, send, state_of, why_not
from kernelearn.recording.interventions import check_index
from kernelearn.view.page.asking import Ask, Refused
from kernelearn.view.page.library import PageRun

_KINDS = ("state", "step", "stop_at", "learning_rate", "has_own_rate", "frozen", "refused")


def state(page_run: PageRun, ask: Ask) -> dict[str, Any]:
    """What a training under control is doing."""
    run = page_run.open()
    why = why_not(run.folder)
    found = state_of(run.folder)
    return {"available": not why, "why": why, **{name: found.get(name) for name in _KINDS}}


def command(page_run: PageRun, body: bytes) -> dict[str, Any]:
    """Send a command to the training of a run.

    Raises: ArgumentError for a command that is none, or asks for what the run does not have; Refused where
        nobody listens.
    """
    with refused("the command", FormatError, 'Send an object such as {"do": "pause"}.'):
        given = json.loads(body)
    checked = check(given)
    with page_run.lock:
        run = page_run.open()
        why = why_not(run.folder)
        if why:
            raise Refused(why, 409, "not trained")
        _check_place(run, checked)
        return {"accepted": True, "id": send(run.folder, checked)}


def _check_place(run: Any, checked: dict[str, Any]) -> None:
    """Refuse now what the training would refuse: a weight that is not there."""
    if checked["do"] not in ("edit", "reset"):
        return
    layer = checked["layer"]
    names = run.about.weights_of(layer)
    weight = checked.get("weight", "kernel")
    if weight not in names:
        weight = run.weight_name(layer, weight)
    shape = run.about.weights[f"{layer}/{weight}"]
    if checked["do"] == "edit":
        check_index(tuple(checked["index"]), shape, f"{layer}/{weight}")
    else:
        check_index((*[None] * (len(shape) - 1), checked["filter"]), shape, f"{layer}/{weight}")
