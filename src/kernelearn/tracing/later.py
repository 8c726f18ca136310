"""What traced code wants done with its values behind a run: metrics that are updated inside of a step.

`tracker.update_state(loss)` in a step is noted here, and done with the numbers when the step has run;
`tracker.result()` in the same step stands for what it is then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from kernelearn.tracing.graph import current
from kernelearn.tracing.value import Traced


class Later:
    """The result of a metric that is updated by the step under construction."""

    def __init__(self, metric: Any, result: Callable[[], Any]) -> None:
        self.metric = metric
        self.result = result


def updated_later(method: Callable[..., Any]) -> Callable[..., Any]:
    """`update_state` of a metric, that waits for the numbers where it is given traced values."""

    @functools.wraps(method)
    def update(self: Any, *args: Any, **keywords: Any) -> Any:
        graph = current()
        leaves, rebuild = _leaves((args, keywords))
        if graph is None or not any(isinstance(leaf, Traced) for leaf in leaves):
            return method(self, *args, **keywords)
        graph.afterwards.append((self, method.__name__, leaves, rebuild))
        return None

    return update


def read_later(method: Callable[..., Any]) -> Callable[..., Any]:
    """`result` of a metric, that stands for what comes where the step under construction updates it."""

    @functools.wraps(method)
    def result(self: Any) -> Any:
        graph = current()
        if graph is not None and any(entry[0] is self for entry in graph.afterwards):
            return Later(self, functools.partial(method, self))
        return method(self)

    return result


def _leaves(given: tuple[tuple[Any, ...], dict[str, Any]]) -> tuple[list[Any], Any]:
    """The arguments of a call in order, and the form that puts them together."""
    args, keywords = given
    form = (
        "tuple",
        (),
        (("tuple", (), (None,) * len(args)), ("dict", tuple(keywords), (None,) * len(keywords))),
    )
    return [*args, *keywords.values()], form
