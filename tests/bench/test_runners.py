"""Every framework computes the same network: the same loss and the same predictions from the same weights."""

import json

import numpy as np
import pytest

from kernelearn.bench.nets import FAMILIES, NETS, expanded, find_net
from kernelearn.bench.nets.blueprint import Blueprint, blueprint_of, load_weights
from kernelearn.bench.runners import digest, load_runner
from kernelearn.bench.sections.conv_layers import LAYERS, PASSES, Conv, inputs_of
from kernelearn.engine.cpu.report import ceilings
from kernelearn.errors import ArgumentError, UnknownNameError
from kernelearn.layers import Conv2D, Conv2DTranspose, DepthwiseConv2D, Dropout, Flatten, Input, MaxPooling2D
from kernelearn.models import Sequential
from tests.bench.helpers import network_task, runner_or_skip
from tests.sweeps import some

PEERS_THAT_TRAIN = (("torch", "train"), ("jax", "train"), ("keras-jax", "fit"))


@pytest.mark.parametrize("name", sorted({**NETS, **FAMILIES}))
def test_blueprints_survive_json(name):
    blueprint = blueprint_of(find_net(name).build())
    again = Blueprint.from_dict(json.loads(json.dumps(blueprint.to_dict())))
    assert again == Blueprint.from_dict(blueprint.to_dict())
    assert again.classes == 10 and again.steps[-1].attrs == {"function": "softmax"}
    assert again.logits().steps == again.steps[:-1]


def test_flops_of_lenet_by_hand():
    """conv 26x26x32 of 3x3x1, conv 11x11x64 of 3x3x32, dense 1600x128, dense 128x10."""
    first = 2 * 26 * 26 * 32 * 9
    rest = 2 * (11 * 11 * 64 * 9 * 32 + 1600 * 128 + 128 * 10)
    blueprint = blueprint_of(find_net("lenet").build())
    assert blueprint.forward_flops() == first + rest
    assert blueprint.training_flops() == 2 * first + 3 * rest


def test_results_are_let_go_after_their_last_use():
    blueprint = blueprint_of(find_net("resnet20").build())
    freed = [n for group in blueprint.last_uses() for n in group]
    assert sorted(freed) == list(range(len(blueprint.steps)))
    for place, group in enumerate(blueprint.last_uses()):
        later = {n for step in blueprint.steps[place + 1 :] for n in step.inputs}
        assert not later & set(group)


@pytest.mark.parametrize(
    "layer", [Dropout(0.5), DepthwiseConv2D(3, depth_multiplier=2), MaxPooling2D(2, padding="same")]
)
def test_layers_that_peers_cannot_build_are_told(layer):
    model = Sequential([Input((8, 8, 2)), layer, Flatten()])
    with pytest.raises(ArgumentError, match=layer.name):
        blueprint_of(model)


def test_ours_trains_fits_and_predicts(tmp_path):
    runner = load_runner("kernelearn", 1)
    first = runner.prepare(network_task(tmp_path)).run(1)
    fit = runner.prepare(network_task(tmp_path, what="fit"))
    fit.ready(1)
    assert fit.run(1) == pytest.approx(first, rel=1e-5)
    fit.ready(3)
    assert fit.run(3) < first  # it does learn
    below, public = (
        runner.prepare(network_task(tmp_path, what="predict", mode=mode)).run(1)
        for mode in ("executable", "")
    )
    assert below == pytest.approx(public, rel=1e-6)


@pytest.mark.parametrize("name", ["lenet", "vgg_small"])
@pytest.mark.parametrize(("framework", "what"), PEERS_THAT_TRAIN)
def test_peers_do_the_same_work(framework, what, name, tmp_path):
    runner = runner_or_skip(framework)
    task = network_task(tmp_path, name, batch=4)
    ours = load_runner("kernelearn", 1).prepare(task)
    theirs = runner.prepare({**task, "what": what})
    theirs.ready(1)
    assert theirs.run(1) == pytest.approx(ours.run(1), rel=1e-4)
    theirs.ready(1)
    assert theirs.run(1) == pytest.approx(ours.run(1), rel=5e-3)  # after an update of all weights


@pytest.mark.parametrize("name", ["lenet", "resnet20"])
@pytest.mark.parametrize("framework", ["torch", "jax", "onnxruntime"])
def test_peers_predict_the_same(framework, name, tmp_path):
    runner = runner_or_skip(framework)
    task = network_task(tmp_path, name, batch=3, what="predict")
    ours = load_runner("kernelearn", 1).prepare({**task, "mode": "executable"}).run(1)
    # NOTE: PyTorch's "same" starts a pixel earlier where the stride is 2.
    tolerance = 0.1 if (framework, name) == ("torch", "resnet20") else 1e-4
    assert runner.prepare(task).run(1) == pytest.approx(ours, rel=tolerance)


