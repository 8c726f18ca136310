"""What `compile` was told, from and into Keras's configs: optimiser, losses, metrics, weights of losses."""

from __future__ import annotations

from typing import Any

from kernelearn import losses, metrics
from kernelearn.conversion.keras.reader import Reader
from kernelearn.models import Model


def compiled(reader: Reader, model: Model, config: dict[str, Any]) -> bool:
    """Compile a model as a config of Keras says; False if it says nothing.

    Raises: FormatError, UnknownNameError for an optimiser, loss or metric that has no counterpart.
    """
    optimizer = config.get("optimizer", config.get("optimizer_config"))
    if optimizer is None and config.get("loss") is None:
        return False
    with reader.at("compile (load with compile=False to leave it out)"):
        model.compile(
            _optimizer(reader, optimizer),
            _map(config.get("loss"), lambda given: _loss(reader, given)),
            reader.plain(config.get("loss_weights")),
            _map(_of_one(model, config.get("metrics")), lambda given: _metric(reader, given)),
            _map(_of_one(model, config.get("weighted_metrics")), lambda given: _metric(reader, given)),
        )
    return True


def _of_one(model: Model, given: Any) -> Any:
    """Keras 2 writes a list of metrics for each output, of a single one too."""
    is_nested = isinstance(given, list) and len(given) == 1 and isinstance(given[0], list)
    return given[0] if is_nested and len(model.outputs) == 1 else given


def _optimizer(reader: Reader, given: Any) -> Any:
    """The optimiser; the one inside of a LossScaleOptimizer, since nothing has to be scaled here."""
    if isinstance(given, dict) and given.get("class_name") == "LossScaleOptimizer":
        inner = (given.get("config") or {}).get("inner_optimizer")
        return _optimizer(reader, inner)
    if given is None:
        return "rmsprop"
    return reader.object("optimizer", given)


def _loss(reader: Reader, given: Any) -> Any:
    found = reader.object("loss", given)
    return losses.get(found) if isinstance(found, str) else found


def _metric(reader: Reader, given: Any) -> Any:
    """A metric; the one that a wrapper of Keras 2 names by its function."""
    if isinstance(given, dict) and given.get("class_name") in _WRAPPERS:
        config = given.get("config") or {}
        function = config.get("fn")
        name = function.get("config") if isinstance(function, dict) else function
        made = metrics.get(str(name))
        made.name = str(config.get("name") or made.name)
        return made
    found = reader.object("metric", given)
    if not isinstance(found, str) or found in _BY_TARGETS:
        return found
    metrics.get(found)
    return found


_WRAPPERS = ("MeanMetricWrapper", "SumOverBatchSizeMetricWrapper")
_BY_TARGETS = ("accuracy", "acc", "crossentropy", "ce")


def _map(value: Any, function: Any) -> Any:
    """Apply a function to the leaves of nested lists and dicts (a config dict is a leaf)."""
    if value is None:
        return None
    if isinstance(value, list | tuple):
        return [_map(part, function) for part in value]
    if isinstance(value, dict) and "class_name" not in value:
        return {str(key): _map(part, function) for key, part in value.items()}
    return function(value)


# --- writing


def compile_config(model: Model, config_of: Any) -> dict[str, Any]:
    """What `compile` was told, as Keras writes it.

    Args:
        config_of: (family, object) -> config; raises ArgumentError for what Keras does not have.
    """
    told = model.programs.arguments
    optimizer = model.programs.compiled_optimizer()
    assert told is not None
    return {
        "optimizer": config_of("optimizer", optimizer),
        "loss": _map(told.loss, lambda value: _written("loss", value, config_of)),
        "loss_weights": told.loss_weights,
        "metrics": _map(told.metrics, lambda value: _written("metric", value, config_of)),
        "weighted_metrics": _map(told.weighted_metrics, lambda value: _written("metric", value, config_of)),
        "run_eagerly": False,
        "steps_per_execution": 1,
        "jit_compile": "auto",
    }


def _written(family: str, value: Any, config_of: Any) -> Any:
    """A loss or metric: its name where it is one, else its config."""
    if isinstance(value, str) and value in _BY_TARGETS:
        return value
    found = (losses if family == "loss" else metrics).get(value)
    return config_of(family, found)
