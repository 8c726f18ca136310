"""From LLVM IR to callable addresses: objects that are compiled once, linked into this process.

Objects are kept on disk (`cache`), so that a kernel is compiled once per machine. In the process, all that a
program lacks is linked into one library: it takes two memory maps, as each single kernel would, and a process
has 65,000 of them. A library is unloaded when nobody holds one of its functions; the functions that were used
last are held here, for programs that come back.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernelearn.engine.cpu.machine import cache, codegen
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.errors import KernelearnError

# All code that can change what a kernel does: what emits it, and formulas that it takes numbers from.
ENGINE = Path(__file__).resolve().parents[2]

# Functions that are kept although no program uses them: those of some hundred small networks.
KEPT_FUNCTIONS = 2048
# Memory maps that are left to the rest of the process.
SPARE_MAPS = 500
# Maps that a library may take, with what else the process does meanwhile; so many are linked at most before
# maps are counted again.
MAPS_OF_LIBRARY, MOST_UNCOUNTED = 8, 32


class Library:
    """Objects that were linked together; unloaded some time after the last reference to it is gone."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        # NOTE: the collector may run in the middle of anything, so LLVM is called later, by `_unload`.
        weakref.finalize(self, _unused.append, engine).atexit = False

    def function(self, name: str) -> Function:
        """One of its functions.

        Raises: KernelearnError if it has none of this name.
        """
        with codegen.lock:
            address = self._engine.get_function_address(name)
        if not address:
            raise KernelearnError(
                f"A compiled object has no function {name}; delete the folder of the compile cache."
            )
        return Function(address, self)


@dataclass(frozen=True, eq=False)
class Function:
    """A compiled function: it is at `address` as long as this object lives."""

    address: int
    library: Library


# The functions of this process by the name of their cache entry, and those that were used last, in order.
_functions: weakref.WeakValueDictionary[str, Function] = weakref.WeakValueDictionary()
_recent: dict[str, Function] = {}
# Limit of memory maps -> libraries that certainly find place before they have to be counted again.
_uncounted: dict[int, int] = {}
# Engines of libraries that nobody holds.
_unused: deque[Any] = deque()


def load(key: str, target: Target, text: Callable[[str], str]) -> Function:
    """The function that `text(name)` defines; compiled only if no cache has it.

    Args:
        key: says everything that the text depends on, except for the target and the code of the engine.
        text: gives the LLVM IR of a module with one function of the name that it is given.
    """
    digest = entry_digest(key, target)
    return load_missing([digest], target, lambda _: {digest: _compiled(digest, target, text)})[digest]


def _compiled(digest: str, target: Target, text: Callable[[str], str]) -> bytes:
    return codegen.compile_object(text(function_name(digest)), target)


def load_missing(
    digests: Iterable[str], target: Target, compile_all: Callable[[list[str]], Mapping[str, bytes]]
) -> dict[str, Function]:
    """The functions of these entries: from this process, from the disk, else compiled.

    Args:
        compile_all: gives the objects of those that no cache has.
    """
    wanted = list(dict.fromkeys(digests))
    found = {digest: function for digest in wanted if (function := _functions.get(digest)) is not None}
    blobs = cache.read_all(digest for digest in wanted if digest not in found)
    missing = [digest for digest in wanted if digest not in found and digest not in blobs]
    for digest, blob in compile_all(missing).items() if missing else ():
        cache.write(digest, blob)
        blobs[digest] = blob
    if blobs:
        library = link(blobs.values(), target)
        found.update({digest: library.function(function_name(digest)) for digest in blobs})
    _keep(found)
    return found


def _keep(found: Mapping[str, Function]) -> None:
    """Hold these functions, and let go of the ones that were not used for longest."""
    with codegen.lock:
        _functions.update(found)
        for digest, function in found.items():
            _recent.pop(digest, None)
            _recent[digest] = function
        for digest in list(_recent)[: max(len(_recent) - KEPT_FUNCTIONS, 0)]:
            del _recent[digest]


def forget() -> None:
    """Hold no functions but those that programs use, and find none of them again."""
    with codegen.lock:
        _recent.clear()
        _functions.clear()


def function_name(digest: str) -> str:
    """Name of the function of a cache entry."""
    return f"kl_{digest[:24]}"


def entry_digest(key: str, target: Target) -> str:
    """Name of the cache entry of a kernel."""
    return hashlib.sha256(f"{key}|{target.key}|{_versions()}".encode()).hexdigest()


@functools.cache
def _versions() -> str:
    """The code that emits and the LLVM that compiles: a change of either makes other entries."""
    import llvmlite
    import llvmlite.binding as llvm

    sources = sorted(ENGINE.rglob("*.py"))
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    return f"{llvmlite.__version__} {llvm.llvm_version_info} {llvm.get_default_triple()} {code}"


def link(blobs: Iterable[bytes], target: Target) -> Library:
    """Load object files into the process, as one library.

    Raises: KernelearnError if the process has no memory maps left for it.
    """
    llvm = codegen.initialised()
    with codegen.lock:
        _unload()
        _check_maps()
        # NOTE: an engine owns its code generator.
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), codegen.new_machine(target))
        for blob in blobs:
            engine.add_object_file(llvm.ObjectFileRef.from_data(blob))
        engine.finalize_object()
        return Library(engine)


def _unload() -> None:
    """Free the libraries that nobody holds."""
    with contextlib.suppress(IndexError):
        while True:
            _unused.popleft().close()


def _check_maps() -> None:
    """Refuse to link where LLVM would end the process: it cannot report that memory maps have run out."""
    if not _is_crowded():
        return
    _recent.clear()
    gc.collect()
    _unload()
    if _is_crowded():
        raise KernelearnError(
            f"This process uses {count_maps()} of the {max_maps()} memory maps that the system allows, so no "
            "more compiled kernels can be loaded. Delete models that are no longer needed, or raise the "
            "limit: sysctl vm.max_map_count."
        )


def _is_crowded() -> bool:
    """Whether memory maps run short; they are not counted for each library, as that takes long."""
    limit = max_maps()
    if limit is None:
        return False
    if _uncounted.get(limit, 0) > 0:
        _uncounted[limit] -= 1
        return False
    free = limit - SPARE_MAPS - count_maps()
    _uncounted[limit] = min(free // MAPS_OF_LIBRARY, MOST_UNCOUNTED)
    return free < 0


@functools.cache
def max_maps() -> int | None:
    """Memory maps that the system allows this process; None where it has no such limit."""
    try:
        return int(Path("/proc/sys/vm/max_map_count").read_text())
    except (OSError, ValueError):
        return None


def count_maps() -> int:
    """Memory maps of this process, on Linux."""
    with contextlib.suppress(OSError):
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    return 0
