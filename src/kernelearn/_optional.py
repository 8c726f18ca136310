"""The one door to optional packages: imported on first use; a message names the extra to install."""

import importlib
from types import ModuleType

from kernelearn.errors import MissingDependencyError

_EXTRAS = {
    "sklearn": ("scikit-learn", "data"),
    "PIL": ("pillow", "data"),
    "matplotlib": ("matplotlib", "plot"),
    "scipy": ("scipy", "kernels"),
    "cvxpy": ("cvxpy", "kernels"),
    "safetensors": ("safetensors", "interop"),
    "h5py": ("h5py", "interop"),
    "starlette": ("starlette", "view"),
    "uvicorn": ("uvicorn", "view"),
    "anywidget": ("anywidget", "notebook"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "datasets": ("datasets", "huggingface"),
    "mpi4py": ("mpi4py", "mpi"),
    "torch": ("torch", "bench"),
    "keras": ("keras", "bench"),
    "jax": ("jax", "bench"),
    "onnx": ("onnx", "interop"),
    "onnxruntime": ("onnxruntime", "bench"),
}


def require(module: str, purpose: str) -> ModuleType:
    """Import an optional module, or say which extra brings it.

    Args:
        module: dotted module name, for example `"matplotlib.pyplot"`.
        purpose: what it is needed for, a noun phrase that ends the sentence "... is needed for".
    Raises: MissingDependencyError naming the package and the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        top = module.partition(".")[0]
        package, extra = _EXTRAS.get(top, (top, "full"))
        raise MissingDependencyError(
            f"{package} is needed for {purpose} and could not be imported ({error}). "
            f"Install it with: pip install {package} (or all of its kind: pip install 'kernelearn[{extra}]', "
            f"in a clone pip install -e '.[{extra}]')"
        ) from error
