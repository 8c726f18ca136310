"""`kernelearn kernels fit DATA.csv`: learn a kernel from a table and show it beside the plain baselines."""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from kernelearn._optional import require
from kernelearn.errors import ArgumentError, KernelearnError


class Method(StrEnum):
    """The estimators that the command knows."""

    MULTIPLE = "multiple"
    SEMIDEFINITE = "semidefinite"
    CONVEX = "convex"
    HULL = "convex-hull"
    HYPERKERNEL = "hyperkernel"
    NOVELTY = "novelty"
    HYPER_NOVELTY = "hyperkernel-novelty"


class Task(StrEnum):
    """What the target asks for."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    NOVELTY = "novelty detection"


_DETECTORS = (Method.NOVELTY, Method.HYPER_NOVELTY)
_SCORES = {
    Task.CLASSIFICATION: "Accuracy on the test rows",
    Task.REGRESSION: "R² on the test rows",
    Task.NOVELTY: "Area under the ROC curve on the test rows",
}


@dataclass(frozen=True)
class Choice:
    """What the user chose, as far as it makes an estimator."""

    method: Method
    kernels: str | None
    criterion: str
    signed: bool
    loss: str | None
    hyperkernel: str
    formulation: str
    C: float
    alpha: float
    nu: float
    tol: float
    task: Task


def make_estimator(choice: Choice) -> Any:
    """The unfitted estimator.

    Raises: ArgumentError where a method cannot do the task.
    """
    makers = {
        Task.CLASSIFICATION: _classifier,
        Task.REGRESSION: _regressor,
        Task.NOVELTY: _detector,
    }
    return makers[choice.task](choice)


def _parsed(choice: Choice) -> Any:
    from kernelearn.kernel_machines.kernels.specification import parse_kernels

    return None if choice.kernels is None else parse_kernels(choice.kernels)


def _machines() -> Any:
    return require("kernelearn.kernel_machines", "kernelearn kernels")


def _classifier(choice: Choice) -> Any:
    machines, kernels, tol = _machines(), _parsed(choice), choice.tol
    makers = {
        Method.MULTIPLE: lambda: machines.MultipleKernelClassifier(kernels, C=choice.C, tol=tol),
        Method.SEMIDEFINITE: lambda: machines.SemidefiniteKernelClassifier(
            kernels,
            criterion=choice.criterion,
            weights="signed" if choice.signed else "nonnegative",
            C=choice.C,
            tol=tol,
        ),
        Method.CONVEX: lambda: machines.ConvexKernelLearner(
            kernels, loss=choice.loss or "logistic", alpha=choice.alpha, tol=tol
        ),
        Method.HULL: lambda: machines.ConvexHullKernelClassifier(
            loss=choice.loss or "hinge", alpha=choice.alpha, tol=tol
        ),
        Method.HYPERKERNEL: lambda: machines.HyperkernelClassifier(
            choice.hyperkernel, formulation=choice.formulation, C=choice.C, nu=choice.nu, tol=tol
        ),
    }
    return makers[choice.method]()


def _regressor(choice: Choice) -> Any:
    machines, tol = _machines(), choice.tol
    makers = {
        Method.CONVEX: lambda: machines.ConvexKernelLearner(
            _parsed(choice), loss=choice.loss or "ridge", alpha=choice.alpha, tol=tol
        ),
        Method.HULL: lambda: machines.ConvexHullKernelRegressor(
            loss=choice.loss or "square", alpha=choice.alpha, tol=tol
        ),
        Method.HYPERKERNEL: lambda: machines.HyperkernelRegressor(choice.hyperkernel, nu=choice.nu, tol=tol),
    }
    if choice.method not in makers:
        raise ArgumentError(
            f"--method {choice.method} needs labels, and the target has real values. "
            "Use --method convex, convex-hull or hyperkernel, or --task classification."
        )
    return makers[choice.method]()


def _detector(choice: Choice) -> Any:
    machines = _machines()
    if choice.method is Method.NOVELTY:
        return machines.MultipleKernelOneClass(_parsed(choice), nu=choice.nu, tol=choice.tol)
    return machines.HyperkernelOneClass(choice.hyperkernel, nu=choice.nu, tol=choice.tol)


def make_baselines(choice: Choice, seed: int) -> dict[str, Any]:
    """What the learnt kernel must beat: the average of the kernels, the best one, or the fixed kernel."""
    machines, kernels = _machines(), _parsed(choice)
    if choice.method in (Method.HYPERKERNEL, Method.HYPER_NOVELTY):
        return {"fixed kernel": make_estimator(choice).set_params(weights="fixed")}
    if choice.method is Method.NOVELTY:
        return {"uniform average": make_estimator(choice).set_params(weights="uniform")}
    if choice.task is Task.REGRESSION:
        return {"single Gaussian": machines.ConvexKernelLearner("rbf", loss="ridge", alpha=choice.alpha)}
    make = machines.MultipleKernelClassifier
    return {
        "uniform average": make(kernels, weights="uniform", C=choice.C),
        "best single kernel": make(kernels, weights="best", C=choice.C, random_state=seed),
    }


def fit(
    data: Annotated[Path, typer.Argument(help="CSV file: one row per point.", show_default=False)],
    target: Annotated[
        str | None, typer.Option(help="Target column, by name or number. [default: the last]")
    ] = None,
    method: Annotated[Method, typer.Option(help="How the kernel is learnt.")] = Method.MULTIPLE,
    kernels: Annotated[
        str | None, typer.Option(help="For example 'rbf:0.1,1,10 rbf-scaled:1 poly:2,3 laplacian linear'.")
    ] = None,
    criterion: Annotated[str, typer.Option(help="Of semidefinite: hard, soft1, soft2, alignment.")] = "soft1",
    signed: Annotated[
        bool, typer.Option("--signed", help="Of semidefinite: allow negative weights.")
    ] = False,
    loss: Annotated[
        str | None,
        typer.Option(
            help="Of convex: ridge, absolute, epsilon_insensitive, interpolation, svm, logistic, fisher; of "
            "convex-hull: square, absolute, epsilon_insensitive, interpolation, hinge, logistic. "
            "[default: by the task]"
        ),
    ] = None,
    hyperkernel: Annotated[
        str, typer.Option(help="Of hyperkernel methods: ard, gaussian, harmonic, power.")
    ] = "ard",
    formulation: Annotated[str, typer.Option(help="Of hyperkernel: c, nu, lagrangian, alignment.")] = "c",
    c: Annotated[float, typer.Option("--C", help="Soft margin constant.")] = 1.0,
    nu: Annotated[float, typer.Option(help="Of novelty and nu machines: the share outside.")] = 0.3,
    alpha: Annotated[float, typer.Option(help="Regularisation of convex and convex-hull.")] = 1.0,
    task: Annotated[str, typer.Option(help="auto, classification or regression.")] = "auto",
    test_size: Annotated[float, typer.Option(help="Share of the rows kept for testing.")] = 0.25,
    standardize: Annotated[bool, typer.Option(help="Scale every feature to unit variance.")] = True,
    delimiter: Annotated[str | None, typer.Option(help="Of the file. [default: found out]")] = None,
    drop_missing: Annotated[bool, typer.Option("--drop-missing", help="Leave incomplete rows out.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Save a figure of the weights here (.png, .svg, .pdf).")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Save weights and scores here as JSON.")] = None,
    tol: Annotated[float, typer.Option(help="Relative duality gap at which to stop.")] = 1e-3,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
) -> None:
    """Learn a kernel from a CSV table and show its weights and test score beside the plain baselines."""
    from kernelearn.cli.output import say_error

    try:
        require("sklearn", "kernelearn kernels")
        is_detector = method in _DETECTORS
        if is_detector and task == "auto":
            task = "classification"
        split = _load(data, target, delimiter, drop_missing, task, test_size, standardize, seed)
        split = _normal_rows(split) if is_detector else split
        options = (loss, hyperkernel, formulation, c, alpha, nu, tol, split.task)
        choice = Choice(method, kernels, criterion, signed, *options)
        model = make_estimator(choice)
        transduction = {"X_test": split.x_test} if signed and method is Method.SEMIDEFINITE else {}
        model.fit(split.x_train, split.y_train, **transduction)
        scores = {"learnt kernel": _score(model, split)}
        for name, baseline in make_baselines(choice, seed).items():
            scores[name] = _score(baseline.fit(split.x_train, split.y_train), split)
    except (KernelearnError, ValueError) as error:
        say_error(error)
        raise typer.Exit(1) from error
    _show(model, split, scores)
    _save(model, scores, plot, output)


@dataclass(frozen=True)
class _Split:
    x_train: Any
    x_test: Any
    y_train: Any
    y_test: Any
    task: Task
    description: str


def _normal_rows(split: _Split) -> _Split:
    """The rows of the most frequent label to learn from; of the test rows, which are of it (1) or not (0)."""
    import numpy as np

    labels, counts = np.unique(split.y_train, return_counts=True)
    normal = labels.tolist()[int(np.argmax(counts))]
    if len(labels) < 2:
        raise ArgumentError(
            f"All rows have the label {normal!r}: without others there is nothing to score the detector on."
        )
    description = f"{split.description}; {normal!r} is normal"
    kept = split.y_train == normal
    is_normal = (split.y_test == normal).astype(int)
    return _Split(split.x_train[kept], split.x_test, None, is_normal, Task.NOVELTY, description)


def _score(model: Any, split: _Split) -> float:
    """Accuracy, R², or the area under the ROC curve of a detector."""
    if split.task is not Task.NOVELTY:
        return float(model.score(split.x_test, split.y_test))
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(split.y_test, model.score_samples(split.x_test)))


def _load(
    data: Path,
    target: str | None,
    delimiter: str | None,
    drop_missing: bool,
    task: str,
    test_size: float,
    standardize: bool,
    seed: int,
) -> _Split:
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    from kernelearn.kernel_machines.csv_data import read_table

    if task not in ("auto", "classification", "regression"):
        raise ArgumentError(f"--task must be auto, classification or regression, got {task!r}.")
    if not 0.0 < test_size < 1.0:
        raise ArgumentError(f"--test-size must be between 0 and 1, got {test_size}.")
    table = read_table(data, target, delimiter, drop_missing)
    is_classification = table.is_classification if task == "auto" else task == "classification"
    stratify = table.target if is_classification else None
    x_train, x_test, y_train, y_test = train_test_split(
        table.features, table.target, test_size=test_size, random_state=seed, stratify=stratify
    )
    if standardize:
        scaler = StandardScaler().fit(x_train)
        x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)
    kind = "classification" if is_classification else "regression"
    dropped = f", {table.dropped} incomplete rows left out" if table.dropped else ""
    description = (
        f"{data.name}: {len(table.target)} rows, {len(table.names)} features, {kind} of "
        f"{table.target_name!r}, {len(y_test)} rows for testing{dropped}"
    )
    return _Split(x_train, x_test, y_train, y_test, Task(kind), description)


def _show(model: Any, split: _Split, scores: dict[str, float]) -> None:
    from kernelearn.cli.output import say, say_prose, say_table
    from kernelearn.kernel_machines.plots import weights_of

    say_prose(split.description)
    names, weights = weights_of(model)
    largest = max(abs(weights).max(), 1e-300)
    rows = [
        (name, f"{weight:.4f}", ("-" if weight < 0 else "") + "█" * round(30 * abs(weight) / largest))
        for name, weight in zip(names, weights[0])
    ]
    title = f"{type(model).__name__}: kernel weights (duality gap {model.gap_:.1e})"
    say_table(("kernel", "weight", ""), rows, title)
    if hasattr(model, "effective_pivots_"):
        say(f"Pivots with more than 1e-4 of the weight: {model.effective_pivots_}")
    say()
    results = [(name, f"{score:.4f}") for name, score in scores.items()]
    say_table(("model", "score"), results, _SCORES[split.task])


def _save(model: Any, scores: dict[str, float], plot: Path | None, output: Path | None) -> None:
    from kernelearn.cli.output import say, write_text
    from kernelearn.kernel_machines.plots import plot_weights, weights_of

    if plot is not None:
        plot_weights(model, plot)
        say(f"Figure: {plot}")
    if output is not None:
        names, weights = weights_of(model, limit=10**9)
        content = {
            "estimator": type(model).__name__,
            "weights": dict(zip(names, weights[0].tolist())),
            "gap": float(model.gap_),
            "objective": float(model.objective_),
            "scores": {name: float(score) for name, score in scores.items()},
        }
        write_text(output, json.dumps(content, indent=2) + "\n", "Weights and scores")
