"""Pictures of the forward half: kernels over time, the numbers of a filter, a window, a neuron, maps."""

from __future__ import annotations

import numpy as np
from _story import FILTER, FRAMES, IMAGE, LAYER, STEP, Story
from _svg import WIDTH, A, Drawing, Theme, W, number

from kernelearn import explain

# The filters that are shown beside each other; the first is the one that the pages follow.
FILTERS = (FILTER, 1, 6)


def filmstrip(story: Story, theme: Theme) -> Drawing:
    """Three kernels at six steps, and what the network recognises at each."""
    cell, gap, left, top = 30, 16, 80, 36
    size, pitch = 3 * cell, 3 * cell + gap
    kernels = {k: story.run.kernels(LAYER, k)[:, :, 0] for k in FRAMES}
    limit = max(float(np.abs(k[..., list(FILTERS)]).max()) for k in kernels.values())
    bottom = top + len(FILTERS) * pitch + 4
    d = Drawing(WIDTH, bottom + 36, theme, "Kernels of one layer while it learns")
    for column, (step, kernel) in enumerate(kernels.items()):
        x = left + column * pitch
        d.text(x + size / 2, 20, f"step {step}" if step else "step 0: random", 12, "middle", bold=not step)
        for row, f in enumerate(FILTERS):
            d.cells(x, top + row * pitch, cell, kernel[..., f], W, limit, 2, text_size=9.5)
        share = story.accuracy(step)
        d.rect(x, bottom, size, 7, theme.zero, theme.line, 0.6)
        d.rect(x, bottom, size * share, 7, theme.quiet)
        d.text(x + size / 2, bottom + 21, f"{share:.0%}", 12, "middle", bold=True)
    for row, f in enumerate(FILTERS):
        d.note(left - 10, top + row * pitch + size / 2, f"filter {f}", 12, "end")
    d.note(left - 10, bottom + 4, "digits", 11.5, "end")
    d.note(left - 10, bottom + 20, "recognised", 11.5, "end")
    return d


def filter76(story: Story, theme: Theme) -> Drawing:
    """One filter of Conv2D(20, 5) on a colour picture, with the random numbers that it starts from."""
    import kernelearn as kl
    from kernelearn.layers import Conv2D

    kl.set_random_seed(1)
    kernel = kl.Sequential([Conv2D(20, 5, input_shape=(32, 32, 3))]).get_weights()[0][..., 0]
    limit, cell = float(np.abs(kernel).max()), 36
    d = Drawing(WIDTH, 262, theme, "The 76 numbers of one filter on a colour picture")
    for c, name in enumerate(("red", "green", "blue")):
        x = 16 + c * 200
        d.text(x + 90, 20, f"slice on {name}", 13, "middle")
        d.cells(x, 34, cell, kernel[:, :, c], W, limit, 2, text_size=11)
        d.text(x + 90, 230, str(kernel[:, :, c].size), 13, "middle", bold=True)
        d.text(x + 190, 230, "+", 13, "middle")
    d.text(642, 20, "bias", 13, "middle")
    d.cells(624, 106, cell, np.zeros((1, 1)), W, limit, 2, text_size=11)
    d.text(642, 230, "1", 13, "middle", bold=True)
    d.text(690, 230, f"= {kernel.size + 1}", 13, "middle", bold=True)
    d.note(16, 250, f"The sum of all {kernel.size} products and the bias is one number of one map.", 12)
    return d


