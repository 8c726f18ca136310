"""Random modules of PyTorch, every way in and out: weights to the bit, the rest within rounding.

    python -m pytest tests/parity/live_torch_random.py

200 modules, all but the first twelve marked slow; the whole sweep also asks which operators occurred.
"""

import copy

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import kernelearn as kl
from kernelearn.conversion.torch.reading.table import READERS
from tests.parity.live_torch_conversion import assert_alike
from tests.parity.torch_random import random_module, settled

SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] * (seed >= 12)) for seed in range(200)]
RATE, MOMENTUM, STEPS = 0.05, 0.9, 3
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
met: set[str] = set()


@pytest.fixture(autouse=True)
def _double():
    """Everything in float64, where nothing but its rounding may differ."""
    before = kl.config.floatx()
    kl.config.set_floatx("float64")
    yield
    kl.config.set_floatx(before)


@pytest.fixture(autouse=True)
def _readers(monkeypatch):
    """Note which readers are used."""

    def noted(name, reader):
        return lambda net, call: (met.add(name), reader(net, call))[1]

    for name, reader in list(READERS.items()):
        monkeypatch.setitem(READERS, name, noted(name, reader))


def assert_same_state(found, wanted, but=()):
    """Every number of two state dicts, to the bit."""
    assert set(found) - set(but) == set(wanted) - set(but)
    for key, tensor in wanted.items():
        assert key in but or torch.equal(found[key], tensor), key


def others(module):
    """A module with other weights; what is fixed for good stays."""
    found = copy.deepcopy(module)
    for name, tensor in found.state_dict(keep_vars=True).items():
        if tensor.requires_grad or "running_" in name:
            tensor.data.uniform_(0.5, 1.5)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_there_and_back(seed, tmp_path):
    module = random_module(seed).double()
    example, state = module.example(), module.state_dict()
    model = kl.from_torch(module, torch.randn(example).double(), check=False)
    assert_alike(model, module, example)
    assert_same_state(kl.to_torch_state_dict(model), state)

    back = kl.to_torch(model, check=False)
    assert_alike(model, back, example)
    assert_same_state(back.state_dict(), state)
    again = kl.from_torch(back, torch.randn(example).double(), check=False)
    assert_alike(again, module, example)
    assert_same_state(kl.to_torch_state_dict(again), state)

    files(module, model, tmp_path)
    program(module, state, tmp_path)


def files(module, model, folder):
    """State dicts into a model with other weights, as they are and from files; whole models in files."""
    state, example = module.state_dict(), module.example()
    other = kl.from_torch(others(module), torch.randn(example).double(), check=False)
    torch.save(state, folder / "net.pt")
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / "net.safetensors")
    fresh = [np.array(weight) for weight in other.get_weights()]
    for source in (state, folder / "net.pt", folder / "net.safetensors"):
        other.set_weights(fresh)
        kl.load_torch_state_dict(other, source)
        assert_same_state(kl.to_torch_state_dict(other), state)
    model.save_weights(folder / "again.pt")
    assert_same_state(torch.load(folder / "again.pt", weights_only=True), state)
    for ending in ("safetensors", "kernelearn"):
        model.save(folder / f"model.{ending}")
        loaded = kl.load_model(folder / f"model.{ending}")
        for one, same in zip(loaded.get_weights(), model.get_weights(), strict=True):
            assert np.array_equal(one, same)
        assert_alike(loaded, module, example)


