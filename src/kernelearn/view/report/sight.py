"""What kernels see: receptive fields, feature maps, best patches, saliency and Grad-CAM of a few images."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import KernelearnError
from kernelearn.explain.choices import filters_that_moved_most
from kernelearn.explain.sight.attributions import saliency
from kernelearn.explain.sight.class_maps import grad_cam
from kernelearn.explain.sight.fields import receptive_field, receptive_fields
from kernelearn.explain.sight.maps import feature_maps
from kernelearn.explain.sight.patches import top_patches
from kernelearn.view.families import ACTIVATIONS, ERRORS, Family
from kernelearn.view.report.decimals import brief
from kernelearn.view.report.markup import Html, join, paragraph, scrolling, table_of, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.pictures import (
    data_uri,
    flat_picture,
    grey_pixels,
    img,
    map_picture,
)
from kernelearn.view.report.svg import LOOKS

_CHANNELS, _IMAGES, _PATCHES, _FILTERS = 12, 4, 6, 8


def section(m: Material) -> Html:
    """All parts; one that cannot be made says why."""
    parts = [("Receptive fields", _fields), ("Feature maps", _maps), ("Best patches", _patches)]
    parts.append(("Why this class?", _why))
    return join([_part(m, title, make) for title, make in parts])


def _part(m: Material, title: str, make: Any) -> Html:
    try:
        content = make(m)
    except KernelearnError as error:
        content = paragraph(str(error), class_="missing")
    return join([tag("h3", title), content])


def displayed(images: np.ndarray) -> list[np.ndarray]:
    """Images as bytes, (h, w) or (h, w, 3): channels first are turned, rows of features become lines."""
    values = np.asarray(images, np.float64)
    while values.ndim < 4:
        values = values[:, None] if values.ndim < 3 else values[..., None]
    values = values.reshape(len(values), -1, *values.shape[-2:]) if values.ndim > 4 else values
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        values = (values - low) / ((high - low) or 1.0)
    return [grey_pixels(v if v.shape[-1] == 3 else v[..., 0]) for v in values]


def _fields(m: Material) -> Html:
    found = receptive_fields(m.model, input_shape=m.image_shape)
    words = paragraph(
        "Which pixels a unit can see follows from the geometry alone. Size is the window in pixels, jump how "
        "far it moves from unit to unit, share how much of the image the unit in the middle sees."
    )
    parts = [words, table_of(found, "")]
    layers = [layer for layer in m.some_convolutions if layer in found["layer"]]
    fields = [receptive_field(m.model, layer, input_shape=m.image_shape) for layer in layers]
    if fields and all(len(one.image_size) == 2 for one in fields):
        parts.append(_frames(m, fields))
    return join(parts)


def _frames(m: Material, fields: list[Any]) -> Html:
    """The windows of the convolutions over one image, as SVG."""
    height, width = fields[0].image_size
    low = min(0, *(min(one.start) for one in fields)) - 1
    high = max(*fields[0].image_size, *(max(one.stop) for one in fields)) + 1
    line = (high - low) / 130
    body = [tag("title", "Receptive fields over an image")]
    if m.probes is not None and m.probes.ndim == 4 and m.probes.shape[1:3] == (height, width):
        place = {"x": 0, "y": 0, "width": width, "height": height}
        body.append(tag("image", href=data_uri(displayed(m.probes[:1])[0]), class_="pixels", **place))
    body.append(tag("rect", x=0, y=0, width=width, height=height, class_="outline", stroke_width=2 * line))
    for number, one in enumerate(fields):
        body.append(
            tag(
                "rect",
                x=one.start[1],
                y=one.start[0],
                width=one.size[1],
                height=one.size[0],
                class_=f"field k{number % LOOKS}",
                stroke_width=2 * line,
            )
        )
    span = high - low
    picture = tag("svg", *body, viewBox=f"{low} {low} {span} {span}", class_="fields", role="img")
    legend = [
        tag("span", tag("i", class_=f"key k{n % LOOKS}"), f"{one.layer}: {sizes(one.size)}")
        for n, one in enumerate(fields)
    ]
    words = tag("b", "Unit in the middle of each convolution; what lies beside the image is padding.")
    return tag("figure", picture, tag("figcaption", words, tag("span", *legend, class_="legend")))


def sizes(numbers: Any) -> str:
    """3 x 3."""
    return " \u00d7 ".join(map(str, numbers))


def _maps(m: Material) -> Html:
    if m.probes is None:
        return paragraph("No images are known to show the maps of.", class_="missing")
    images = m.probes[:_IMAGES]
    found = feature_maps(m.model, images, list(m.some_convolutions))
    shown = displayed(images)
    blocks = [_map_table(layer, maps, shown) for layer, maps in found.items()]
    words = paragraph(
        "What the kernels of a layer answer to an image, after the activation: one column per channel, the "
        "twelve with the largest answers. Green is positive, brown negative; one range per layer."
        f"{m.which_layers()}"
    )
    return join([words, *blocks])


def _map_table(layer: str, maps: np.ndarray, images: list[np.ndarray]) -> Html:
    values = np.asarray(maps, np.float64)
    strength = np.abs(values).max(axis=tuple(range(values.ndim - 1)))
    channels = sorted(np.argsort(-strength, kind="stable")[:_CHANNELS].tolist())
    limit = float(np.abs(values).max())
    rows = []
    for number, image in enumerate(images):
        cells = [
            map_picture(
                flat_picture(values[number, ..., c]),
                limit,
                ACTIVATIONS,
                f"{layer} channel {c}, image {number}",
                48,
            )
            for c in channels
        ]
        rows.append(tag("tr", tag("td", img(image, f"image {number}", 48)), *(tag("td", c) for c in cells)))
    head = tag("tr", tag("th", "image"), *(tag("th", str(c), scope="col") for c in channels))
    caption = tag(
        "caption", f"{layer}: {len(channels)} of {values.shape[-1]} channels, up to {brief(limit, 3)}"
    )
    content = tag("table", caption, tag("thead", head), tag("tbody", *rows), class_="strip")
    return scrolling(content)


def _patches(m: Material) -> Html:
    images = m.images if m.images is not None else m.probes
    if images is None:
        return paragraph("No images are known to search for patches.", class_="missing")
    words = paragraph(
        f"The parts of {len(images):,} images to which filters answer most, strongest first, at most one of "
        "an image. Below each: the answer and the number of the image among those searched."
        f"{m.which_layers()}"
    )
    blocks = []
    for layer, name in m.some_convolutions.items():
        count = m.model.get_layer(layer).output.shape[-1] or 1
        moved = [f for f in filters_that_moved_most(m.run, layer, _FILTERS, name) if f < count]
        blocks.append(_patch_table(m, top_patches(m.model, layer, images, moved, _PATCHES)))
    return join([words, *blocks])


def _patch_table(m: Material, found: Any) -> Html:
    rows = []
    for number, patches in found.patches.items():
        crops = displayed(np.concatenate([found.crops(number)]))
        cells = [
            tag(
                "td",
                img(crop, f"part of image {one.image}", 52),
                tag("br"),
                brief(one.value, 3),
                tag("br"),
                one.image,
            )
            for crop, one in zip(crops, patches)
        ]
        rows.append(tag("tr", tag("th", f"filter {number}", scope="row"), *cells))
    caption = tag("caption", f"{found.layer}: the {len(rows)} filters that moved farthest")
    content = tag("table", caption, tag("tbody", *rows), class_="strip")
    return scrolling(content)


def _why(m: Material) -> Html:
    if m.probes is None:
        return paragraph("No images are known to explain.", class_="missing")
    images = m.probes[:8]
    slope = saliency(m.model, images, method="gradient_times_input")
    cam = grad_cam(m.model, images)
    maps = slope.maps("sum")
    limit, heat = float(np.abs(maps).max()), float(cam.heatmaps.max())
    rows = [
        _row("image", [img(p, f"image {i}", 64) for i, p in enumerate(displayed(images))]),
        _row("class found", [m.class_name(t) for t in slope.targets]),
        _row("score", [brief(float(s), 3) for s in slope.scores]),
        _row("pixel \u00d7 gradient", [_map(ERRORS, one, limit, "saliency") for one in maps]),
        _row(f"Grad-CAM of {cam.layer}", [_map(ACTIVATIONS, one, heat, "Grad-CAM") for one in cam.heatmaps]),
    ]
    words = paragraph(
        "The class with the highest score is explained. Pixel \u00d7 gradient: red speaks for the class, "
        "blue against it. Grad-CAM: where the maps of the last convolution speak for it. Both are "
        "derivatives; neither says what the network would do without a region."
    )
    content = tag("table", tag("tbody", *rows), class_="strip")
    return join([words, scrolling(content)])


def _row(name: str, cells: list[Any]) -> Html:
    return tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells))


def _map(family: Family, values: np.ndarray, limit: float, words: str) -> Html:
    return tag("span", map_picture(flat_picture(values), limit, family, words, 64), class_="board")