def window(story: Story, theme: Theme) -> Drawing:
    """One window: picture, pixels, weights, products, their sum in the map, the map after ReLU."""
    unit, (row, column), middle = story.unit, story.place, 100
    inputs, weights, products = story.products
    d = Drawing(WIDTH, 222, theme, "One window of the picture times the kernel gives one number of the map")
    d.text(64, 20, f"picture {IMAGE}", 12.5, "middle")
    d.cells(8, middle - 56, 14, story.images[IMAGE][:, :, 0], A, 1.0)
    d.frame(8 + 14 * column, middle - 56 + 14 * row, 42, 42)
    limit = float(np.abs(weights).max())
    _tile(d, 136, middle, 34, "window x", inputs, A, 1.0, 2)
    _tile(d, 256, middle, 34, "kernel W", weights, W, limit, 2)
    _tile(d, 376, middle, 37, "products", products, A, limit, 3)
    for x, sign in ((247, "×"), (367, "=")):
        d.text(x, middle, sign, 15, "middle", theme.quiet)
    z, after = (stage.map_after for stage in unit.stages[:2])
    for x, name, values in ((502, "map z", z), (616, "after ReLU", after)):
        d.text(x + 48, 20, name, 12.5, "middle")
        closed = None if values is z else after == 0
        d.cells(x, middle - 48, 16, values, A, float(np.abs(z).max()), closed=closed)
        d.frame(x + 16 * column, middle - 48 + 16 * row, 16, 16)
        d.arrow((x - 15, middle), (x - 3, middle))
    total, bias, result = ((v, number(v, 3)) for v in (unit.total, unit.bias, unit.z))
    words = [("z = sum of the products ", ""), (total[1], d.hue(A, total[0])), ("  + bias ", "")]
    words += [(bias[1], d.hue(W, bias[0])), ("  = ", ""), (result[1], d.hue(A, result[0]))]
    d.spans(8, 184, words, 13.5)
    place = f"  one number of the map, at row {row}, column {column}. Hatched: set to 0."
    value = (number(unit.value, 3), d.hue(A, unit.value))
    d.spans(8, 206, [("after ReLU max(0, z) = ", ""), value, (place, "")], 13.5)
    return d


def _tile(
    d: Drawing,
    x: float,
    middle: float,
    cell: float,
    name: str,
    values: np.ndarray,
    family: str,
    limit: float,
    decimals: int,
) -> None:
    """Three by three numbers under their name."""
    d.text(x + 1.5 * cell, 20, name, 12.5, "middle")
    size = 10 if decimals == 2 else 9.5
    d.cells(x, middle - 1.5 * cell, cell, values, family, limit, decimals, text_size=size)


def neuron(story: Story, theme: Theme) -> Drawing:
    """The same number as a neuron; a rounding is named where the numbers shown do not add up."""
    unit, step, top = story.unit, 27, 50
    middle = top + 4 * step
    d = Drawing(WIDTH, 344, theme, "One number of a feature map as a neuron")
    d.note(62, 20, "input x", 12, "middle")
    d.note(162, 20, "weight", 12, "end")
    d.note(240, 20, "product", 12, "end")
    rows = [values.ravel() for values in story.products]
    limit, largest = float(np.abs(rows[1]).max()), float(np.abs(rows[2]).max())
    for i, (value, weight, product) in enumerate(zip(*rows)):
        y = top + i * step
        d.rect(16, y - 10, 20, 20, d.shade(A, value), theme.line, 0.8)
        d.text(84, y, number(value, 3), 12.5, "end")
        d.note(97, y, "×", 12, "middle")
        d.text(162, y, number(weight, 4, sign=True), 12.5, "end", d.hue(W, weight))
        hue = d.hue(A, product) if product else theme.quiet
        d.text(240, y, number(product, 4, sign=True), 12.5, "end", hue)
        depth = np.sign(weight) * 0.25 + 0.75 * weight / limit
        d.curve((252, y), (412, middle), d.shade(W, depth), 0.7 + 5 * abs(product) / largest)
    _body(d, story, middle)
    rest = round(unit.z, 4) - round(round(unit.total, 4) + round(unit.bias, 4), 4)
    rounding = f" (rounding {number(rest, 4, sign=True)})" if abs(rest) > 5e-5 else ""
    parts = f"{number(unit.total, 4)} + {number(unit.bias, 4)}"
    tied = f"all {unit.map.size} numbers of the map use these nine weights"
    d.note(16, 302, f"z = {parts} = {number(unit.z, 4)}{rounding}: {tied}.")
    pool = unit.pools[0]
    others = ", ".join(number(v, 2) for i, v in enumerate(pool.values) if i != pool.place)
    fate = "is the largest of its 2 × 2" if pool.is_won else "is not the largest of its 2 × 2"
    end = "is handed on by the pooling" if pool.is_won else "goes no further"
    d.note(16, 324, f"It {fate} (the others: {others}) and {end}.")
    return d


