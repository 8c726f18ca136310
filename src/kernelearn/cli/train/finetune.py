"""`kernelearn finetune MODEL DATA`: go on with a network that was trained before, on other data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kernelearn.cli.preprocessing import SCALE
from kernelearn.cli.train import options
from kernelearn.cli.train import record_options as recording
from kernelearn.errors import ArgumentError

if TYPE_CHECKING:
    from kernelearn.models import Model

_PANEL = "Transfer"
_RATE_SHARE = 0.1  # of the rate for a network that begins anew: what is there is to be changed a little

_MODEL = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="A run folder, or a file with a model: .kernelearn, .keras, .h5, .onnx, .pt2.",
        show_default=False,
    ),
]
_FREEZE = Annotated[
    str | None,
    typer.Option(help="Freeze the layers up to and including this one.", rich_help_panel=_PANEL),
]
_HEAD = Annotated[bool, typer.Option("--head", help="Train the last layer alone.", rich_help_panel=_PANEL)]
_NEW_HEAD = Annotated[
    bool,
    typer.Option(
        "--new-head", help="Begin the last layer anew, also for as many classes.", rich_help_panel=_PANEL
    ),
]
_GRADUAL = Annotated[
    bool,
    typer.Option(
        "--gradual", help="Train the head first, then release layer after layer.", rich_help_panel=_PANEL
    ),
]
_GRADUAL_EVERY = Annotated[
    int,
    typer.Option(min=1, help="With --gradual: epochs from one release to the next.", rich_help_panel=_PANEL),
]
_RATES = Annotated[
    str | None,
    typer.Option(
        help="Factors of the learning rate: conv*:0.1,head:2; or 0.4: each layer that much slower than the "
        "one behind it.",
        rich_help_panel=_PANEL,
    ),
]
_NO_CACHE = Annotated[
    bool,
    typer.Option(
        "--no-cache", help="Do not store what the frozen layers give for each image.", rich_help_panel=_PANEL
    ),
]


def finetune(
    context: typer.Context,
    model: _MODEL = None,
    data: options.DATA = None,
    freeze: _FREEZE = None,
    head: _HEAD = False,
    new_head: _NEW_HEAD = False,
    gradual: _GRADUAL = False,
    gradual_every: _GRADUAL_EVERY = 1,
    layer_rates: _RATES = None,
    scale: SCALE = None,
    no_cache: _NO_CACHE = False,
    epochs: options.EPOCHS = None,
    batch_size: options.BATCH_SIZE = None,
    optimizer: options.OPTIMIZER = None,
    lr: options.LR = None,
    schedule: options.SCHEDULE = None,
    seed: options.SEED = None,
    augment: options.AUGMENT = None,
    patience: options.PATIENCE = None,
    engine: options.ENGINE = None,
    policy: options.POLICY = None,
    class_weight: options.CLASS_WEIGHT = None,
    val: options.VAL = None,
    test: options.TEST = None,
    split_seed: options.SPLIT_SEED = None,
    resize: options.RESIZE = None,
    pad: options.PAD = None,
    channels: options.CHANNELS = None,
    run: options.FOLDER = None,
    resume: options.RESUME = False,
    overwrite: options.OVERWRITE = False,
    record: recording.RECORD = False,
    shards: options.SHARDS = None,
    transport: options.TRANSPORT = None,
    processes: options.PROCESSES = None,
    quiet: options.QUIET = False,
    as_json: options.AS_JSON = False,
) -> None:
    """Fine-tune a network on other images, and say what was taken over, what is new and what moved.

    A head for the classes of the data takes the place of the last layer where it has to. Size, channels and
    range of the images follow the network; what the file does not say is assumed, and said. The learning rate
    is a tenth of that of `train`, unless the head is trained alone. Ctrl-C saves the run; `--resume` goes on.

    **Examples**

    - `kernelearn finetune runs/demo photos/ --freeze conv2`
    - `kernelearn finetune resnet.keras photos/ --head --class-weight balanced`
    - `kernelearn finetune model.onnx photos/ --gradual --scale imagenet --run runs/tuned`
    - `kernelearn finetune --resume --run runs/tuned`
    - `kernelearn finetune runs/demo photos/ --head --processes 4`
    \f
    Long by its options: typer reads one parameter for each. What follows \f is not in the help.
    """
    from kernelearn.cli.train import processes as several
    from kernelearn.cli.train.command import RESUME, begin, follow, report, resumed
    from kernelearn.cli.train.settings import options_of

    if several.starts_others(processes):
        remedy = RESUME.replace("kernelearn train", "kernelearn finetune")
        raise typer.Exit(several.start(context, processes or 1, remedy))
    if not several.silence_unless_first():
        follow()
        return
    recorded = recording.RecordOptions(record, None, None, None, None, None, None)
    # --freeze is a layer here and no pattern as in `train`: it is among the words of the transfer.
    given = options_of({**locals(), "freeze": None, "record": recorded.recorder_arguments()})
    told = {
        "until": freeze,
        "head_only": head,
        "new_head": new_head,
        "gradual": gradual_every if gradual else None,
        "rates": layer_rates,
        "scale": scale,
        "cache": not no_cache,
    }
    verbose: str | int = 0 if quiet or as_json else "auto"
    if resume:
        _check_resumed(told)
        # What stands before --run is the place where the data lies now, if anything.
        place = {**given, "data": data or model, "model": None}
        report(*resumed(place, run, verbose), as_json)
    else:
        report(*begin(_settled(given, told), run, overwrite, verbose), as_json)


def _check_resumed(told: dict[str, Any]) -> None:
    """Raise ArgumentError for an option that a resumed run has already."""
    defaults = {"head_only": False, "new_head": False, "cache": True}
    if any(value != defaults.get(name) for name, value in told.items()):
        raise ArgumentError("--resume goes on with the options of the run; leave the others out.")


def _settled(given: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """The options of the training, with what follows from the network and what is assumed."""
    from kernelearn.cli import run_folder
    from kernelearn.cli.preprocessing import expected_range, front_layers
    from kernelearn.cli.train.transfer import Plan
    from kernelearn.models import zoo

    if given["model"] is None or given["data"] is None:
        raise typer.BadParameter(
            "Say which network and which data, for example: kernelearn finetune runs/demo photos/"
        )
    if given["model"] in zoo.MODELS and not Path(given["model"]).exists():
        raise ArgumentError(
            f"{given['model']!r} is a network without training: there is nothing to take over. Train it: "
            f"kernelearn train DATA --model {given['model']}"
        )
    network, _ = run_folder.load_trained(Path(given["model"]))
    found = expected_range(network)
    plan = Plan(**{**told, "scale": told["scale"] or found.text})
    front_layers(plan.scale)  # says what is wrong with it
    _say_range(plan.scale, told["scale"] is not None, found.why)
    images = _images_for(network, given)
    rate = {} if given["lr"] is not None or plan.head_only else {"lr": _usual_rate(given)}
    return {**given, **images, **rate, "finetune": plan.to_dict()}


def _say_range(scale: str, is_told: bool, why: str) -> None:
    from kernelearn.cli.output import say

    if is_told:
        return
    reason = f"because {why}" if why else "which is assumed, for the file does not say; see --scale"
    say(f"Range: the network is given images of {scale}, {reason}.", to_stderr=True)


def _images_for(network: "Model", given: dict[str, Any]) -> dict[str, Any]:
    """Size and channels of the images, where the network fixes them and nobody has said others."""
    from kernelearn.cli.output import say
    from kernelearn.cli.run_folder import shape_text

    shape = network.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4:
        raise ArgumentError(f"Fine-tuning takes a network of images; this one takes {shape}.")
    height, width, channels = shape[1:]
    chosen: dict[str, Any] = {}
    if given["resize"] is None and None not in (height, width) and Path(given["data"]).exists():
        chosen["resize"] = f"{height}x{width}"
    elif given["resize"] is None and network.metadata.get("resize") == "keep":
        chosen["resize"] = "keep"
    if given["channels"] is None and channels in (1, 3, 4) and Path(given["data"]).exists():
        chosen["channels"] = channels
    if chosen:
        say(f"Images: made {shape_text(shape[1:])}, as the network takes them.", to_stderr=True)
    return chosen


def _usual_rate(given: dict[str, Any]) -> float:
    """A tenth of the learning rate that `train` would take."""
    from kernelearn.cli.train.recipe import default_recipe, usual_rate

    rate = default_recipe(given["data"], given["optimizer"] is not None).lr
    return _RATE_SHARE * (rate if rate is not None else usual_rate(given["optimizer"] or "adam"))