# Small inputs of odd sizes, where "same" is symmetric for every stride: all frameworks get the same numbers.
SMALL = {
    "strided": (67, 67, 3), "volumes": (8, 9, 8, 1), "bottleneck": (35, 35, 3), "convnext": (16, 16, 3),
    "resnext": (35, 35, 3), "dilated": (9, 9, 3), "signals": (33, 8), "mobile": (33, 33, 3),
    "perceptron": (20,), "tanh_means": (12, 12, 3), "densenet": (8, 8, 3), "unet": (8, 16, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("framework", "what"), PEERS_THAT_TRAIN)
def test_peers_train_every_kind_alike(framework, what, name, tmp_path):
    runner = runner_or_skip(framework)
    task = network_task(tmp_path, name, 3, SMALL[name], engine="reference")
    ours, theirs = load_runner("kernelearn", 1).prepare(task), runner.prepare({**task, "what": what})
    for tolerance in (1e-4, 2e-2):  # the second one after an update of all weights
        theirs.ready(1)
        assert theirs.run(1) == pytest.approx(ours.run(1), rel=tolerance)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("framework", ["torch", "jax", "onnxruntime"])
def test_peers_predict_every_kind_alike(framework, name, tmp_path):
    runner = runner_or_skip(framework)
    task = network_task(tmp_path, name, 3, SMALL[name], what="predict", engine="reference")
    ours = load_runner("kernelearn", 1).prepare({**task, "mode": "executable"}).run(1)
    assert runner.prepare(task).run(1) == pytest.approx(ours, rel=1e-4)


# Most of it is compiling: of the kinds of layers, each in the tests of the engine.
@pytest.mark.parametrize("name", some(FAMILIES, quick=("volumes", "signals", "perceptron", "tanh_means")))
def test_every_kind_learns_on_the_compiled_engine(name, tmp_path):
    task = network_task(tmp_path, name, 3, SMALL[name], engine="reference")
    runner = load_runner("kernelearn", 1)
    slow, fast = runner.prepare(task), runner.prepare({**task, "engine": "cpu"})
    assert fast.note == ""  # nothing is left to the reference engine
    for _ in range(2):
        assert fast.run(1) == pytest.approx(slow.run(1), rel=1e-2)


def test_all_stands_for_every_network():
    assert expanded(("unet", "all"))[0] == "unet"
    assert sorted(expanded(("all",))) == sorted({**NETS, **FAMILIES}) and SMALL.keys() == FAMILIES.keys()


@pytest.mark.parametrize(
    ("layer", "flops"),
    [
        (Conv2D(4, 3, groups=2), 2 * 9 * 1 * 6 * 6 * 4),
        (Conv2D(4, 3, dilation_rate=2), 2 * 9 * 2 * 4 * 4 * 4),
        (DepthwiseConv2D(3), 2 * 9 * 6 * 6 * 2),
        (Conv2DTranspose(4, 2, strides=2), 2 * 4 * 2 * 8 * 8 * 4),
    ],
)
def test_flops_by_hand(layer, flops):
    assert blueprint_of(Sequential([Input((8, 8, 2)), layer])).forward_flops() == flops


@pytest.mark.parametrize("mode", ["eager", "channels_last"])
@pytest.mark.parametrize("operator", PASSES.values())
def test_peers_convolve(operator, mode, tmp_path):
    runner = runner_or_skip("torch")
    task = {"what": "conv", "operator": operator, "batch": 2, "mode": mode, **vars(Conv(4, 8, 9, stride=2))}
    runner.prepare(task).run(2)


@pytest.mark.parametrize("operator", PASSES.values())
@pytest.mark.parametrize("stride", [1, 2])
def test_ours_convolves(operator, stride):
    layer = vars(Conv(2, 3, 5, stride=stride))
    load_runner("kernelearn", 1).prepare({"what": "conv", "operator": operator, "batch": 2, **layer}).run(2)


def test_labels_and_flops_of_layers():
    assert LAYERS[0].label == "1->32, 28x28, valid" and LAYERS[-1].label == "64->128, 32x32, stride 2"
    assert Conv(1, 32, 28, padding=0).flops(1) == 2 * 9 * 32 * 26 * 26
    assert Conv(64, 128, 32, stride=2).flops(3) == 3 * 2 * 9 * 64 * 128 * 16 * 16


def test_digest_tells_answers_apart():
    assert digest(np.array([[1.0, 0.0], [0.0, 1.0]])) == 0.5
    assert digest(np.array([[0.0, 1.0], [0.0, 1.0]])) == 1.0


def test_weights_are_handed_over_whole(tmp_path):
    network_task(tmp_path)
    stored = load_weights(tmp_path / "lenet.npz")
    model = find_net("lenet").build()
    assert stored.keys() == model.weight_paths().keys()
    assert all(np.array_equal(stored[n], w.numpy()) for n, w in model.weight_paths().items())


def test_training_inputs_are_all_that_the_program_wants():
    model = find_net("lenet").build()
    model.compile("sgd", "sparse_categorical_crossentropy", engine="reference")
    found = inputs_of(model, "train", 2)
    assert np.isfinite(model.step("train").executable.run(found)["loss"])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_kernels_of_the_ceilings_compute(threads):
    task = {"tasks": 3, "megabytes": 1}
    made = {name: make(task) for name, make in ceilings.KERNELS.items()}
    made["copy"].arrays["source"][:] = np.arange(made["copy"].arrays["source"].size)
    for ceiling in made.values():
        ceilings.Loaded(ceiling, threads).run()
    assert np.all(made["fma"].arrays["out"] == 2.0)  # the fixed point of x / 2 + 1
    assert made["read"].arrays["out"].sum() == made["read"].arrays["source"].size
    assert np.array_equal(made["copy"].arrays["out"], made["copy"].arrays["source"])


def test_the_work_of_the_ceilings():
    task = {"tasks": 5, "megabytes": 2}
    lanes = ceilings.fma(task).arrays["out"].shape[-1]
    assert ceilings.work_of("fma", task) == 2 * lanes * ceilings.CHAINS * ceilings.TURNS * 5
    assert ceilings.work_of("read", task) == 2 * 2**20
    assert ceilings.work_of("copy", task) == 4 * 2**20


def test_unknown_names_are_told():
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        load_runner("onnx", 1)
    with pytest.raises(UnknownNameError, match="lenet"):
        find_net("lenett")