def _body(d: Drawing, story: Story, middle: float) -> None:
    """Sum, bias, activation and value."""
    unit, theme = story.unit, d.theme
    d.circle(428, middle, 17, theme.paper, theme.ink)
    d.text(428, middle, "Σ", 17, "middle")
    d.text(428, middle - 32, f"z = {number(unit.z, 4)}", 13, "middle", d.hue(A, unit.z), bold=True)
    d.line([(428, middle + 40), (428, middle + 18)], d.hue(W, unit.bias), 2)
    d.text(428, middle + 52, number(unit.bias, 4, sign=True), 12.5, "middle", d.hue(W, unit.bias))
    d.note(428, middle + 68, "bias b", 12, "middle")
    d.arrow((447, middle), (486, middle))
    d.rect(488, middle - 26, 60, 52, theme.zero, theme.line)
    d.line([(494, middle + 14), (518, middle + 14), (542, middle - 18)], d.hue(A, 1), 2)
    d.note(518, middle - 38, "ReLU", 12, "middle")
    d.arrow((550, middle), (588, middle))
    d.rect(590, middle - 22, 44, 44, d.shade(A, unit.value / float(np.abs(unit.map).max())), theme.ink, 2)
    d.text(612, middle + 38, number(unit.value, 4), 13, "middle", d.hue(A, unit.value), bold=True)
    d.note(612, middle - 52, "one number", 12, "middle")
    d.note(612, middle - 36, "of the map", 12, "middle")


def activation(story: Story, theme: Theme) -> Drawing:
    """Maps before and after ReLU and what the pooling keeps, for three filters and one picture."""
    relu = explain.activation(story.run, LAYER, story.images[IMAGE : IMAGE + 1], step=STEP - 1)
    cell, pitch = 23, 158
    limit = float(np.abs(relu.before[0][..., list(FILTERS)]).max())
    bottom = 34 + len(FILTERS) * pitch
    d = Drawing(WIDTH, bottom + 18, theme, "Maps before and after the activation, and pooled")
    for x, name in ((146, "z, before"), (356, "after ReLU"), (566, "largest of 2 × 2")):
        d.text(x, 18, name, 13, "middle")
    for i, f in enumerate(FILTERS):
        y = 34 + i * pitch
        z, after = relu.before[0][..., f], relu.after[0][..., f]
        closed = after == 0
        d.note(66, y + 60, f"filter {f}", 12, "end")
        d.note(66, y + 78, f"{closed.mean():.0%} to 0", 12, "end")
        d.cells(77, y, cell, z, A, limit, 1, text_size=8)
        d.cells(287, y, cell, after, A, limit, closed=closed)
        for row, column in winners(after):
            d.circle(287 + (column + 0.5) * cell, y + (row + 0.5) * cell, 3.4, theme.ink, theme.paper)
        pooled = after.reshape(3, 2, 3, 2).max(axis=(1, 3))
        d.cells(520, y + 21, 32, pooled, A, limit, 2, text_size=10.5)
        d.arrow((226, y + 69), (276, y + 69))
        d.arrow((436, y + 69), (506, y + 69))
    d.note(77, bottom, "Hatched: set to 0, no error comes back. Dot: the winner of its pool.", 12)
    return d


def winners(values: np.ndarray) -> list[tuple[int, int]]:
    """Places of the largest of each 2 x 2, where it is not 0."""
    found = []
    for p in range(0, values.shape[0], 2):
        for q in range(0, values.shape[1], 2):
            part = values[p : p + 2, q : q + 2]
            row, column = np.unravel_index(int(part.argmax()), part.shape)
            if part.max() > 0:
                found.append((p + int(row), q + int(column)))
    return found
