"""What machine the code is for: vector width, number of registers, and the name LLVM knows it by.

`KERNELEARN_CPU_TARGET` forces another target than the host's, for tests and for machines whose wide units are
slow: "avx512", "avx512amx" (with matrix tiles for bfloat16), "avx512bf16" (with products of bfloat16 pairs),
"avx2", "baseline" (the least that every processor of this architecture has), or "native".
"""

from __future__ import annotations

import functools
import os
import platform
from dataclasses import dataclass, replace

from kernelearn.engine.cpu.machine.tile_state import may_use_tiles
from kernelearn.errors import KernelearnError, unknown_name


@dataclass(frozen=True)
class Target:
    """A processor to compile for.

    Attributes:
        name: "avx512", "avx2", "neon" or "baseline".
        cpu, features: as LLVM names them.
        width: float32 numbers in a vector register.
        registers: vector registers.
        has_bf16: whether there are dot products of bfloat16 pairs, faster than as many in float32.
        tiles: what multiplies matrix tiles of bfloat16: "amx", "emulated" (by plain code, for tests), or "".
    """

    name: str
    cpu: str
    features: str
    width: int
    registers: int
    has_bf16: bool = False
    tiles: str = ""

    @property
    def key(self) -> str:
        """Everything that changes the code, for the cache."""
        return f"{self.cpu} {self.features} {self.width} {self.tiles}".rstrip()

    @property
    def rounds_to_bfloat16(self) -> bool:
        """Whether it has an instruction for that."""
        return self.has_bf16 or self.tiles == "amx"

    @property
    def permutes(self) -> bool:
        """Whether it brings the lanes of a whole vector of float32 into an order known at run time."""
        return self.name in ("avx512", "avx2") and self.width == SHAPES[self.name][0]

    @property
    def halved(self) -> Target | None:
        """The same with vectors of half the lanes, and as many registers; None where that gains nothing.

        A vector of AVX-512 takes as long as one of half the width where there are two wide units, and as long
        as two of them on other processors.
        """
        return replace(self, width=self.width // 2) if self.name == "avx512" else None


# Vector width in float32 numbers, and the number of vector registers: the best target first.
SHAPES = {
    "avx512amx": (16, 32),
    "avx512": (16, 32),
    "avx512bf16": (16, 32),
    "avx2": (8, 16),
    "neon": (4, 32),
    "baseline": (4, 16),
}
FORCED_FEATURES = {
    "avx512": "+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx2,+fma,-prefer-256-bit",
    "avx2": "+avx2,+fma,+f16c",
    "baseline": "",
}
FORCED_FEATURES["avx512bf16"] = FORCED_FEATURES["avx512"] + ",+avx512bf16"
FORCED_FEATURES["avx512amx"] = FORCED_FEATURES["avx512bf16"] + ",+amx-tile,+amx-bf16"
# What kernels on tiles need: tiles, and numbers rounded to bfloat16 in one instruction.
TILE_FEATURES = ("amx-tile", "amx-bf16", "avx512bf16")
# What follows the name of a set of vector instructions in that of a forced target.
ADDITIONS = ("bf16", "amx")
# How the names of processors begin on which a product of pairs takes as long as one of float32. On those of
# Intel it takes four times as long: there, rounded operands are multiplied in float32.
FAST_PAIRS = "znver"


def current_target() -> Target:
    """The target in force: the host, or what KERNELEARN_CPU_TARGET says."""
    return find_target(os.environ.get("KERNELEARN_CPU_TARGET") or "native")


@functools.cache
def find_target(name: str) -> Target:
    """A target by name; "native" is the best one that this machine has.

    Raises: UnknownNameError for an unknown name, KernelearnError for one that this processor cannot run.
    """
    if name == "native":
        return _host()
    if name not in SHAPES:
        raise unknown_name("CPU target", name, ["native", *SHAPES])
    missing = _missing_features(name)
    if missing:
        raise KernelearnError(
            f"CPU target {name!r} needs {', '.join(missing)}, which this {platform.machine()} processor "
            f"does not have; its best target is {_host().name!r}. Unset KERNELEARN_CPU_TARGET to use that."
        )
    if name == "neon":
        return _host()
    width, registers = SHAPES["neon" if _is_arm() else name]
    addition = next((a for a in ADDITIONS if name.endswith(a)), "")
    return Target(
        name.removesuffix(addition),
        _plain_cpu(),
        FORCED_FEATURES[name],
        width,
        registers,
        has_bf16=addition == "bf16",
        tiles="amx" if addition == "amx" else "",
    )


def _missing_features(name: str) -> list[str]:
    """What a forced target needs and this machine lacks: running such code would end the process."""
    if name == "baseline":
        return []
    if _is_arm() or name == "neon":
        return [] if _is_arm() and name == "neon" else [name]
    wanted = [f[1:] for f in FORCED_FEATURES[name].split(",") if f.startswith("+")]
    present = _host_features()
    missing = [feature for feature in wanted if not present.get(feature)]
    if not missing and "amx-tile" in wanted and not may_use_tiles():
        return ["permission of the system for amx-tile"]
    return missing


def _is_arm() -> bool:
    return platform.machine().lower() in ("arm64", "aarch64")


def _plain_cpu() -> str:
    """What LLVM calls the least processor of this architecture."""
    return "x86-64" if platform.machine().lower() in ("x86_64", "amd64") else "generic"


def _host_features() -> dict[str, bool]:
    """LLVM's names of what this processor has; empty where LLVM cannot tell: use what every machine has."""
    import llvmlite.binding as llvm

    try:
        return dict(llvm.get_host_cpu_features())
    except RuntimeError:
        return {}


def _host() -> Target:
    import llvmlite.binding as llvm

    features = _host_features()
    if _is_arm():
        name = "neon"
    elif all(features.get(f) for f in ("avx512f", "avx512bw", "avx512dq", "avx512vl", "fma")):
        name = "avx512"
    elif features.get("avx2") and features.get("fma"):
        name = "avx2"
    else:
        name = "baseline"
    flags = [f"{'+' if on else '-'}{feature}" for feature, on in sorted(features.items())]
    width, registers = SHAPES[name]
    if name != "neon":
        # NOTE: without this LLVM halves the vector width on some processors with AVX-512.
        flags.append("-prefer-256-bit")
    # NOTE: a processor of unknown features gets code for every processor of its kind.
    cpu = llvm.get_host_cpu_name() if features else _plain_cpu()
    has_bf16 = bool(features.get("avx512bf16")) and cpu.startswith(FAST_PAIRS)
    has_tiles = name == "avx512" and all(features.get(f) for f in TILE_FEATURES) and may_use_tiles()
    return Target(name, cpu, ",".join(flags), width, registers, has_bf16, "amx" if has_tiles else "")
