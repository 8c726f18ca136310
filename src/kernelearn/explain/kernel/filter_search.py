"""The search behind the filter bank: best cosine over templates, angles and channel mixes, and chance.

similarity = max over templates t, signs and channel mixes v of |<kernel, t v^T>| / (|kernel| |t| |v|)
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.kernel.filter_families import Template, templates_for

Found = dict[str, list[Template]]
_CHUNK_NUMBERS = 2**22


def compare(rows: np.ndarray, found: Found) -> tuple[np.ndarray, list[dict[str, dict[str, Any]]]]:
    """(similarity (rows, families), the settings of the best template for each)."""
    similarity, which = best_cosines(rows, found)
    settings: list[dict[str, dict[str, Any]]] = [{} for _ in rows]
    for column, (name, templates) in enumerate(found.items()):
        for row, kernel in enumerate(rows):
            template = templates[which[row, column]]
            settings[row][name] = template.describe(_coordinates(kernel, template))
    return similarity, settings


def best_cosines(rows: np.ndarray, found: Found) -> tuple[np.ndarray, np.ndarray]:
    """(similarity, number of the best template), both (rows, families)."""
    columns = [_family_cosines(rows, templates) for templates in found.values()]
    return np.stack([c[0] for c in columns], 1), np.stack([c[1] for c in columns], 1)


def _family_cosines(rows: np.ndarray, templates: list[Template]) -> tuple[np.ndarray, np.ndarray]:
    """(best cosine, number of its template), both (rows,)."""
    best = np.zeros(len(rows))
    which = np.zeros(len(rows), int)
    norms = np.linalg.norm(rows, axis=(1, 2))
    for width in (1, 2):
        numbers = np.array([i for i, t in enumerate(templates) if t.basis.shape[1] == width], int)
        if not len(numbers):
            continue
        basis = np.stack([templates[i].basis for i in numbers])
        for part in _chunks(len(rows), basis.size // basis.shape[1] * rows.shape[2]):
            cosines = (
                np.sqrt(_strongest_mix(rows[part], basis))
                / np.where(norms[part] > 0, norms[part], 1)[:, None]
            )
            top = cosines.argmax(axis=1)
            value = cosines[np.arange(len(top)), top]
            is_better = value > best[part]
            which[part] = np.where(is_better, numbers[top], which[part])
            best[part] = np.where(is_better, value, best[part])
    return np.minimum(best, 1.0), which


def _strongest_mix(rows: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(rows, templates) largest squared singular value of basis^T kernel: the best angle and channel mix."""
    templates, pixels, width = basis.shape
    flat = basis.transpose(0, 2, 1).reshape(-1, pixels)
    parts = (flat @ rows).reshape(len(rows), templates, width, -1)
    if width == 1:
        return np.asarray(np.square(parts[:, :, 0]).sum(axis=-1))
    a, b = np.square(parts).sum(axis=-1).transpose(2, 0, 1)
    cross = (parts[:, :, 0] * parts[:, :, 1]).sum(axis=-1)
    return np.asarray((a + b) / 2 + np.sqrt(np.square((a - b) / 2) + np.square(cross)))


def _coordinates(kernel: np.ndarray, template: Template) -> np.ndarray:
    """The best point of a template's span for one kernel (pixels, channels)."""
    vectors = np.linalg.svd(template.basis.T @ kernel)[0]
    return vectors[:, 0]


def _chunks(count: int, numbers: int) -> list[slice]:
    size = max(1, _CHUNK_NUMBERS // max(numbers, 1))
    return [slice(i, i + size) for i in range(0, count, size)]


def null_of(found: Found, shape: tuple[int, ...], samples: int, seed: int, families: Any) -> np.ndarray:
    """(samples, families) similarities of random kernels, remembered for the library's own families."""
    if samples < 19:
        raise ArgumentError(f"samples must be at least 19, for p-values down to 5 %; got {samples!r}.")
    if isinstance(families, dict):
        return _random_similarities(found, shape, samples, seed)
    size = next(iter(found.values()))[0].filters.shape[1:]
    return _remembered(size, tuple(found), shape, samples, seed)


@lru_cache(maxsize=32)
def _remembered(
    size: tuple[int, ...], names: tuple[str, ...], shape: tuple[int, ...], samples: int, seed: int
) -> np.ndarray:
    return _random_similarities(templates_for(size, names)[0], shape, samples, seed)


def _random_similarities(found: Found, shape: tuple[int, ...], samples: int, seed: int) -> np.ndarray:
    """The search on kernels of independent normal numbers: every direction is as likely as every other."""
    random = np.random.default_rng(seed).standard_normal((samples, *shape))
    return best_cosines(random, found)[0]


def p_values_of(similarity: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(1 + random kernels at least as similar) / (1 + random kernels), family by family."""
    ordered = np.sort(null, axis=0)
    below = [np.searchsorted(ordered[:, i], similarity[:, i]) for i in range(null.shape[1])]
    return (1 + len(null) - np.stack(below, axis=1)) / (1 + len(null))


def best_family(
    similarity: np.ndarray, p_values: np.ndarray, null: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(p-value, number) of the family that chance explains least.

    Ties go to the family that lies closest to 1, measured from its baseline. The p-value compares with random
    kernels that choose their best family too.
    """
    middle = np.median(null, axis=0)
    excess = (similarity - middle) / np.maximum(1 - middle, 1e-12)
    order = np.lexsort((-excess, p_values), axis=1)[:, 0]
    smallest = p_values.min(axis=1)
    # A random kernel counts itself among those that are as similar, as a kernel under test does.
    chance = (p_values_of(null, null) - 1 / (1 + len(null))).min(axis=1)
    reached = (chance[None, :] <= smallest[:, None] + 1e-12).sum(axis=1)
    return (1 + reached) / (1 + len(null)), order
