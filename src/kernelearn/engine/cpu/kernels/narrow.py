"""Vectors of half the width, where a group has so few channels that the other half would be empty."""

from __future__ import annotations

from dataclasses import dataclass

from kernelearn.engine.cpu.language.kernel import Kernel
from kernelearn.engine.cpu.machine.target import Target
from kernelearn.engine.cpu.plan import Code


def fitting(target: Target, channels: int) -> Target:
    """The target, with vectors of half the width if these hold all channels and cost no more."""
    half = target.halved
    return half if half is not None and channels <= half.width else target


def on_vectors(code: Code, width: int, target: Target) -> Code:
    """The code on vectors of so many lanes."""
    return code if width == target.width else Narrow(code, width)


@dataclass(frozen=True)
class Narrow:
    """A kernel on vectors of fewer lanes than its target has."""

    code: Code
    width: int

    def emit(self, k: Kernel) -> None:
        k.narrow(self.width)
        self.code.emit(k)
