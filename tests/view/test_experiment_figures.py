"""Figures of experiments show the numbers of the result."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from kernelearn.explain.experiments import ExperimentResult, Row
from kernelearn.view import save_figure
from kernelearn.view.experiment_figures import COLOURS, MARKERS, STYLES, plot_experiment


def result(conditions=3, seeds=4, epochs=5):
    rng = np.random.default_rng(0)
    rows = []
    for number in range(conditions):
        curves = np.sort(rng.uniform(0.2, 0.9, (seeds, epochs)), axis=1)
        rows.append(Row(f"condition {number}", "", accuracy=curves[:, -1].tolist(), curves=curves.tolist()))
    return ExperimentResult(
        "test",
        "Which is best?",
        "condition 0",
        {},
        {},
        {"epochs": epochs},
        seeds,
        list(range(seeds)),
        [0.1],
        rows,
    )


def test_every_seed_and_every_mean_is_drawn():
    given = result()
    scores, curves = plot_experiment(given).axes
    for number, row in enumerate(given.rows):
        dots = scores.collections[2 * number].get_offsets()
        np.testing.assert_allclose(dots[:, 0], 100 * np.array(row.accuracy))
        np.testing.assert_allclose(curves.lines[number].get_ydata(), 100 * np.mean(row.curves, axis=0))
    bars = [container for container in scores.containers if container.has_xerr]
    drawn = [bar.lines[0].get_xdata()[0] for bar in bars]
    np.testing.assert_allclose(drawn, [100 * row.summary().mean for row in given.rows])
    assert [text.get_text() for text in scores.get_yticklabels()] == given.names
    assert curves.lines[-1].get_ydata()[0] == 10.0


def test_one_seed_has_no_interval():
    scores, _ = plot_experiment(result(seeds=1)).axes
    assert not any(container.has_xerr for container in scores.containers)


def test_conditions_differ_in_more_than_colour(tmp_path):
    figure = plot_experiment(result(conditions=8))
    lines = figure.axes[1].lines[:8]
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(looks) == 8 and len({line.get_marker() for line in lines}) == 8
    assert len(set(COLOURS)) == 7 and len(set(STYLES)) == 4 and len(set(MARKERS)) == 8
    path = save_figure(figure, tmp_path / "figure.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n") and path.stat().st_size > 10_000
