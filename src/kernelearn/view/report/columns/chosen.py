"""One choice out of a panel (step, image, filter, position, weight) as arrays."""

from __future__ import annotations

import numpy as np

from kernelearn.view.report.columns.bench_panel import Panel


class Chosen:
    """One choice out of a panel, as arrays."""

    def __init__(self, panel: Panel, step: int, image: int, filter: int) -> None:
        self.panel = panel
        self.step, self.image, self.filter = step, image, filter
        first = panel.first
        self.position: tuple[int, ...] = tuple(first["position"])
        self.tap, self.channel = int(first["tap"]), int(first["channel"])

    @classmethod
    def first(cls, panel: Panel) -> Chosen:
        """What the report opens with."""
        return cls(panel, panel.first["step"], panel.first["image"], panel.first["filter"])

    @property
    def is_whole(self) -> bool:
        """Whether all slices of the filter are here, and few enough to stand together."""
        return len(self.slices) == self.panel.total.channels <= 4

    @property
    def slices(self) -> list[int]:
        return self.panel.channels[self.filter]

    @property
    def shown(self) -> list[int]:
        """Numbers in the list of slices of those that are drawn."""
        return list(range(len(self.slices))) if self.is_whole else [self.channel]

    def weights(self, name: str = "W") -> np.ndarray:
        """(slices, *taps) of the kernel, or of its gradient."""
        found = self.panel.arrays[name][self.step, self.filter].astype(np.float64)
        return found.reshape(len(found), *self.panel.taps)

    @property
    def bias(self) -> float:
        return float(self.panel.arrays["b"][self.step, self.filter])

    def read(self, slice_number: int) -> np.ndarray:
        """(*spatial) what the layer read through a slice."""
        p = self.panel
        at = 0 if p.is_dense else p.inputs.index(self.slices[slice_number])
        return p.arrays["x"][self.step, self.image, at].astype(np.float64)

    def map(self, kind: str, key: str) -> np.ndarray:
        """(*positions) of a column: "v" values, "e" errors, "o" open; of a dense layer all its units."""
        found = self.panel.arrays[kind + key][self.step, self.image]
        return np.asarray(found if found.ndim == 1 else found[self.filter]).astype(np.float64)

    def value(self, kind: str, key: str) -> float:
        """At the chosen position."""
        return float(self.map(kind, key)[self.local(key)])

    def local(self, key: str) -> tuple[int, ...]:
        """Where the position stands in the part of a map that is here; behind a pooling, its first window."""
        if not self.position:
            return (self.filter,)
        column = next(c for c in self.panel.columns if c["key"] == key)
        if column["pool"] is None:
            return tuple(p - s for p, s in zip(self.position, column["start"]))
        pool, shape = column["pool"], column["shape"]
        if not pool["size"]:
            return (0,) * len(shape)
        found = []
        axes = zip(self.position, pool["size"], pool["stride"], pool["padding"])
        for axis, (p, size, stride, (before, _)) in enumerate(axes):
            first = max(0, -(-(p + before - size + 1) // stride))
            found.append(int(np.clip(first - column["start"][axis], 0, shape[axis] - 1)))
        return tuple(found)

    def pixel(self, tap: tuple[int, ...], position: tuple[int, ...]) -> tuple[int, ...] | None:
        """Which cell of x a tap reads at a position; None beside the image."""
        p = self.panel
        if p.is_dense:
            return (*position, *tap)
        found = []
        for t, at, *axis in zip(tap, position, *p.geometry.values()):
            stride, dilation, before = axis
            where = at * stride - before + t * dilation
            if p.kind == "conv_transpose":
                offset = at + before - t * dilation
                if offset % stride:
                    return None
                where = offset // stride
            found.append(where)
        origin = [0] * len(found) if p.origin is None else p.origin["x"]
        place = [one - o for one, o in zip(found, origin)]
        sizes = p.arrays["x"].shape[3:]
        return tuple(place) if all(0 <= one < n for one, n in zip(place, sizes)) else None

    def window(self, slice_number: int) -> np.ndarray:
        """(*taps) what the window reads through a slice; 0 beside the image."""
        x = self.read(slice_number)
        found = np.zeros(self.panel.taps)
        for tap in np.ndindex(*self.panel.taps):
            place = self.pixel(tap, self.position)
            found[tap] = 0.0 if place is None else x[place]
        return found

    def terms(self, slice_number: int) -> np.ndarray:
        """(*spatial) the terms of the chosen tap, each where it was read."""
        x = self.read(slice_number)
        if self.panel.is_dense and not self.position:
            return x * self.value("e", "z")
        errors = self.map("e", "z")
        found = np.zeros_like(x)
        tap = tuple(int(i) for i in np.unravel_index(self.tap, self.panel.taps))
        start = next(c["start"] for c in self.panel.columns if c["key"] == "z")
        for local in np.ndindex(*errors.shape):
            place = self.pixel(tap, tuple(i + s for i, s in zip(local, start)))
            if place is not None:
                found[place] = x[place] * errors[local]
        return found
