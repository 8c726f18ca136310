"""`kernelearn explain maps`, `field`, `patches`, `saliency`: what kernels see, and why a class is chosen."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kernelearn.cli.explain.answers import CSV, DATA, FIGURE, JSON, LAYER, PLACE, STEP, Explained, deliver
from kernelearn.errors import ArgumentError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from kernelearn.cli.sources import Source
    from kernelearn.explain.sight.attributions import Attribution
    from kernelearn.explain.sight.class_maps import GradCAM
    from kernelearn.models import Model

_IMAGES = Annotated[int, typer.Option(min=1, help="Images to look at: the first of the data.")]
_OWN = Annotated[
    list[Path] | None,
    typer.Option("--image", help="A picture of your own, or a folder of them; may be repeated."),
]
_METHODS = ("gradient", "gradient_times_input", "smooth_grad", "integrated_gradients", "grad_cam")


def maps(
    place: PLACE,
    layer: Annotated[str | None, typer.Option(help="Name of the layer. [default: all with maps]")] = None,
    step: STEP = None,
    data: DATA = None,
    image: _OWN = None,
    images: _IMAGES = 8,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """Feature maps: what the kernels of a layer give for images.

    With --layer, JSON holds the maps themselves. The images are the probe images of the recording, or the
    first of the data.

    **Examples**

    - `kernelearn explain maps runs/demo --layer conv1 --figure maps.png`
    - `kernelearn explain maps runs/demo --step 0 --data photos/ --images 4`
    """
    from kernelearn.cli.sources import open_source
    from kernelearn.explain.sight.maps import feature_maps

    source = open_source(place)
    model = source.model(step)
    x, _ = some_images(source, model, image, data, images)
    found = feature_maps(model, x, layer)
    table = found.table()

    def drawn() -> "Figure":
        from kernelearn.view import plot_feature_maps

        return plot_feature_maps(next(iter(found.values())), x, next(iter(found)))

    content = {"images": len(x), "layers": table.to_dict(), "maps": found if layer else {}}
    deliver(Explained([table], content, drawn), figure, json, csv)


def some_images(
    source: "Source", model: "Model", own: list[Path] | None, data: str | None, count: int
) -> "tuple[np.ndarray, np.ndarray | None]":
    """(images, labels or None): the pictures named, the first of the data named, or of what the run knows.

    That is its probe images, or its own data. Pictures of another size are stretched.
    """
    import numpy as np

    from kernelearn.cli.pictures import load_pictures, picture_paths
    from kernelearn.cli.sources import images_of

    if own:
        if data is not None:
            raise ArgumentError("Give --image or --data, not both.")
        pictures = load_pictures(model, picture_paths(own), resize=True)
        if isinstance(pictures, list):
            raise ArgumentError("Give pictures of one size with --image: they are looked at together.")
        return pictures, None
    probes = None if source.run is None or data is not None else source.run.probe_images
    if isinstance(probes, np.ndarray):
        return probes[:count], None
    dataset = images_of(source, data)
    return dataset.subset(range(min(count, len(dataset)))).arrays()


def field(
    place: PLACE,
    layer: Annotated[str | None, typer.Option(help="Name of the layer. [default: all]")] = None,
    unit: Annotated[
        str | None, typer.Option(help="Position such as 2,3 in the layer's map. [default: the middle]")
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="Height x width x channels, for a network of any size.")
    ] = None,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """Receptive fields: which pixels a unit can see, from the geometry alone.

    **Examples**

    - `kernelearn explain field runs/demo`
    - `kernelearn explain field runs/demo --layer conv2 --unit 0,0 --figure field.png`
    """
    from kernelearn.cli.sources import open_source, usual_shape, weight_of
    from kernelearn.cli.summary import sizes_of_image
    from kernelearn.explain.sight.fields import receptive_field, receptive_fields

    source = open_source(place)
    model = source.model()
    shape = usual_shape(source, model) if input_shape is None else sizes_of_image(input_shape)
    at = None if unit is None else [int(i) for i in weight_of(unit)]
    table = receptive_fields(model, input_shape=shape)
    names = table["layer"] if layer is None else [layer]
    fields = [receptive_field(model, name, at, input_shape=shape) for name in names]
    if layer is not None:
        table = fields[0].table()

    def drawn() -> "Figure":
        from kernelearn.view import plot_receptive_fields

        return plot_receptive_fields(fields)

    deliver(Explained([table], table.to_dict(), drawn), figure, json, csv)


def patches(
    place: PLACE,
    layer: LAYER = None,
    step: STEP = None,
    filters: Annotated[str | None, typer.Option(help="Numbers such as 0,3,5. [default: all]")] = None,
    top: Annotated[int, typer.Option(min=1, help="Patches per filter.")] = 5,
    data: DATA = None,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """The parts of images to which the kernels of a layer respond most.

    **Examples**

    - `kernelearn explain patches runs/demo --layer conv2 --filters 0,1,2 --figure patches.png`
    - `kernelearn explain patches runs/demo --data photos/ --top 9`
    """
    from kernelearn.cli.sources import images_of, open_source, weight_of
    from kernelearn.explain.kernel.source import first_convolution
    from kernelearn.explain.sight.patches import top_patches

    source = open_source(place)
    model = source.model(step)
    chosen = None if filters is None else [int(i) for i in weight_of(filters)]
    path = layer or first_convolution(model)
    found = top_patches(model, path, images_of(source, data), chosen, top)

    def drawn() -> "Figure":
        from kernelearn.view import plot_patches

        return plot_patches(found)

    notes = [f"{found.images_seen:,} images looked at; one patch of an image at most."]
    deliver(Explained([found.table()], found.to_dict(), drawn, notes=notes), figure, json, csv)


def saliency(
    place: PLACE,
    method: Annotated[str, typer.Option(help=f"{', '.join(_METHODS[:-1])} or grad_cam.")] = "gradient",
    layer: Annotated[
        str | None,
        typer.Option(help="Of grad_cam: its maps are weighed. [default: the last convolution]"),
    ] = None,
    target: Annotated[int | None, typer.Option(min=0, help="Class. [default: the highest]")] = None,
    step: STEP = None,
    data: DATA = None,
    image: _OWN = None,
    images: _IMAGES = 6,
    figure: FIGURE = None,
    json: JSON = None,
    csv: CSV = None,
) -> None:
    """Which pixels the score of a class depends on.

    **Examples**

    - `kernelearn explain saliency runs/demo --figure saliency.png`
    - `kernelearn explain saliency runs/demo --method grad_cam --target 3`
    - `kernelearn explain saliency runs/demo --image my.png --figure saliency.png`
    """
    from kernelearn.cli.sources import open_source
    from kernelearn.errors import unknown_name

    if method not in _METHODS:
        raise unknown_name("saliency method", method, _METHODS)
    source = open_source(place)
    model = source.model(step)
    x, labels = some_images(source, model, image, data, images)
    found = _attributed(model, x, method, target, layer)

    def drawn() -> "Figure":
        from kernelearn.view import plot_attribution

        return plot_attribution(found, x, model.metadata.get("class_names"))

    deliver(Explained([found.table(labels)], found.to_dict(labels), drawn), figure, json, csv)


def _attributed(
    model: "Model", x: "np.ndarray", method: str, target: int | None, layer: str | None
) -> "Attribution | GradCAM":
    from kernelearn.explain.sight.attributions import integrated_gradients, saliency, smooth_grad
    from kernelearn.explain.sight.class_maps import grad_cam

    if method == "grad_cam":
        return grad_cam(model, x, layer, target)
    if layer is not None:
        raise ArgumentError("--layer belongs to --method grad_cam; the other methods explain the output.")
    functions: dict[str, Callable] = {
        "smooth_grad": smooth_grad,
        "integrated_gradients": integrated_gradients,
    }
    if method in functions:
        return functions[method](model, x, target)
    return saliency(model, x, target, method=method)
