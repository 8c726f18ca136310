"""Pictures of the backward half: loss, rules, the way of the error, its terms, who moved a weight."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from _forward_figures import winners
from _story import FILTER, IMAGE, LAYER, STEP, WEIGHT, Story
from _svg import WIDTH, A, Drawing, E, Theme, W, number

# Errors are shown in these units: 10^-3.
_SMALL = 1000.0


def loss(story: Story, theme: Theme) -> Drawing:
    """The softmax row, the truth, and their difference."""
    p, truth = story.image.predictions, int(story.labels[IMAGE])
    error = p - np.eye(len(p))[truth]
    d = Drawing(WIDTH, 300, theme, "Softmax row, truth, and error of each class")
    d.text(58, 40, f"a {truth}", 13, "middle", bold=True)
    d.cells(14, 58, 11, story.images[IMAGE][:, :, 0], A, 1.0)
    d.note(58, 166, f"picture {IMAGE}", 12, "middle")
    for k in range(len(p)):
        x = 216 + k * 50
        d.text(x, 18, f"{k}", 12.5, "middle", bold=k == truth)
        d.rect(x - 17, 34, 34, 96, "url(#hatch)" if k == truth else "none", theme.line, 0.7)
        d.rect(x - 17, 130 - 96 * p[k], 34, 96 * p[k], d.shade(A, 0.8))
        d.text(x, 142, number(p[k], 3), 12, "middle", bold=k == truth)
        height, up = 70 * abs(error[k]), error[k] > 0
        d.rect(x - 17, 198 - height * up, 34, max(height, 0.6), d.hue(E, error[k]))
        d.text(x, 182, number(error[k], 3, sign=True), 11.5, "middle", d.hue(E, error[k]))
    d.line([(196, 198), (686, 198)], theme.quiet)
    for y, words in ((60, "p, said"), (78, "(hatched:"), (94, "the truth, 1)"), (192, "p − y, the error")):
        d.note(180, y, words, 12, "end")
    value = f"loss = −log {number(p[truth], 3)} = {number(float(-np.log(p[truth])), 3)}."
    d.note(14, 288, f"{value} One of the ten errors says “more of this class”, nine say “less”.")
    return d


def rules(story: Story, theme: Theme) -> Drawing:
    """One weight under SGD, momentum and Adam, with the gradients that were recorded."""
    gradients = np.asarray(story.run.gradient_trace(LAYER, WEIGHT)[1], float)
    start = float(story.run.kernels(LAYER, 0)[WEIGHT])
    ways = _ways(gradients, start)
    d = Drawing(WIDTH, 300, theme, "One weight over the steps under three rules")
    left, right, top, bottom = 60, 590, 24, 250
    low, high = min(w.min() for w in ways.values()), max(w.max() for w in ways.values())
    wide, tall = (right - left) / len(gradients), (bottom - top) / (high - low)
    for value in np.arange(0.5, high, 0.5):
        y = bottom - tall * (value - low)
        d.line([(left, y), (right, y)])
        d.note(left - 8, y, number(value, 1), 12, "end")
    d.line([(left, bottom), (right, bottom)], theme.quiet)
    for step in range(0, len(gradients) + 1, 150):
        d.note(left + wide * step, bottom + 16, f"{step}", 12, "middle")
    looks = {"momentum": (theme.quiet, 1.8), "SGD": (d.hue(W, -1), 1.8), "Adam": (d.hue(W, 1), 2.6)}
    for name, shift in (("momentum", 0), ("SGD", 9), ("Adam", -9)):
        points = [(left + wide * k, bottom - tall * (v - low)) for k, v in enumerate(ways[name])]
        d.line([*points[::3], points[-1]], *looks[name])
        words, is_run = f"{name} {number(float(ways[name][-1]), 2)}", name == "Adam"
        d.text(right + 8, points[-1][1] + shift, words, 12.5, "start", looks[name][0], bold=is_run)
    what = f"Weight [0, 2] of filter {FILTER} from its start {number(start, 3)}, over {len(gradients)} steps."
    d.note(left, 288, f"{what} The line of Adam is the training itself.")
    return d


def _ways(gradients: np.ndarray, start: float) -> dict[str, np.ndarray]:
    """The weight after each step by the three rules, with the rates of the page."""
    ways = {name: np.full(len(gradients) + 1, start) for name in ("momentum", "SGD", "Adam")}
    velocity = mean = square = 0.0
    for k, g in enumerate(gradients, start=1):
        velocity = 0.9 * velocity - 0.01 * g
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g**2
        rate = 0.001 * np.sqrt(1 - 0.999**k) / (1 - 0.9**k)
        steps = {"SGD": -0.01 * g, "momentum": velocity, "Adam": -rate * mean / (np.sqrt(square) + 1e-7)}
        for name, step in steps.items():
            ways[name][k] = ways[name][k - 1] + step
    return ways


def way(story: Story, theme: Theme) -> Drawing:
    """The two sums on the way of the error, and what activation and pooling make of them."""
    pool, flat = (hop for hop in story.path.hops if len(hop.parts) > 1)
    parts = next(list(hop.index) for hop in story.path.hops if hop.layer == "parts")
    d = Drawing(WIDTH, 384, theme, "The way of the error down to one number of the first map")
    classes = [(f"class {part.index[0]}", part.term) for part in flat.parts]
    _bars(d, 20, f"at parts {parts}: ten classes", [*classes, ("sum", flat.error)])
    above = [(f"map {p.index[2]}, ({p.index[0]}, {p.index[1]})", p.term) for p in pool.parts]
    others = float(sum(term for _, term in above[9:]))
    rows = [*above[:9], (f"{len(above) - 9} others", others), ("sum", pool.error)]
    _bars(d, 380, f"at pool {list(pool.index)}: {len(above)} numbers of parts", rows)
    d.arrow((344, 298), (372, 298))
    first = (
        "Weight × error, in units of 10⁻³; the sum at the left is the error in the first row at the right."
    )
    last = f"filter {FILTER} at {story.place} has the error {number(_SMALL * story.path.error, 2)}."
    d.note(20, 344, first)
    d.note(20, 364, f"The pool hands its sum to its winner; ReLU (slope 1) lets it pass; {last}")
    return d


def _bars(d: Drawing, x: float, title: str, rows: Sequence[tuple[str, float]]) -> None:
    """Terms as bars, their sum in ink."""
    d.text(x, 20, title, 13, bold=True)
    limit, middle = max(abs(value) for _, value in rows), x + 190
    for i, (name, value) in enumerate(rows):
        y, length, is_sum = 48 + 25 * i, 70 * value / limit, name == "sum"
        ink = d.theme.ink if is_sum else d.theme.quiet
        d.text(x + 96, y, name, 12, "end", ink, bold=is_sum)
        fill = d.theme.ink if is_sum else d.hue(E, value)
        d.rect(middle + min(length, 0), y - 8, max(abs(length), 0.6), 16, fill)
        d.text(x + 318, y, number(_SMALL * value, 2, sign=True), 12, "end", bold=is_sum)
    d.line([(middle, 36), (middle, 36 + 25 * len(rows))], d.theme.quiet)


def bench(story: Story, theme: Theme) -> Drawing:
    """Forward above, backward below, in five columns that stand for the same places."""
    d = Drawing(WIDTH, 390, theme, "One picture forward and backward through one filter")
    xs = (14, 160, 300, 444, 590)
    head = ("x picture", "W kernel", "z = x∗W + b", "a = max(0, z)", "largest of 2 × 2")
    foot = ("x · δ terms", "∂L/∂W, picture", "δ at z", "δ at a", "δ from above")
    for left, up, down in zip(xs, head, foot):
        d.text(left + 57, 18, up, 12.5, "middle")
        d.text(left + 57, 208, down, 12.5, "middle")
    _forward(d, story, xs, 36)
    own, delta, above = _backward(d, story, xs, 226)
    (row, column), (x, _) = story.place, story.factors
    small = [number(_SMALL * v, 2) for v in (above[row // 2, column // 2], delta[row, column], own[0, 2])]
    pixel = number(float(x[row, column + 2, 0]), 2)
    way = f"{small[0]} from above → winner → slope 1 → δ = {small[1]}; times x = {pixel} is the term"
    d.note(xs[0], 358, f"At {story.place}: {way}; all terms: {small[2]}.")
    last = "Hatched: closed, or lost its pool. Dot: the winner."
    d.note(xs[0], 378, f"Errors with numbers are in units of 10⁻³. {last}")
    return d


def _forward(d: Drawing, story: Story, xs: Sequence[float], y: float) -> None:
    """Picture, kernel, z, a, pooled, with the frames of one number."""
    kernel, (row, column) = story.products[1], story.place
    z, after = (stage.map_after for stage in story.unit.stages[:2])
    scale = float(np.abs(z).max())
    d.cells(xs[0], y, 14.25, story.factors[0][..., 0], A, 1.0)
    d.cells(xs[1], y, 38, kernel, W, float(np.abs(kernel).max()), 2, text_size=11)
    d.cells(xs[2], y, 19, z, A, scale)
    d.cells(xs[3], y, 19, after, A, scale, closed=after == 0)
    d.cells(xs[4], y, 38, story.image.layers[1].maps[..., FILTER], A, scale, 2, text_size=11)
    for p, q in winners(after):
        d.circle(xs[3] + (q + 0.5) * 19, y + (p + 0.5) * 19, 3, d.theme.ink, d.theme.paper)
    d.frame(xs[0] + (column + 2) * 14.25, y + row * 14.25, 14.25, 14.25)
    d.frame(xs[1] + 2 * 38, y, 38, 38)
    for left in xs[2:4]:
        d.frame(left + column * 19, y + row * 19, 19, 19)
    d.frame(xs[4] + (column // 2) * 38, y + (row // 2) * 38, 38, 38)


def _backward(d: Drawing, story: Story, xs: Sequence[float], y: float) -> tuple[np.ndarray, ...]:
    """Terms, gradient, errors; gives gradient of the picture, errors at z, errors from above."""
    x, (row, column) = story.factors[0][..., 0], story.place
    delta, after = story.factors[1][..., FILTER], story.unit.stages[1].map_after
    at_a, above = (story.image.layers[k].errors[..., FILTER] for k in (0, 1))
    own = np.array([[(x[i : i + 6, j : j + 6] * delta).sum() for j in range(3)] for i in range(3)])
    lost = np.ones(after.shape, bool)
    for place in winners(after):
        lost[place] = False
    limit = float(np.abs(delta).max())
    d.cells(xs[0], y, 19, x[0:6, 2:8] * delta, E, limit)
    d.cells(xs[1], y, 38, _SMALL * own, E, _SMALL * float(np.abs(own).max()), 1, text_size=10.5)
    d.cells(xs[2], y, 19, delta, E, limit, closed=after == 0)
    d.cells(xs[3], y, 19, at_a, E, limit, closed=lost)
    d.cells(xs[4], y, 38, _SMALL * above, E, _SMALL * float(np.abs(above).max()), 1, text_size=11)
    d.frame(xs[1] + 2 * 38, y, 38, 38)
    for left in (xs[0], *xs[2:4]):
        d.frame(left + column * 19, y + row * 19, 19, 19)
    d.frame(xs[4] + (column // 2) * 38, y + (row // 2) * 38, 38, 38)
    return own, delta, above


def ledger(story: Story, theme: Theme) -> Drawing:
    """The 32 pictures of the batch by their share of the gradient of one weight; what became of it."""
    book = story.ledger
    sums = book.by_image()
    order = np.argsort(sums.sums)
    labels = dict(zip(book.images.tolist(), book.labels.tolist()))
    d = Drawing(WIDTH, 268, theme, "Who moved one weight in one step: 32 pictures and their shares")
    pitch, left, middle = 21.4, 18, 92
    limit = float(np.abs(sums.sums).max())
    words = [("Who moved ", theme.ink), (f"W[0, 2] of filter {FILTER}", d.hue(W, 1))]
    words += [
        (f" in step {STEP}?  Σ = ", theme.ink),
        (number(book.total, 4, sign=True), d.hue(E, book.total)),
    ]
    d.spans(left, 20, [*words, (f", the sum of {len(book.terms):,} terms", theme.ink)], 13.5)
    for i, k in enumerate(order):
        x, value, image = left + i * pitch, float(sums.sums[k]), int(sums.keys[k])
        height = 46 * value / limit
        d.rect(x, middle - max(height, 0), pitch - 5, max(abs(height), 0.5), d.hue(E, value))
        d.cells(x, 146, (pitch - 5) / 8, story.images[image][:, :, 0], A, 1.0)
        d.note(x + (pitch - 5) / 2, 174, str(labels[image]), 10.5, "middle")
    right = left + len(order) * pitch - 5
    d.line([(left, middle), (right, middle)], theme.quiet)
    first, last = ((int(sums.keys[k]), number(float(sums.sums[k]), 4, sign=True)) for k in order[[0, -1]])
    d.note(left + 3 * pitch, middle + 40, f"picture {first[0]} adds {first[1]}", 12)
    d.note(right, middle - 34, f"picture {last[0]} adds {last[1]}", 12, "end")
    _update(d, story, 200)
    return d


def _update(d: Drawing, story: Story, y: float) -> None:
    """What Adam made of the gradient, as a sum that adds up as it is shown."""
    split, hue = story.update, d.hue(W, 1)
    before, update = float(split.before[WEIGHT]), float(split.update[WEIGHT])
    new, earlier = (float(split.parts[name][WEIGHT]) for name in ("gradient", "momentum"))
    d.line([(18, y - 8), (702, y - 8)])
    words = [("What Adam made of it:  W before ", ""), (number(before, 5), hue), ("   new gradient ", "")]
    words += [(number(new, 5, sign=True), hue), ("   earlier gradients ", "")]
    d.spans(18, y + 12, [*words, (number(earlier, 5, sign=True), hue)])
    words = [("update ", ""), (number(update, 5, sign=True), hue), ("   W after ", "")]
    shares = f"{new / update:.0%} of the step is this batch, {earlier / update:.0%} the gradients before it."
    d.spans(18, y + 36, [*words, (number(before + update, 5), hue), (f"   {shares}", "")])
    d.note(18, y + 58, "Pink: pushes the weight down. Blue: pushes it up. Below: the picture, its class.", 12)
