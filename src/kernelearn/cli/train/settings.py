"""What a training is to do, resolved: options with their defaults filled in, as run.json keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernelearn.cli.networks import file_digest
from kernelearn.cli.train.recipe import default_recipe, part_of_data
from kernelearn.errors import ArgumentError
from kernelearn.parallel import world

if TYPE_CHECKING:
    from kernelearn.data import Data, Dataset


KEEP = "keep"  # in place of a size of --resize: as `kernelearn.data.load` calls it


@dataclass(frozen=True)
class Settings:
    """The resolved options of `kernelearn train`."""

    data: str
    model: str
    epochs: int
    batch_size: int
    optimizer: str
    lr: float | None
    schedule: str
    seed: int
    split_seed: int
    val: Any
    test: Any
    augment: list[str]
    resize: Sequence[int] | str | None
    channels: int | None
    patience: int | None
    engine: str | None
    model_digest: str | None = None
    record: dict[str, Any] | None = None
    policy: str | None = None
    freeze: Sequence[str] = ()
    class_weight: str | None = None
    pad: int | None = None
    finetune: dict[str, Any] | None = None
    shards: int = 1
    transport: str = "float32"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Settings":
        """The settings of a run."""
        return cls(**{field.name: values[field.name] for field in fields(cls) if field.name in values})


def options_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the parameters of a command that say what is trained: each is called as in `Settings`."""
    return {field.name: parameters[field.name] for field in fields(Settings) if field.name in parameters}


def make_settings(given: dict[str, Any]) -> Settings:
    """Settings from the options that were given; None means the default.

    Raises: ArgumentError for a value out of range.
    """
    values = {name: value for name, value in given.items() if value is not None}
    source = located(values["data"])
    recipe = default_recipe(source, "optimizer" in values)
    model = values.get("model", "lenet")
    return Settings(
        data=source,
        model=str(Path(model).resolve()) if Path(model).exists() else model,
        epochs=values.get("epochs", recipe.epochs),
        batch_size=values.get("batch_size", recipe.batch_size),
        optimizer=values.get("optimizer", "adam"),
        lr=values.get("lr", recipe.lr),
        schedule=values.get("schedule", recipe.schedule),
        seed=values.get("seed", 0),
        split_seed=values.get("split_seed", 0),
        val=part_of_data(values.get("val", "0.1"), "--val"),
        test=part_of_data(values.get("test"), "--test"),
        augment=words(values.get("augment", recipe.augment)),
        resize=sizes(values.get("resize")),
        channels=values.get("channels"),
        patience=values.get("patience"),
        engine=values.get("engine"),
        model_digest=file_digest(model),
        record=values.get("record"),
        policy=values.get("policy"),
        freeze=words(values.get("freeze")),
        class_weight=values.get("class_weight"),
        pad=values.get("pad"),
        finetune=values.get("finetune"),
        shards=world.shards_of(values.get("shards")),
        transport=values.get("transport", "float32"),
    )


def located(source: str) -> str:
    """A path made absolute, so that a run can be resumed from elsewhere; names as they are."""
    path = Path(source).expanduser()
    return str(path.resolve()) if source != "digits" and path.exists() else source


def words(text: str | None) -> list[str]:
    """ "flip, crop" -> ["flip", "crop"]."""
    return [word.strip() for word in (text or "").split(",") if word.strip() and word.strip() != "none"]


def sizes(text: str | None) -> tuple[int, int] | str | None:
    """ "32" or "32x48" (height x width) as two ints; "keep" as it is.

    Raises: ArgumentError for anything else.
    """
    if text is None or text == KEEP:
        return text
    numbers = text.lower().split("x")
    if not 1 <= len(numbers) <= 2 or not all(number.isdigit() and int(number) > 0 for number in numbers):
        raise ArgumentError(
            f"--resize takes a size such as 32 or 32x48 (height x width), or keep; got {text!r}."
        )
    return int(numbers[0]), int(numbers[-1])


def load_data(settings: Settings, source: str | None = None) -> "Data":
    """The data of a training, divided as its settings say.

    Args:
        source: read this instead of the settings' own source.
    """
    from kernelearn.data import load

    loaded = load(
        source or settings.data,
        validation=settings.val or 0.0,
        test=settings.test,
        seed=settings.split_seed,
        resize=as_resize(settings.resize),
        channels=settings.channels,
    )
    return loaded.padded(settings.pad, by_size=True) if settings.pad else loaded


def as_resize(kept: Sequence[int] | str | None) -> tuple[int, int] | str | None:
    """`--resize` as `load` takes it, from what a file holds of it."""
    return kept if kept is None or isinstance(kept, str) else (kept[0], kept[1])


def load_parts(settings: Settings) -> "dict[str, Dataset]":
    """The parts of the data of a training that can be looked at: "train", "validation", "test"."""
    return parts_of(load_data(settings))


def parts_of(data: "Data") -> "dict[str, Dataset]":
    """Role -> part, streams left out: what they give is not there to be looked at."""
    from kernelearn.data import Dataset

    return {role: part for role, part in data.parts().items() if isinstance(part, Dataset)}
