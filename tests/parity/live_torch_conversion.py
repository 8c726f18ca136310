"""Conversion against the living PyTorch: modules as people write them, random networks, both ways, training.

    python -m pytest tests/parity/live_torch_conversion.py

How many random networks: KERNELEARN_CONVERSION_CASES, 24 by default, 200 for the whole sweep.
"""

import copy
import os
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import kernelearn as kl
from kernelearn import layers
from kernelearn.models import zoo
from tests.parity.our_random import random_model
from tests.parity.torch_modules import MODULES
from tests.parity.torch_random import random_module, settled
from tests.told import texts

CASES = int(os.environ.get("KERNELEARN_CONVERSION_CASES", "24"))
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def shapes_of(example):
    return example if isinstance(example[0], tuple) else (example,)


def inputs_for(example, dtype, images=3):
    """Numbers that float32 holds: data is read in this type."""
    return [torch.randn((images, *shape[1:])).to(dtype) for shape in shapes_of(example)]


def as_ours(tensor, shape):
    """In the order of axes that a tensor of the model has."""
    array = tensor.detach().numpy()
    return array if array.shape[1:] == tuple(shape[1:]) and array.ndim < 4 else np.moveaxis(array, 1, -1)


def listed(found):
    if isinstance(found, dict):
        return list(found.values())
    return list(found) if isinstance(found, list | tuple) else [found]


def predicted(model, tensors):
    orders = model.metadata.get("from_torch", {}).get("inputs", {})
    given = [
        x.numpy().transpose(orders[t.node.layer.name]) if orders else as_ours(x, t.shape)
        for x, t in zip(tensors, model.inputs)
    ]
    return listed(model.predict(given if len(given) > 1 else given[0], verbose=0))


def assert_alike(model, module, example, dtype=torch.float64, bound=1e-11):
    tensors = inputs_for(example, dtype)
    with torch.no_grad():
        expected = listed(module(*tensors))
    found = predicted(model, tensors)
    assert len(found) == len(expected)
    orders = model.metadata.get("from_torch", {}).get("outputs", [None] * len(found))
    for ours, theirs, order in zip(found, expected, orders, strict=True):
        theirs = (
            as_ours(theirs, (None, *ours.shape[1:])) if order is None else theirs.numpy().transpose(order)
        )
        assert ours.shape == theirs.shape
        size = np.abs(theirs).max(initial=0) + 1e-3
        assert np.abs(ours - theirs).max(initial=0) / size < bound


def made(name):
    torch.manual_seed(0)
    make, example = MODULES[name]
    return settled(make().eval()), example


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_users(name, tmp_path):
    """In float64, where nothing but the rounding of float64 may differ; then written to a file, and back."""
    module, example = made(name)
    module = module.double()
    model = kl.from_torch(module, example, check=False)
    assert_alike(model, module, example)
    model.save(tmp_path / "model.kernelearn")
    assert_alike(kl.load_model(tmp_path / "model.kernelearn"), module, example)
    again = kl.to_torch(model, check=False)
    assert_alike(model, again, example)


@pytest.mark.parametrize("name", MODULES)
def test_modules_of_users_in_float32(name):
    """As wide of the float64 result as PyTorch's own float32 is, times ten."""
    module, example = made(name)
    model = kl.from_torch(module, example, check=False)
    tensors = inputs_for(example, torch.float32)
    exact = copy.deepcopy(module).double()
    with torch.no_grad():
        theirs, wanted = listed(module(*tensors)), listed(exact(*[x.double() for x in tensors]))
    for ours, single, double in zip(predicted(model, tensors), theirs, wanted):
        double = as_ours(double, (None, *ours.shape[1:]))
        error = np.abs(as_ours(single, (None, *ours.shape[1:])) - double).max(initial=0)
        assert np.abs(ours - double).max(initial=0) <= 10 * error + 1e-6 * (
            np.abs(double).max(initial=0) + 1e-3
        )


