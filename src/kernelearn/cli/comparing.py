"""What `kernelearn runs compare` reads: recordings, their trainings, predictions on common test images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from kernelearn.cli.sources import Source
    from kernelearn.explain.comparison import RunComparison


def compared(places: Sequence[Path]) -> "tuple[RunComparison, list[Source]]":
    """The runs at these places beside each other, with the options and test results of their trainings."""
    from kernelearn.cli.sources import open_source
    from kernelearn.explain.comparison import compare_runs

    sources = [open_source(place) for place in places]
    settings = [dict(s.training.arguments) if s.training else {} for s in sources]
    results = [_results(s) for s in sources]
    return compare_runs([s.recording for s in sources], None, settings, results), sources


def _results(source: "Source") -> dict[str, float]:
    measured: dict[str, Any] = (source.training.results.get("test") or {}) if source.training else {}
    return {
        f"test {name}": float(value) for name, value in measured.items() if isinstance(value, int | float)
    }


def paired_lines(found: "RunComparison", sources: "Sequence[Source]") -> list[str]:
    """On the same test images: how many each run alone gets right, and whether that could be chance."""
    right = [_right(source) for source in sources]
    first = right[0]
    if first is None:
        return []
    lines = []
    for name, other in zip(found.names[1:], right[1:]):
        if other is None or len(other) != len(first):
            continue
        lines.append(_paired(found.names[0], name, first, other))
    return lines


def _paired(first_name: str, name: str, first: "np.ndarray", other: "np.ndarray") -> str:
    only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
    difference = 100 * float(other.mean() - first.mean())
    p = _sign_test(only_first, only_other)
    return (
        f"On the same {len(first):,} test images {name} is {difference:+.2f} points from {first_name}: "
        f"{only_other} images that only {name} gets right, {only_first} that only {first_name} does "
        f"(sign test p = {p:.3g})."
    )


def _sign_test(one: int, two: int) -> float:
    """Two-sided probability of a split at least this uneven, if each image went either way."""
    from math import comb

    n, least = one + two, min(one, two)
    return min(1.0, 2 * sum(comb(n, k) for k in range(least + 1)) / 2**n) if n else 1.0


def _right(source: "Source") -> "np.ndarray | None":
    """Whether each test image is named right; None where the test images are not to be had."""
    import numpy as np

    from kernelearn.cli.sources import images_if_known

    data = images_if_known(source, None)
    if data is None or data.labels is None or source.saved is None:
        return None
    images, labels = data.arrays()
    found = np.asarray(source.saved.predict(images, verbose=0))
    classes = np.asarray(labels)
    if found.ndim != 2 or classes.ndim > 1:
        return None
    return np.asarray(found.argmax(axis=1) == classes)
