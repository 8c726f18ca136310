"""What machine the code is for: vector width, number of registers, and the name LLVM knows it by.

`KERNELEARN_CPU_TARGET` forces another target than the host's, for tests and for machines whose wide units are
slow: "avx512", "avx2", "baseline" (the least that every processor of this architecture has), or "native".
"""

import functools
import os
import platform
from dataclasses import dataclass

from kernelearn.errors import unknown_name


@dataclass(frozen=True)
class Target:
    """A processor to compile for.

    Attributes:
        name: "avx512", "avx2", "neon" or "baseline".
        cpu, features: as LLVM names them.
        width: float32 numbers in a vector register.
        registers: vector registers.
        has_bf16: whether there are dot products of bfloat16 pairs.
    """

    name: str
    cpu: str
    features: str
    width: int
    registers: int
    has_bf16: bool = False

    @property
    def key(self) -> str:
        """Everything that changes the code, for the cache."""
        return f"{self.cpu} {self.features} {self.width}"


# Vector width in float32 numbers, and the number of vector registers.
SHAPES = {"avx512": (16, 32), "avx2": (8, 16), "neon": (4, 32), "baseline": (4, 16)}
FORCED_FEATURES = {
    "avx512": "+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx2,+fma,-prefer-256-bit",
    "avx2": "+avx2,+fma,+f16c",
    "baseline": "",
}


def current_target() -> Target:
    """The target in force: the host, or what KERNELEARN_CPU_TARGET says."""
    return find_target(os.environ.get("KERNELEARN_CPU_TARGET") or "native")


@functools.cache
def find_target(name: str) -> Target:
    """A target by name; "native" is the best one that this machine has.

    Raises: KernelearnError for an unknown name.
    """
    if name == "native":
        return _host()
    if name == "neon" and _is_arm():
        return _host()
    if name not in FORCED_FEATURES:
        raise unknown_name("CPU target", name, ["native", *FORCED_FEATURES])
    cpu = "generic" if _is_arm() else "x86-64"
    width, registers = SHAPES["neon" if _is_arm() else name]
    return Target(name, cpu, FORCED_FEATURES[name] if not _is_arm() else "", width, registers)


def _is_arm() -> bool:
    return platform.machine().lower() in ("arm64", "aarch64")


def _host() -> Target:
    import llvmlite.binding as llvm

    try:
        features = dict(llvm.get_host_cpu_features())
    except RuntimeError:  # LLVM cannot tell on this system; take what every machine has
        features = {}
    if _is_arm():
        name = "neon"
    elif features.get("avx512f") and features.get("avx512bw") and features.get("avx512vl"):
        name = "avx512"
    elif features.get("avx2") and features.get("fma"):
        name = "avx2"
    else:
        name = "baseline"
    flags = [f"{'+' if on else '-'}{feature}" for feature, on in sorted(features.items())]
    width, registers = SHAPES[name]
    # NOTE: without this LLVM halves the vector width on some processors with AVX-512.
    flags.append("-prefer-256-bit")
    return Target(
        name,
        llvm.get_host_cpu_name(),
        ",".join(flags if name != "neon" else flags[:-1]),
        width,
        registers,
        bool(features.get("avx512bf16")),
    )