@pytest.mark.parametrize("name", [n for n in MODULES if n not in ("GatedBlock", "UNetBilinear")])
def test_round_trip_gives_the_same_state_dict(name):
    module, example = made(name)
    model = kl.from_torch(module, example, check=False)
    there, back = module.state_dict(), kl.to_torch(model, check=False).state_dict()
    assert set(there) == set(back)
    for key, tensor in there.items():
        assert torch.equal(tensor, back[key]), key
    kl.load_torch_state_dict(model, {k: v + 1 if v.is_floating_point() else v for k, v in there.items()})
    for key, tensor in kl.to_torch_state_dict(model).items():
        assert torch.equal(tensor, there[key] + 1 if tensor.is_floating_point() else there[key])


@pytest.mark.parametrize("seed", range(CASES))
def test_random_modules(seed):
    module = random_module(seed).double()
    model = kl.from_torch(module, torch.randn(module.example()).double(), check=False)
    assert_alike(model, module, module.example())


@pytest.mark.parametrize("seed", range(CASES))
def test_random_models(seed):
    """To PyTorch, whose module predicts the same, and back, with the same weights to the bit."""
    model = random_model(seed)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.name else -0.7
        weight.assign(rng.uniform(low, 1.3, weight.shape))
    module = kl.to_torch(model, check=False)
    shape = model.inputs[0].shape
    tensor = torch.randn(3, shape[-1], *shape[1:-1])
    (ours,) = predicted(model, [tensor])
    with torch.no_grad():
        theirs = as_ours(module(tensor), (None, *ours.shape[1:]))
    assert np.abs(ours - theirs).max() < 1e-4 * (np.abs(theirs).max() + 1e-3)
    back = kl.from_torch(module, (2, *tensor.shape[1:]), check=False)
    (again,) = predicted(back, [tensor])
    assert np.abs(ours - again).max() < 1e-4 * (np.abs(theirs).max() + 1e-3)
    first, second = kl.to_torch_state_dict(model), kl.to_torch_state_dict(back)
    for key, value in first.items():
        if "_counts" not in key and key in second:
            assert torch.equal(value, second[key]), key


@pytest.mark.parametrize(
    "name, shape", [("lenet", (28, 28, 1)), ("vgg_small", (32, 32, 3)), ("resnet20", (32, 32, 3))]
)
def test_zoo(name, shape, tmp_path):
    model = zoo.get(name)(shape, 10)
    module = kl.to_torch(model)
    torch.save(module, tmp_path / "module.pt")
    loaded = torch.load(tmp_path / "module.pt", weights_only=False)
    tensor = torch.randn(2, shape[-1], *shape[:-1])
    with torch.no_grad():
        assert torch.equal(module(tensor), loaded(tensor))
    torch.export.export(module, (tensor,))
    back = kl.from_torch(loaded, tuple(tensor.shape))
    for ours, there in zip(model.get_weights(), back.get_weights(), strict=True):
        assert np.array_equal(ours, there)


# --- training


def trained(model, optimizer, x, y, steps=3):
    model.compile(optimizer, kl.losses.SparseCategoricalCrossentropy(from_logits=True))
    for _ in range(steps):
        model.train_on_batch(x, y)


OPTIMIZERS = {
    "SGD": (lambda: kl.optimizers.SGD(0.05), lambda p: torch.optim.SGD(p, 0.05)),
    "momentum": (
        lambda: kl.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True),
    ),
    "Adam": (lambda: kl.optimizers.Adam(0.01, epsilon=1e-8), lambda p: torch.optim.Adam(p, 0.01, eps=1e-8)),
    "AdamW": (
        lambda: kl.optimizers.AdamW(0.01, weight_decay=0.1, epsilon=1e-8),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1, eps=1e-8),
    ),
}


