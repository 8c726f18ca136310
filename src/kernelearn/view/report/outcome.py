"""Right and wrong in the report: which classes are taken for which, and the worst mistakes."""

from __future__ import annotations

import numpy as np

from kernelearn.view.report.markup import Html, join, paragraph, scrolling, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.pictures import image_pixels, img

_MISTAKES = 12
_MOST_CLASSES = 30


def section(m: Material) -> Html:
    """The confusion matrix and the mistakes that the network was surest of."""
    probabilities = np.asarray(m.model.predict(m.images, verbose=0), np.float64)
    labels = np.asarray(m.labels).astype(np.int64).ravel()
    found, share = _decided(probabilities)
    right = int((found == labels).sum())
    words = paragraph(
        f"The network with its last recorded weights, on {len(labels):,} images that come with their class: "
        f"{right:,} right, {len(labels) - right:,} wrong ({100 * right / len(labels):.2f} % right)."
    )
    return join([words, _matrix(m, labels, found), _mistakes(m, labels, found, share)])


def _decided(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(class found, what the network gave it) of every image; one number is the probability of class 1."""
    flat = probabilities.reshape(len(probabilities), -1)
    if flat.shape[1] == 1:
        flat = np.concatenate([1 - flat, flat], axis=1)
    found = flat.argmax(axis=1)
    return found, flat[np.arange(len(flat)), found]


def _matrix(m: Material, labels: np.ndarray, found: np.ndarray) -> Html:
    count = int(max(labels.max(), found.max())) + 1
    if count > _MOST_CLASSES:
        return paragraph(f"{count} classes are too many for a table of them all.", class_="note")
    counts = np.zeros((count, count), np.int64)
    np.add.at(counts, (labels, found), 1)
    wrong = counts - np.diag(np.diag(counts))
    most = int(wrong.max()) or 1
    names = [m.class_name(i) for i in range(count)]
    head = tag(
        "tr", tag("th", "class \u2193 taken for \u2192"), *(tag("th", name, scope="col") for name in names)
    )
    rows = [
        tag(
            "tr",
            tag("th", names[i], scope="row"),
            *(_cell(int(n), i == j, most) for j, n in enumerate(counts[i])),
        )
        for i in range(count)
    ]
    caption = tag("caption", "Images of each class (rows) by the class that the network found (columns)")
    return scrolling(tag("table", caption, tag("thead", head), tag("tbody", *rows), class_="cm"))


def _cell(count: int, is_right: bool, most: int) -> Html:
    if is_right:
        return tag("td", f"{count:,}", class_="hit")
    if not count:
        return tag("td", "\u00b7")
    return tag("td", f"{count:,}", class_="miss", style=f"--t:{10 + 40 * count / most:.0f}%")


def _mistakes(m: Material, labels: np.ndarray, found: np.ndarray, share: np.ndarray) -> Html:
    wrong = np.flatnonzero(found != labels)
    if not len(wrong):
        return paragraph("No image was taken for another class.")
    order = wrong[np.argsort(-share[wrong], kind="stable")][:_MISTAKES]
    cells = [
        tag(
            "td",
            img(image_pixels(np.asarray(m.images[i])), f"image {i}", 56),
            tag("br"),
            f"{m.class_name(labels[i])} \u2192 {m.class_name(found[i])}",
            tag("br"),
            f"{100 * share[i]:.1f} %",
        )
        for i in order
    ]
    caption = tag("caption", "The mistakes it was surest of: class \u2192 what it said, and how sure it was")
    return scrolling(tag("table", caption, tag("tbody", tag("tr", *cells)), class_="strip"))
