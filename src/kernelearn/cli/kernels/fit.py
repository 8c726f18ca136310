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


@dataclass(frozen=True)
class Choice:
    """What the user chose, as far as it makes an estimator."""

    method: Method
    kernels: str | None
    criterion: str
    signed: bool
    C: float
    alpha: float
    tol: float
    is_classification: bool


def make_estimator(choice: Choice) -> Any:
    """The unfitted estimator.

    Raises: ArgumentError where a method cannot do regression.
    """
    machines = require("kernelearn.kernel_machines", "kernelearn kernels")
    from kernelearn.kernel_machines.kernels.specification import parse_kernels

    kernels = None if choice.kernels is None else parse_kernels(choice.kernels)
    if not choice.is_classification:
        makers = {
            Method.CONVEX: lambda: machines.ConvexKernelLearner(
                kernels, loss="ridge", alpha=choice.alpha, tol=choice.tol
            ),
            Method.HULL: lambda: machines.ConvexHullKernelRegressor(alpha=choice.alpha, tol=choice.tol),
            Method.HYPERKERNEL: lambda: machines.HyperkernelRegressor(tol=choice.tol),
        }
        if choice.method not in makers:
            raise ArgumentError(
                f"--method {choice.method} needs labels, and the target has real values. "
                "Use --method convex, convex-hull or hyperkernel, or --task classification."
            )
        return makers[choice.method]()
    makers = {
        Method.MULTIPLE: lambda: machines.MultipleKernelClassifier(kernels, C=choice.C, tol=choice.tol),
        Method.SEMIDEFINITE: lambda: machines.SemidefiniteKernelClassifier(
            kernels,
            criterion=choice.criterion,
            weights="signed" if choice.signed else "nonnegative",
            C=choice.C,
            tol=choice.tol,
        ),
        Method.CONVEX: lambda: machines.ConvexKernelLearner(
            kernels, loss="logistic", alpha=choice.alpha, tol=choice.tol
        ),
        Method.HULL: lambda: machines.ConvexHullKernelClassifier(alpha=choice.alpha, tol=choice.tol),
        Method.HYPERKERNEL: lambda: machines.HyperkernelClassifier(C=choice.C, tol=choice.tol),
    }
    return makers[choice.method]()


def make_baselines(choice: Choice, seed: int) -> dict[str, Any]:
    """What the learnt kernel must beat: the average of the kernels, the best one, or the fixed kernel."""
    machines = require("kernelearn.kernel_machines", "kernelearn kernels")
    from kernelearn.kernel_machines.kernels.specification import parse_kernels

    if choice.method is Method.HYPERKERNEL:
        kind = machines.HyperkernelClassifier if choice.is_classification else machines.HyperkernelRegressor
        return {"fixed kernel": kind(weights="fixed")}
    if not choice.is_classification:
        return {"single Gaussian": machines.ConvexKernelLearner("rbf", loss="ridge", alpha=choice.alpha)}
    kernels = None if choice.kernels is None else parse_kernels(choice.kernels)
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
    c: Annotated[float, typer.Option("--C", help="Soft margin constant.")] = 1.0,
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
        split = _load(data, target, delimiter, drop_missing, task, test_size, standardize, seed)
        choice = Choice(method, kernels, criterion, signed, c, alpha, tol, split.is_classification)
        model = make_estimator(choice)
        transduction = {"X_test": split.x_test} if signed and method is Method.SEMIDEFINITE else {}
        model.fit(split.x_train, split.y_train, **transduction)
        scores = {"learnt kernel": model.score(split.x_test, split.y_test)}
        for name, baseline in make_baselines(choice, seed).items():
            scores[name] = baseline.fit(split.x_train, split.y_train).score(split.x_test, split.y_test)
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
    is_classification: bool
    description: str


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
    return _Split(x_train, x_test, y_train, y_test, is_classification, description)


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
    title = "Accuracy on the test rows" if split.is_classification else "R² on the test rows"
    say_table(("model", "score"), [(name, f"{score:.4f}") for name, score in scores.items()], title)


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
