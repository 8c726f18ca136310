"""`kernelearn doctor`: what this installation has and can do, for a first look when something is odd."""

import os
import platform
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kernelearn.engine.cpu.machine.target import Target

_OPTIONAL = (
    "scikit-learn",
    "pillow",
    "matplotlib",
    "scipy",
    "cvxpy",
    "safetensors",
    "h5py",
    "starlette",
    "uvicorn",
    "tensorboard",
    "datasets",
    "torch",
    "keras",
)
_REQUIRED = ("numpy", "llvmlite", "rich", "typer")


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show versions, processor, engine and optional packages, and train one step to see that it works."""
    from kernelearn.cli.output import say_json

    report: dict[str, Any] = {
        "kernelearn": _version("kernelearn"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "engine": _engine(),
        "compiled engine": _compiled_engine(),
        "required": {name: _version(name) for name in _REQUIRED},
        "optional": {name: _version(name) for name in _OPTIONAL},
        "writable": _writable(),
        "training step": _training_step(),
    }
    if as_json:
        say_json(report)
    else:
        _show(report)
    works = report["training step"] == report["compiled engine"]["compiling"] == "ok"
    if not works or None in report["required"].values():
        raise typer.Exit(1)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> dict[str, Any]:
    import llvmlite.binding as llvm

    features = [name for name, has in llvm.get_host_cpu_features().items() if has]
    wide = [name for name in ("sse4.2", "avx", "avx2", "fma", "avx512f", "neon") if name in features]
    return {
        "name": llvm.get_host_cpu_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "vector instructions": wide,
    }


def _engine() -> dict[str, Any]:
    from kernelearn.engine.backends import ENGINES, resolve_engine

    return {"chosen": resolve_engine(), "known": list(ENGINES)}


def _compiled_engine() -> dict[str, Any]:
    """What the CPU engine compiles for, with how many threads, and where it keeps its kernels."""
    from kernelearn.engine.cpu.machine import cache, target, threads
    from kernelearn.errors import KernelearnError
    from kernelearn.storage import readable_size

    report: dict[str, Any] = {"compiling": _compiling()}
    try:
        chosen = target.current_target()
        report["target"] = f"{chosen.name} ({chosen.cpu})"
        report["vector width"] = f"{chosen.width} float32 numbers ({32 * chosen.width} bits)"
        report["bfloat16 products"] = _bfloat16(chosen)
        report["threads"] = threads.get_num_threads()
        if report["compiling"] == "ok":
            report["peaks"] = _peaks(threads.get_num_threads())
    except KernelearnError as error:
        report["setting"] = str(error)
    count, size = cache.size()
    report["cache folder"] = str(cache.folder() or "none")
    report["cache"] = f"{cache.state()}, {count} kernels, {readable_size(size)}"
    return report


def _bfloat16(target: "Target") -> str:
    """What multiplies numbers of mixed precision."""
    if target.tiles:
        return "in hardware (matrix tiles)"
    return "in hardware (pairs)" if target.has_bf16 else "emulated"


def _peaks(threads: int) -> str:
    """What the machine can do at most. Measured anew: what other programs took away before comes back."""
    from kernelearn.engine.cpu.report import peaks

    return f"{peaks.renew(threads)} (measured; estimates in summaries start from these)"


def _compiling() -> str:
    """ "ok" if a small program compiles and gives the right numbers."""
    import numpy as np

    from kernelearn import ops

    x = np.arange(35, dtype=np.float32).reshape(5, 7) - 17
    try:
        right = np.array_equal(ops.activation(x, "relu", engine="cpu"), np.maximum(x, 0))
    except Exception as error:  # whatever it is, it is what the user has to know
        return f"{type(error).__name__}: {error}"
    return "ok" if right else "wrong numbers; delete the cache folder"


def _writable() -> str:
    from kernelearn.errors import StorageError
    from kernelearn.storage import check_writable

    try:
        check_writable(os.getcwd())
    except StorageError as error:
        return str(error)
    return "ok"


def _training_step() -> str:
    """ "ok" if one update of a small network lowers its loss."""
    from kernelearn.errors import KernelearnError

    try:
        before, after = _losses()
    except KernelearnError as error:
        return str(error)
    return "ok" if after < before else f"the loss did not fall ({before:.6f}, then {after:.6f})"


def _losses() -> tuple[float, float]:
    """Loss before and after one update."""
    import numpy as np

    from kernelearn.models import zoo

    model = zoo.lenet((8, 8, 1), 2)
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    x = np.linspace(0, 1, 8 * 64, dtype=np.float32).reshape(8, 8, 8, 1)
    y = np.array([0, 1] * 4)
    before = float(model.train_on_batch(x, y))
    return before, float(model.evaluate(x, y, verbose=0))


def _show(report: dict[str, Any]) -> None:
    from rich.text import Text

    from kernelearn.cli.output import say_table

    rows: list[tuple[str, str | Text]] = [
        (name, str(report[name])) for name in ("kernelearn", "python", "platform")
    ]
    for group in ("processor", "engine", "compiled engine"):
        for key, value in report[group].items():
            rows.append((f"{group}: {key}", ", ".join(value) if isinstance(value, list) else str(value)))
    for name, version in report["required"].items():
        rows.append((name, version or Text("missing: reinstall kernelearn", style="red")))
    for name, version in report["optional"].items():
        rows.append((name, version or Text(f"not installed (pip install {name})", style="dim")))
    for name in ("writable", "training step"):
        value = report[name]
        rows.append((name, Text(value, style="green" if value == "ok" else "red")))
    say_table(("what", "found"), rows, headings=False)
