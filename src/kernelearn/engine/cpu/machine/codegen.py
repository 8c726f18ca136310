"""From the text of a module to an object file, by several threads at once.

llvmlite lets one thread at a time into LLVM. Its long calls need no such lock where each thread has tools and
contexts of its own, so they are made without it; they leave Python's own lock, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from kernelearn.engine.cpu.machine.target import Target

# Held by who links or unloads, and by who begins to compile.
lock = threading.RLock()
# Told when a thread has compiled; those that do.
_compiled = threading.Condition(lock)
_at_work: set[int] = set()


@functools.cache
def initialised() -> Any:
    """LLVM, ready for this machine."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def new_machine(target: Target) -> Any:
    """LLVM's code generator for a target."""
    host = initialised().Target.from_default_triple()
    return host.create_target_machine(cpu=target.cpu, features=target.features, opt=3, jit=True)


class _Tools:
    """What a thread compiles with.

    The passes are few: the emitted code is already in the shape that the machine needs, and LLVM's own loop
    and vector passes would only undo it.
    """

    def __init__(self, target: Target) -> None:
        llvm = initialised()
        self._llvm, self._triple = llvm, llvm.get_default_triple()
        self._machine = new_machine(target)
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        self._builder = llvm.create_pass_builder(self._machine, options)
        self._passes = llvm.create_new_module_pass_manager()
        self._passes.add_sroa_pass()
        self._passes.add_instruction_combine_pass()
        self._passes.add_simplify_cfg_pass()

    def compile(self, text: str) -> bytes:
        """The object file of a module.

        Raises: RuntimeError with LLVM's words for a text that is none.
        """
        with (
            contextlib.closing(self._llvm.create_context()) as context,
            contextlib.closing(self._parsed(text, context)) as module,
        ):
            module.triple = self._triple
            if not are_calls_known():
                self._passes.run(module, self._builder)
                return bytes(self._machine.emit_object(module))
            _unlocked("LLVMPY_RunNewModulePassManager")(self._passes, module, self._builder)
            return self._emitted(module)

    def _parsed(self, text: str, context: Any) -> Any:
        if not are_calls_known():
            return self._llvm.parse_assembly(text, context)
        with self._llvm.ffi.OutputString() as error:
            pointer = _unlocked("LLVMPY_ParseAssembly")(context, text.encode(), error)
            if not pointer:
                raise RuntimeError(f"LLVM IR parsing error\n{error}")
        return self._llvm.module.ModuleRef(pointer, context)

    def _emitted(self, module: Any) -> bytes:
        library = self._llvm.ffi.lib
        with self._llvm.ffi.OutputString() as error:
            buffer = _unlocked("LLVMPY_TargetMachineEmitToMemory")(self._machine, module, 1, error)
            if not buffer:
                raise RuntimeError(str(error))
        try:
            return ctypes.string_at(
                library.LLVMPY_GetBufferStart(buffer), library.LLVMPY_GetBufferSize(buffer)
            )
        finally:
            library.LLVMPY_DisposeMemoryBuffer(buffer)


# Tools that no thread uses at the moment.
_idle: dict[Target, list[_Tools]] = {}


# The long calls, and how many arguments each has in the versions of llvmlite that this was written for.
_LONG_CALLS = {
    "LLVMPY_ParseAssembly": 3,
    "LLVMPY_RunNewModulePassManager": 3,
    "LLVMPY_TargetMachineEmitToMemory": 4,
}


@functools.cache
def are_calls_known() -> bool:
    """Whether llvmlite's own calls are as expected; else the public ones are used, in turn."""
    library = initialised().ffi.lib
    found = {name: getattr(library, name, None) for name in _LONG_CALLS}
    return all(call and len(call.argtypes or ()) == _LONG_CALLS[name] for name, call in found.items())


@functools.cache
def _unlocked(name: str) -> Callable[..., Any]:
    """A function of LLVM without the lock of llvmlite, where it has one."""
    function: Callable[..., Any] = getattr(initialised().ffi.lib, name)
    unlocked: Callable[..., Any] = getattr(function, "_cfn", function)
    return unlocked


def compile_object(text: str, target: Target) -> bytes:
    """Optimise a module and give its object file.

    Raises: RuntimeError with LLVM's words for a text that is none.
    """
    with _tools(target) as tools:
        return tools.compile(text)


@contextlib.contextmanager
def _tools(target: Target) -> Iterator[_Tools]:
    """Tools for one module; as long as somebody has some, this process does not fork."""
    with lock:
        idle = _idle.setdefault(target, [])
        tools = idle.pop() if idle else _Tools(target)
        _at_work.add(threading.get_ident())
    try:
        yield tools
    finally:
        with lock:
            _at_work.discard(threading.get_ident())
            idle.append(tools)
            _compiled.notify_all()


def _wait_for_all() -> None:
    lock.acquire()
    while _at_work - {threading.get_ident()}:
        _compiled.wait()


# NOTE: a process that forks while another of its threads compiles would leave its child a locked lock and
# half an object: forking waits for the compiler.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_all, after_in_parent=lock.release, after_in_child=lock.release)