def program(module, state, folder):
    """What torch.export has written, read without PyTorch's unpickler."""
    images = torch.randn((3, *module.example()[1:])).double()
    exported = torch.export.export(module, (images,), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(exported, folder / "net.pt2")
    try:
        model = kl.load_model(folder / "net.pt2")
    except kl.errors.ArgumentError as error:
        assert "taken the attention apart" in str(error)
        return
    assert_alike(model, module, module.example())
    assert_same_state(kl.to_torch_state_dict(model), state)


# --- training


def without_chance(module):
    """Dropout and slopes that are drawn, replaced by what they are on average."""
    for name, part in list(module.named_children()):
        if isinstance(part, nn.modules.dropout._DropoutNd):
            setattr(module, name, nn.Identity())
        elif isinstance(part, nn.RReLU):
            setattr(module, name, nn.LeakyReLU((part.lower + part.upper) / 2))
        else:
            without_chance(part)
    return module


@pytest.mark.parametrize("seed", SEEDS)
def test_three_steps_of_training(seed):
    """SGD with momentum on a squared error; statistics of batches included, in their biased form."""
    module = settled(without_chance(random_module(seed))).double()
    torch.manual_seed(seed + 1)
    x = torch.randn((4, *module.example()[1:])).double()
    with torch.no_grad():
        y = torch.randn_like(module(x))
    model = kl.from_torch(module, x, check=False)
    start = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    wanted, counts = trained_by_torch(module, x, y)
    model.compile(kl.optimizers.SGD(RATE, momentum=MOMENTUM), "mse")
    origin = model.metadata["from_torch"]
    ours_x, ours_y = (
        x.numpy().transpose(*origin["inputs"].values()),
        y.numpy().transpose(origin["outputs"][0]),
    )
    for _ in range(STEPS):
        model.train_on_batch(ours_x, ours_y)
    found = kl.to_torch_state_dict(model)
    for key, there in wanted.items():
        if not there.is_floating_point():
            continue
        here = found[key]
        if key.endswith("running_var"):
            here = as_unbiased(here, start[key], *counts[key.removesuffix("running_var")])
        size = there.abs().max() + 1e-3
        assert (here - there).abs().max() / size < 1e-7, key


def trained_by_torch(module, x, y):
    """State after the steps, and per BatchNorm its momentum and over how many numbers it averages."""
    counts, hooks = {}, []
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):

            def count(part, given, result, name=name):
                counts[f"{name}." if name else ""] = (part.momentum, given[0].numel() // given[0].shape[1])

            hooks.append(part.register_forward_hook(count))
    optimizer = torch.optim.SGD(module.parameters(), RATE, momentum=MOMENTUM)
    module.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.mse_loss(module(x), y).backward()
        optimizer.step()
    for hook in hooks:
        hook.remove()
    return module.state_dict(), counts


def as_unbiased(found, start, momentum, count):
    """A running variance of biased variances, as of unbiased ones: n / (n - 1) times what was added."""
    kept = start * (1 - momentum) ** STEPS
    return kept + (found - kept) * count / (count - 1)


# --- what the sweep covers


class Bicubic(nn.Module):
    def forward(self, x):
        return nn.functional.interpolate(x, (4, 7), mode="bicubic", antialias=True)


# What a network of images is made of: each of these operators has to occur among the random modules.
FOR_EACH_RANK = """conv{}d.default conv{}d.padding conv_transpose{}d max_pool{}d.default
adaptive_avg_pool{}d.default upsample_nearest{}d.vec
_upsample_nearest_exact{}d.vec"""
OTHERS = """relu leaky_relu elu selu celu gelu silu mish sigmoid tanh hardsigmoid hardswish hardtanh softplus
log_sigmoid softshrink hardshrink threshold rrelu prelu softmax log_softmax glu dropout
alpha_dropout feature_dropout batch_norm layer_norm group_norm instance_norm rms_norm linear
multi_head_attention einsum upsample_linear1d upsample_bilinear2d upsample_trilinear3d
upsample_bicubic2d _upsample_bilinear2d_aa pad pixel_shuffle pixel_unshuffle channel_shuffle flatten
transpose movedim cat stack split_with_sizes flip roll repeat_interleave expand where clamp maximum
minimum mean amax amin var std logsumexp logaddexp cumsum add sub mul div pow exp log sqrt rsqrt abs
sin erf square"""


BY_HAND = {
    "adaptive_max_pool3d": (nn.AdaptiveMaxPool3d((2, 3, 1)), (2, 3, 4, 7, 5)),
    "avg_pool1d": (nn.AvgPool1d(3, 2, 1, True, False), (2, 3, 8)),
    "_upsample_bicubic2d_aa": (Bicubic(), (2, 3, 9, 5)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_what_chance_leaves_out(name):
    module, example = BY_HAND[name]
    module = module.double()
    assert_alike(kl.from_torch(module, torch.randn(example).double(), check=False), module, example)
    assert any(one.startswith(name) for one in met)


@pytest.mark.slow
def test_the_sweep_covers_the_table():
    wanted = {name for rank in (1, 2, 3) for name in FOR_EACH_RANK.format(*[rank] * 7).split()}
    wanted |= set(OTHERS.split())
    found = met | {name.split(".")[0].removesuffix("_") for name in met}
    assert not wanted - found