class Small(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.conv, self.deep = nn.Conv2d(2, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.norm, self.act, self.head = norm, nn.PReLU(4), nn.Linear(4 * 16, 3)

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        return self.head((x + self.deep(x)).flatten(1))


@pytest.mark.parametrize("norm", ["batch", "group", "frozen"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_three_steps_are_those_of_torch(name, norm):
    torch.manual_seed(1)
    make = nn.GroupNorm(2, 4) if norm == "group" else nn.BatchNorm2d(4, momentum=0.25)
    module = settled(Small(make)).double()
    if norm == "frozen":
        module.conv.requires_grad_(False)
    ours, theirs = OPTIMIZERS[name]
    model = kl.from_torch(module, (2, 2, 8, 8))
    x, y = torch.randn(6, 2, 8, 8).double(), torch.arange(6) % 3
    trained(model, ours(), x.permute(0, 2, 3, 1).numpy(), y.numpy())
    optimizer = theirs([p for p in module.parameters() if p.requires_grad])
    module.train()
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    there = module.state_dict()
    for key, tensor in kl.to_torch_state_dict(model).items():
        if "running_var" in key:  # PyTorch's is the unbiased one: 6 images of 4 x 4
            continue
        if not key.endswith("num_batches_tracked"):
            difference = (tensor - there[key]).abs()
            # NOTE: our losses are computed in float32, and Adam makes the most of gradients that are
            # nearly 0.
            assert difference.max() < (2e-3 if name.startswith("Adam") else 1e-6), key
            assert difference.median() < 1e-5, key


def test_running_variance_is_unbiased_there_and_biased_here():
    module = nn.BatchNorm2d(3, momentum=0.25).double()
    model = kl.from_torch(nn.Sequential(module, nn.Flatten()).double(), (2, 3, 2, 2))
    x = torch.randn(2, 3, 2, 2).double()
    module.train()(x)
    model.compile(kl.optimizers.SGD(0.0), "mse")
    model.train_on_batch(x.permute(0, 2, 3, 1).numpy(), np.zeros((2, 12)))
    ours = kl.to_torch_state_dict(model)["0.running_var"] - 0.75
    assert torch.allclose(ours * 8 / 7, module.running_var - 0.75)


# --- refusals


def refused(module, example, *texts):
    with pytest.raises(kl.errors.ArgumentError) as caught:
        kl.from_torch(module, example)
    for text in texts:
        assert text in str(caught.value), str(caught.value)


class F(nn.Module):
    """A module of one function."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs):
        return self.function(self, *inputs)


def test_refusals_name_operator_node_and_module():
    image = (2, 3, 8, 8)
    refused(nn.Sequential(nn.BatchNorm2d(3, momentum=None)), image, "batch_norm", "'0'", "momentum=None")
    refused(nn.BatchNorm2d(3, track_running_stats=False), image, "statistics of the batch")
    refused(F(lambda s, x: torch.linalg.svdvals(x)), image, "svd", "no counterpart")
    refused(F(lambda s, x: nn.functional.dropout(x, 0.5)), image, "dropout", "training=self.training")
    refused(
        F(lambda s, x: nn.functional.max_pool2d(x, 2, return_indices=True)[1] * 1), image, "return_indices"
    )
    refused(F(lambda s, x: x.mean(0, keepdim=True) + x), image, "images")
    refused(F(lambda s, x: x[:1]), image, "images")
    refused(F(lambda s, x: x.view(4, -1)), (2, 3, 8, 8), "images")
    refused(F(lambda s, x: x if x.sum() > 0 else -x), image, "depends on the numbers")
    refused(nn.InstanceNorm2d(3, track_running_stats=True), image, "running statistics")
    refused(nn.ConvTranspose2d(3, 3, 3, 2, dilation=2), image, "dilation")
    table = nn.Embedding(7, 4)
    tied = F(lambda s, x: s.table(x).mean(1) @ s.table.weight.T, table=table)
    refused(tied, torch.zeros(2, 3, dtype=torch.int64), "table.weight", "tied")
    with pytest.raises(kl.errors.ArgumentTypeError):
        kl.from_torch(lambda x: x, image)
    with pytest.raises(kl.errors.ArgumentTypeError):
        kl.from_torch(nn.ReLU(), "image")
    with pytest.raises(kl.errors.ArgumentError):
        kl.from_torch(nn.ReLU(), image, data_format="nchw")


def test_refusals_to_write():
    start = kl.Input((8, 8, 2))
    for layer, text in (
        (layers.LocallyConnected2D(2, 3), "LocallyConnected2D"),
        (layers.PReLU(), "slopes"),
        (layers.UpSampling2D(2, interpolation="bicubic"), "bicubic"),
        (layers.ReLU(threshold=1.0), "threshold"),
        (layers.Activation(lambda x: x * 2), "code of its own"),
    ):
        with pytest.raises(kl.errors.ArgumentError, match=text):
            kl.to_torch(kl.Model(start, layer(start)))
    open_model = kl.Sequential([kl.Input((None, None, 2)), layers.Conv2D(2, 3, 2, padding="same")])
    with pytest.raises(kl.errors.ArgumentError, match="open sizes"):
        kl.to_torch(open_model)


# --- faults that break converters


@pytest.mark.parametrize("size", range(5, 12))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_same_with_stride(size, stride):
    """Padding that follows from the size, the larger half behind: a module of its own in PyTorch."""
    for window in (1, 2, 3, 4, 5):
        x = kl.Input((size, size + 1, 2))
        y = layers.Conv2D(3, window, stride, padding="same")(x)
        y = layers.MaxPooling2D(window, stride, "same")(y)
        model = kl.Model(x, layers.AveragePooling2D(window, stride, "same")(y))
        kl.to_torch(model)  # compares predictions


@pytest.mark.parametrize("window", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_both_ways(window, stride):
    for padding in ("same", "valid"):
        for extra in (None, *range(stride)):
            x = kl.Input((4, 5, 2))
            model = kl.Model(x, layers.Conv2DTranspose(3, window, stride, padding, output_padding=extra)(x))
            kl.from_torch(kl.to_torch(model), (2, 2, 4, 5))
    for pad in range(min(window, 3)):
        for extra in range(stride):
            kl.from_torch(nn.ConvTranspose2d(2, 4, window, stride, pad, extra, groups=2), (2, 2, 4, 5))


def test_pooling_rules():
    """ceil_mode drops windows that start behind; count_include_pad counts borders, not what ceil adds."""
    for size, stride, pad, ceil, counts in [
        (k, s, p, c, i)
        for k in (2, 3)
        for s in (1, 2, 3)
        for p in (0, 1)
        for c in (False, True)
        for i in (False, True)
    ]:
        for n in (5, 6, 7):
            pools = nn.ModuleList(
                [
                    nn.AvgPool2d(size, stride, pad, ceil, counts),
                    nn.MaxPool2d(size, stride, pad, 1, False, ceil),
                ]
            )
            kl.from_torch(F(lambda s, x: [p(x) for p in s.pools], pools=pools).double(), (2, 2, n, n + 1))


def test_flatten_and_its_relatives():
    """Rows of the dense layer stand in channels-last order, however the maps were flattened."""
    flat = {
        "flatten": lambda x: x.flatten(1),
        "view": lambda x: x.view(x.size(0), -1),
        "reshape": lambda x: x.reshape(-1, 3 * 4 * 5),
        "twice": lambda x: x.flatten(2).flatten(1),
        "squeezed": lambda x: x[:, :, :1, :1].squeeze().repeat(1, 20),
        "permuted": lambda x: x.permute(0, 2, 3, 1).flatten(1),
        "joined": lambda x: torch.cat([x.flatten(1)[:, :30], torch.relu(x).flatten(1)[:, 30:]], 1),
    }
    for name, function in flat.items():
        module = F(lambda s, x, f=function: s.head(f(x)), head=nn.Linear(60, 4)).double()
        model = kl.from_torch(module, (2, 3, 4, 5))
        assert_alike(model, module, (2, 3, 4, 5))
        if name in ("flatten", "view", "reshape"):
            assert [type(part).__name__ for part in model.layers[1:]] == ["Flatten", "Dense"]


def test_operations_in_place():
    """What is written into has the new value under all its names."""

    def first(s, x):
        y = torch.relu(x)
        y += 1
        z = y
        z.mul_(2)
        return y + z

    def into_a_view(s, x):
        y = x * 1
        y[:, 0].relu_()
        return y

    for function in (first, into_a_view):
        kl.from_torch(F(function), (2, 3, 4, 4))  # compares predictions


def test_channels_first_and_series():
    module = nn.Conv2d(3, 4, 3).double()
    model = kl.from_torch(module, (2, 3, 8, 9), data_format="channels_first")
    x = torch.randn(2, 3, 8, 9).double()
    assert model.input_shape == (None, 3, 8, 9)
    assert np.allclose(model.predict(x.numpy(), verbose=0), module(x).detach().numpy())
    assert kl.from_torch(nn.Conv1d(3, 4, 3), (2, 3, 8)).input_shape == (None, 8, 3)
    assert kl.from_torch(nn.Linear(8, 4), (2, 3, 8)).input_shape == (None, 3, 8)


def test_names_and_what_is_trained():
    net = nn.Sequential()
    net.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU())
    net.features[0].requires_grad_(False)
    model = kl.from_torch(net, (1, 1, 8, 8))
    assert [layer.name for layer in model.layers[1:]] == ["features.0", "features.1", "features.2"]
    assert not model.get_layer("features.0").trainable and model.get_layer("features.1").trainable
    assert model.get_layer("features.1").epsilon == 1e-5 and model.get_layer("features.1").momentum == 0.9
    assert dict(kl.to_torch(model).named_parameters())["features.0.weight"].requires_grad is False


def test_attention_with_other_arguments():
    for batch_first in (True, False):
        mha = nn.MultiheadAttention(8, 2, batch_first=batch_first, bias=not batch_first)
        if batch_first:
            module = F(lambda s, x: s.mha(x, x, x, need_weights=False)[0], mha=mha)
        else:
            module = F(
                lambda s, x: s.mha(x.transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1))[0].transpose(
                    0, 1
                ),
                mha=mha,
            )
        model = kl.from_torch(module.double(), (2, 5, 8))
        assert "MultiHeadAttention" in [type(layer).__name__ for layer in model.layers]
        assert_alike(model, module, (2, 5, 8))
    masked = F(
        lambda s, q: nn.functional.scaled_dot_product_attention(q, q, q, attn_mask=s.mask, scale=0.3),
        mask=nn.Parameter(torch.rand(5, 5).double(), requires_grad=False),
    )
    assert_alike(kl.from_torch(masked, (2, 2, 5, 8), check=False), masked, (2, 2, 5, 8))


# --- programs of torch.export


def test_programs(tmp_path):
    module, example = made("resnet18_like")
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(module, (torch.randn(2, *example[1:]),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "net.pt2")
    model = kl.load_model(tmp_path / "net.pt2")
    assert_alike(model, module, example, torch.float32, 1e-4)
    fixed = torch.export.export(module, (torch.randn(2, *example[1:]),))
    torch.export.save(fixed, tmp_path / "fixed.pt2")
    with pytest.raises(kl.errors.ArgumentError, match="for 2 images only"):
        kl.load_model(tmp_path / "fixed.pt2")


def test_programs_that_would_run_code(tmp_path):
    import zipfile

    module = nn.Linear(3, 2).eval()
    program = torch.export.export(
        module, (torch.randn(2, 3),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
    )
    torch.export.save(program, tmp_path / "net.pt2")
    kl.load_model(tmp_path / "net.pt2")
    with zipfile.ZipFile(tmp_path / "net.pt2") as source:
        members = {name: source.read(name) for name in source.namelist()}
    changes = [
        ("models/model.json", b"torch.ops.aten.linear.default", b"torch.os.system", "no operator"),
        ("models/model.json", b"torch.ops.aten.linear.default", b"_operator.methodcaller", "no operator"),
        ("models/model.json", b"Symbol('", b"__import__('os').system('", "no plain expression"),
        ("data/weights/model_weights_config.json", b'"use_pickle": false', b'"use_pickle": true', "pickled"),
        ("data/weights/model_weights_config.json", b'"weight_0"', b'"../x"', "file"),
        ("data/weights/model_weights_config.json", b'"as_int": 3', b'"as_int": 300', "reaches over"),
        ("models/model.json", b"{", b"[", "damaged"),
    ]
    for end, old, new, text in changes:
        with zipfile.ZipFile(tmp_path / "bad.pt2", "w", zipfile.ZIP_STORED) as target:
            for name, content in members.items():
                target.writestr(name, content.replace(old, new) if name.endswith(end) else content)
        with pytest.raises(kl.errors.FormatError, match=text):
            kl.load_model(tmp_path / "bad.pt2")


# --- files with weights


def test_files_of_weights(tmp_path):
    module, example = made("LeNet")
    model = kl.from_torch(module, example)
    other = kl.from_torch(MODULES["LeNet"][0](), example)
    torch.save({"epoch": 3, "state_dict": module.state_dict()}, tmp_path / "net.pth")
    assert other.load_weights(tmp_path / "net.pth") == list(other.weight_paths())
    for a, b in zip(model.get_weights(), other.get_weights()):
        assert np.array_equal(a, b)
    other.save_weights(tmp_path / "again.pt")
    MODULES["LeNet"][0]().load_state_dict(torch.load(tmp_path / "again.pt", weights_only=True))
    torch.save(module, tmp_path / "whole.pt")
    with pytest.raises(kl.errors.FormatError, match="code"):
        other.load_weights(tmp_path / "whole.pt")
    with pytest.raises(kl.errors.ArgumentError, match="loading weights"):
        kl.load_model(tmp_path / "net.pth")


def test_safetensors_of_torch(tmp_path):
    from safetensors.torch import save_file

    module, example = made("VGG")
    model = kl.from_torch(MODULES["VGG"][0](), example)
    save_file(module.state_dict(), tmp_path / "pt.safetensors", {"format": "pt"})
    model.load_weights(tmp_path / "pt.safetensors")
    assert_alike(model, module, example, torch.float32, 1e-4)
    save_file(module.state_dict(), tmp_path / "plain.safetensors")
    with pytest.raises(kl.errors.FormatError, match="load_torch_state_dict"):
        model.load_weights(tmp_path / "plain.safetensors")
    kl.load_torch_state_dict(model, tmp_path / "plain.safetensors")
    own = kl.Sequential([kl.Input((8, 8, 3)), layers.Conv2D(4, 3, name="a")])
    with pytest.raises(kl.errors.ArgumentError, match="names do not agree"):
        kl.load_torch_state_dict(own, tmp_path / "plain.safetensors")


def test_pairs_by_names_and_by_order():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    model = kl.Sequential(
        [
            kl.Input((8, 8, 3)),
            layers.Conv2D(4, 3, name="first"),
            layers.BatchNormalization(epsilon=1e-5, name="norm"),
            layers.Flatten(),
            layers.Dense(2, name="out"),
        ]
    )
    with pytest.warns(UserWarning, match="by their order"):
        kl.load_torch_state_dict(model, module.state_dict())
    assert_alike(model, module.eval(), (2, 3, 8, 8), torch.float32, 1e-4)
    pairs = kl.load_torch_state_dict(
        model,
        {f"module.{k}": v for k, v in module.state_dict().items()},
        names={"first": "module.0", "norm": "module.1", "out": "module.3"},
    )
    assert pairs["out/kernel"] == "module.3.weight"
    state = module.state_dict()
    before = model.get_weights()
    for broken, text in (
        ({k: v for k, v in state.items() if k != "3.bias"}, "3.bias"),
        ({**state, "4.weight": torch.zeros(1)}, "4.weight"),
        ({**state, "0.weight": torch.zeros(4, 3, 2, 2)}, "shape"),
    ):
        with pytest.raises((kl.errors.ArgumentError, kl.errors.ShapeError), match=text):
            kl.load_torch_state_dict(kl.from_torch(module, (2, 3, 8, 8), check=False), broken)
        with pytest.raises((kl.errors.ArgumentError, kl.errors.ShapeError)):
            kl.load_torch_state_dict(model, broken)
    for a, b in zip(before, model.get_weights()):
        assert np.array_equal(a, b)
    with pytest.raises(kl.errors.ArgumentError, match="no layers"):
        kl.load_torch_state_dict(model, state, names={"frist": "0"})


def test_the_model_can_be_explained_and_trained():
    module, example = made("resnet18_like")
    model = kl.from_torch(module, example)
    x = np.random.default_rng(0).random((4, 33, 32, 3), np.float32)
    model.compile("adam", kl.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(x, np.arange(4), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert model.feature_maps(x, ["layer1.0.conv1"])[0].shape == (4, 9, 8, 8)
    assert np.isfinite(kl.explain.grad_cam(model, x[:1]).maps).all()


def test_notes_are_told():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = kl.from_torch(module, (1, 1, 8, 8))
    assert any("unbiased" in text for text in texts(caught))
    assert model.metadata["from_torch"]["weights"]["0/kernel"] == "0.weight"
