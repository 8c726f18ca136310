"""From LLVM IR to callable addresses: optimise, emit an object, link it into this process.

Objects are kept in the process and on disk (`cache`), so that a kernel is compiled once per machine.
"""

from __future__ import annotations

import functools
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernelearn.engine.cpu.machine import cache
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.errors import KernelearnError

# All code that can change what a kernel does: what emits it, and formulas that it takes numbers from.
ENGINE = Path(__file__).resolve().parents[2]

_lock = threading.RLock()
_addresses: dict[str, int] = {}


def load(key: str, target: Target, text: Callable[[str], str]) -> int:
    """Address of the function that `text(name)` defines; compiled only if no cache has it.

    Args:
        key: says everything that the text depends on, except for the target and the code of the engine.
        text: gives the LLVM IR of a module with one function of the name that it is given.
    """
    digest = entry_digest(key, target)
    with _lock:
        if not link_cached(digest, target):
            keep(digest, compile_object(text(function_name(digest)), target), target)
        return _addresses[digest]


def link_cached(digest: str, target: Target) -> bool:
    """Link what a cache has under this name, if any; whether the function is there now."""
    with _lock:
        if digest not in _addresses:
            blob = cache.read(digest)
            if blob is None:
                return False
            _addresses[digest] = link(blob, function_name(digest), target)
        return True


def keep(digest: str, blob: bytes, target: Target) -> None:
    """Link a compiled object and put it into the caches."""
    with _lock:
        if digest not in _addresses:
            cache.write(digest, blob)
            _addresses[digest] = link(blob, function_name(digest), target)


def address(digest: str) -> int:
    """Address of a function that was linked."""
    return _addresses[digest]


def is_known(key: str, target: Target) -> bool:
    """Whether `load` would find it without compiling."""
    digest = entry_digest(key, target)
    return digest in _addresses or cache.has(digest)


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


@functools.cache
def _initialised() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@functools.cache
def machine(target: Target) -> Any:
    """LLVM's code generator for a target."""
    llvm = _initialised()
    host = llvm.Target.from_default_triple()
    return host.create_target_machine(cpu=target.cpu, features=target.features, opt=3, jit=True)


def compile_object(text: str, target: Target) -> bytes:
    """Optimise a module and give its object file.

    The passes are few: the emitted code is already in the shape that the machine needs, and LLVM's own loop
    and vector passes would only undo it.
    """
    llvm = _initialised()
    with _lock:
        module = llvm.parse_assembly(text)
        module.triple = llvm.get_default_triple()
        builder = llvm.create_pass_builder(
            machine(target), llvm.create_pipeline_tuning_options(speed_level=2)
        )
        passes = llvm.create_new_module_pass_manager()
        passes.add_sroa_pass()
        passes.add_instruction_combine_pass()
        passes.add_simplify_cfg_pass()
        passes.run(module, builder)
        return machine(target).emit_object(module)


@functools.cache
def _linker(target: Target) -> Any:
    llvm = _initialised()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine(target))


def link(blob: bytes, name: str, target: Target) -> int:
    """Load an object file into the process; address of one of its functions."""
    llvm = _initialised()
    with _lock:
        engine = _linker(target)
        engine.add_object_file(llvm.ObjectFileRef.from_data(blob))
        engine.finalize_object()
        address = engine.get_function_address(name)
        if not address:
            raise KernelearnError(
                f"A compiled object has no function {name}; delete the folder of the compile cache."
            )
        return address


# NOTE: a process that forks while another of its threads compiles would leave its child a locked lock and
# half an object: forking waits for the compiler.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
