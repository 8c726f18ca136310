"""Makes the pictures of the pages: `python docs/_pictures.py`.

Those of the pages on how kernels learn are drawn here, light and dark, from the training that the first of
these pages runs; those of pages about a figure of the library are that figure.
"""

import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import _backward_figures as backward
import _forward_figures as forward
import _learned_figures as learned
from _story import FILTER, LAYER, Story
from _svg import THEMES, Drawing, Theme

from kernelearn import explain

PICTURES = Path(__file__).resolve().parent / "pictures"
_DPI = 72
DRAWN = (
    forward.filmstrip,
    forward.filter76,
    forward.window,
    forward.neuron,
    forward.activation,
    backward.loss,
    backward.rules,
    backward.way,
    backward.bench,
    backward.ledger,
    learned.matrix,
    learned.deeper,
    learned.mixture,
)


def main() -> None:
    """Write every picture."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        story = Story(folder)
        for draw, theme in drawings():
            draw(story, theme).save(PICTURES / f"{draw.__name__}-{theme.name}.svg")
        for name, figure in library_figures(story).items():
            figure.savefig(PICTURES / f"{name}.png", dpi=_DPI)


def drawings() -> Iterator[tuple[Callable[[Story, Theme], Drawing], Theme]]:
    """Each drawing with each theme."""
    yield from product(DRAWN, THEMES)


def library_figures(story: Story) -> dict:
    """The figures that the library draws of the same training."""
    images = story.tests[:4]
    maps = explain.feature_maps(story.run.model(), images, [LAYER])[LAYER]
    relu = explain.activation(story.run, LAYER, images)
    return {
        "unit": explain.plot_unit(story.unit),
        "unit-neuron": explain.plot_unit_neuron(story.unit),
        "delta": explain.plot_delta(story.path),
        "relu": explain.plot_activation(relu, images, channels=(0, 1, FILTER)),
        "terms": explain.plot_ledger(story.ledger),
        "maps": explain.plot_feature_maps(maps, images, LAYER),
    }


if __name__ == "__main__":
    main()
