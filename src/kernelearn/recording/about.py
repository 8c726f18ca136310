"""What a run says of itself as a whole: its model, the classes of its data, the shapes of all weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True)
class RunAbout:
    """The part "about" of a manifest.

    Attributes:
        model: config of the model, or None.
        metadata: what the model was told about its data.
        class_names: in the order of the class numbers; None if they have no names.
        weights: path of every weight of the model -> its shape.
        size: numbers in all weights of the model; infinite if the run does not say.
        engine, policy: that it was trained with.
    """

    model: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    weights: Mapping[str, Shape] = field(default_factory=dict)
    size: float = math.inf
    engine: str | None = None
    policy: str | None = None

    @classmethod
    def from_manifest(cls, values: Mapping[str, Any], recorded: Mapping[str, Shape]) -> RunAbout:
        """What a manifest says.

        Args:
            recorded: path -> shape of the recorded weights, for a run that does not name its weights.
        """
        names = values.get("class_names")
        shapes = {path: tuple(shape) for path, shape in (values.get("weights") or {}).items()}
        return cls(
            model=values.get("model"),
            metadata=dict(values.get("metadata") or {}),
            class_names=None if names is None else tuple(str(name) for name in names),
            weights=shapes or dict(recorded),
            size=sum(map(math.prod, shapes.values())) if shapes else math.inf,
            engine=values.get("engine"),
            policy=values.get("policy"),
        )

    def to_record_all(self, layer: str) -> str:
        """The argument with which every update of a layer is recorded: of a Recorder, or of a watcher.

        >>> RunAbout().to_record_all("conv"), RunAbout(metadata={"program": "PyTorch"}).to_record_all("conv")
        ("full_layers='conv'", 'every=1')
        """
        return "every=1" if "program" in self.metadata else f"full_layers={layer!r}"

    def class_name(self, number: Any) -> str:
        """The name of a class; its number where it has none.

        >>> RunAbout(class_names=("cat", "dog")).class_name(1), RunAbout().class_name(1.0)
        ('dog', '1')
        """
        place = int(number)
        names = self.class_names or ()
        return names[place] if 0 <= place < len(names) else str(place)

    def weights_of(self, layer: str) -> list[str]:
        """Names of the weights of a layer."""
        return [path.rpartition("/")[2] for path in self.weights if path.rpartition("/")[0] == layer]

    def kernel_name(self, layer: str) -> str | None:
        """Name of the first kernel of a layer: "kernel", "depthwise_kernel", ...; None without one.

        >>> RunAbout(weights={"dw/depthwise_kernel": (3, 3, 1, 2), "dw/bias": (2,)}).kernel_name("dw")
        'depthwise_kernel'
        """
        return next((name for name in self.weights_of(layer) if name.endswith("kernel")), None)
