"""Pictures of what is learned: the layer as a matrix, what filters answer to, kernel functions."""

from __future__ import annotations

from typing import Any

import numpy as np
from _forward_figures import FILTERS
from _story import FILTER, LAYER, Story
from _svg import WIDTH, A, Drawing, Theme, W, number

from kernelearn import explain


def matrix(story: Story, theme: Theme) -> Drawing:
    """The filter as the dense layer that it is: a row for each window, a column for each pixel."""
    kernel = story.products[1]
    limit, cell, left, top = float(np.abs(kernel).max()), 8.6, 16, 34
    size, windows, pixels = 6, 36, 64
    d = Drawing(WIDTH, 384, theme, "A convolution as a dense matrix with zeros and ties")
    d.note(left, 18, f"{pixels} pixels → (columns), {windows} numbers of the map ↓ (rows)")
    d.rect(left, top, pixels * cell, windows * cell, theme.zero, theme.line)
    for p, q in np.ndindex(size, size):
        for (i, j), value in np.ndenumerate(kernel):
            place = left + ((p + i) * 8 + q + j) * cell, top + (p * size + q) * cell
            d.rect(*place, cell, cell, d.shade(W, value / limit))
    d.text(644, 60, f"filter {FILTER}", 12.5, "middle")
    d.cells(590, 74, 36, kernel, W, limit, 2, text_size=11)
    entries, tied = windows * pixels, windows * kernel.size
    lines = (
        f"{entries:,} entries,",
        f"{entries - tied:,} are 0,",
        f"{tied} are tied",
        f"to {kernel.size} numbers",
    )
    for k, words in enumerate(lines):
        d.note(590, 212 + 20 * k, words)
    d.note(
        left, 366, "One row is one window. Each of the nine numbers stands on its own diagonals, 36 times."
    )
    return d


def deeper(story: Story, theme: Theme) -> Drawing:
    """Windows of test digits that filters of both layers answer most strongly."""
    model, y = story.run.model(), 14
    d = Drawing(WIDTH, 424, theme, "Windows that filters answer most strongly")
    for layer, filters, sees in ((LAYER, FILTERS, "3 × 3"), ("parts", (0, 9, 12), "8 × 8")):
        found = explain.top_patches(model, layer, story.tests, k=8)
        d.text(16, y + 6, f"{layer}: sees {sees} pixels", 13, bold=True)
        y += 20
        for f in filters:
            d.note(76, y + 26, f"filter {f}", 12, "end")
            for k, patch in enumerate(found[f][:8]):
                crop = np.asarray(patch.crop)[..., 0]
                d.cells(92 + 78 * k, y, 52 / max(crop.shape), crop, A, 1.0)
            y += 60
        y += 12
    return d


def mixture(story: Story, theme: Theme) -> Drawing:
    """Two kernel functions and their mixture, and what machines with them make of the same points."""
    from kernelearn.kernel_machines import ConvexKernelLearner, rbf_bank

    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-3, 3, 80))[:, None]
    y = _wave(x) + 0.1 * rng.standard_normal(80)
    d = Drawing(WIDTH, 330, theme, "Two kernel functions and their mixture")
    gammas = {"wide": [0.5], "narrow": [30.0], "mixture": [0.5, 30.0]}
    hues = (d.hue(W, -1), d.hue(W, 1), d.hue(A, 1))
    for column, (name, widths) in enumerate(gammas.items()):
        kernels = [rbf_bank([gamma]) for gamma in widths]
        machine = ConvexKernelLearner(kernels, loss="ridge", alpha=0.1).fit(x, y)
        weights = [float(w) for w in machine.kernel_weights_]
        shares = " + ".join(f"{number(w, 2)} {part}" for w, part in zip(weights, gammas))
        d.text(
            122 + column * 238, 18, shares if len(widths) > 1 else f"{name} kernel", 13, "middle", bold=True
        )
        _bump(d, 14 + column * 238, weights, widths, hues[column])
        _fit(d, 14 + column * 238, machine, (x[:, 0], y), hues[column])
    return d


def _wave(x: np.ndarray) -> np.ndarray:
    """What the points are drawn from."""
    return np.asarray(np.sin(x[:, 0]) + 0.4 * np.sin(8 * x[:, 0]))


def _bump(d: Drawing, left: float, weights: list[float], gammas: list[float], hue: str) -> None:
    """k(x, 0) over x."""
    at = np.linspace(-3, 3, 181)
    values = sum(w * np.exp(-g * at**2) for w, g in zip(weights, gammas))
    d.line([(left + 36 * (t + 3), 112 - 76 * v) for t, v in zip(at, np.asarray(values))], hue, 2.4)
    d.line([(left, 112), (left + 216, 112)], d.theme.quiet)
    d.note(left + 108, 126, "likeness of a point to the one in the middle", 10.5, "middle")


def _fit(d: Drawing, left: float, machine: Any, points: tuple[np.ndarray, np.ndarray], hue: str) -> None:
    """The points, the machine's function, and its error on new points."""
    for x, y in zip(*points):
        d.circle(left + 36 * (x + 3), 220 - 42 * y, 1.8, d.theme.quiet)
    at = np.linspace(-3, 3, 181)
    values = machine.predict(at[:, None])
    d.line([(left + 36 * (t + 3), 220 - 42 * v) for t, v in zip(at, values)], hue, 2)
    new = np.linspace(-2.8, 2.8, 200)[:, None]
    error = float(np.sqrt(((machine.predict(new) - _wave(new)) ** 2).mean()))
    d.note(left + 108, 304, f"error on new points {number(error, 3)}", 12, "middle")
