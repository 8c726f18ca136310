"""Every operator that the engine inside PyTorch takes, forward and backward, against PyTorch in float64.

    python -m pytest tests/parity/live_torch_backend_rules.py

How many are left to PyTorch is said, too: none, but for the views among them.
"""

import itertools

import pytest

torch = pytest.importorskip("torch")

from tests.parity.torch_backend_cases import ACTIVATIONS, FAMILIES, Family  # noqa: E402
from tests.parity.torch_backend_check import Share, compared, on_engine, wrong  # noqa: E402
from tests.parity.torch_modules import MODULES  # noqa: E402
from tests.parity.torch_scripts.own_function import Binary  # noqa: E402

MAY_STAY = {
    "a view of an input",
    "a result that is a view of another",
    "it has nothing to do with the images",
}
# What makes the numbers by which entries are chosen.
NUMBERS = {"aten.lift_fresh_copy.default", "aten.arange.start_step", "aten.detach.default"}
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize("name", FAMILIES)
def test_rules(name):
    torch.manual_seed(0)
    module = Family(name)
    ours, eager, share = compared(module, module.inputs())
    assert not wrong(ours, eager)
    assert not share.refused
    assert {reason for name, reason in share.left.items() if name not in NUMBERS} <= MAY_STAY, share.left
    assert share.taken >= len(module.cases)


def test_slopes_at_kinks_are_pytorchs():
    module = Family("activations")
    grid = torch.arange(-7, 7.25, 0.25).repeat(4, 1)
    ours, eager, share = compared(module, [grid] * len(module.cases))
    assert not wrong(ours, eager)
    assert share.taken >= len(module.cases)


def test_what_is_no_number_stays_none():
    """And infinities become what they become in PyTorch, where that is a number."""
    x = torch.tensor([[float("nan"), float("inf"), float("-inf"), 0.5], [1.0, -1.0, float("nan"), 0.0]])
    module, share = Family("activations"), Share()
    found = on_engine(module, share)(*[x] * len(ACTIVATIONS))
    assert share.taken >= len(ACTIVATIONS)
    for number, (y, exact) in enumerate(zip(found, module(*[x] * len(ACTIVATIONS)))):
        is_told = ~(exact.isnan() & x.isinf())  # PyTorch's gelu of infinity is none
        torch.testing.assert_close(
            y[is_told], exact[is_told], equal_nan=True, msg=lambda m, n=number: f"case {n}: {m}"
        )


@pytest.mark.parametrize("training", [True, False])
def test_a_function_of_the_users_own_splits_the_graph(training):
    module = Binary().train(training)
    ours, eager, share = compared(module, [torch.randn(5, 1, 16, 16)])
    assert not wrong(ours, eager)
    assert not share.refused
    assert (share.graphs, share.taken) == (2, 8)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["vit_tiny", "vit_products", "ConvNeXt"])
def test_attention_and_channels_last(name, training):
    make, example = MODULES[name]
    torch.manual_seed(0)
    ours, eager, share = compared(make().train(training), [torch.randn(3, *example[1:])])
    assert not wrong(ours, eager)
    assert not share.refused
    assert share.taken > 25


class Tokens(torch.nn.Module):
    """A class token, positions, and a thing that is repeated for all images."""

    def __init__(self):
        super().__init__()
        self.conv, self.token = torch.nn.Conv2d(3, 4, 2, 2), torch.nn.Parameter(torch.randn(1, 1, 4))
        self.places, self.head = torch.nn.Parameter(torch.randn(1, 10, 4)), torch.nn.Linear(4, 3)

    def forward(self, x):
        y = self.conv(x).flatten(2).transpose(1, 2)
        y = torch.cat([self.token.expand(y.shape[0], -1, -1), y], 1) + self.places
        y = torch.cat([self.token.repeat(x.size(0), 1, 1), y], 1)
        return self.head(y[:, 0] + y.mean(1) + self.token[0, 0].expand(x.size(0), 4))


@pytest.mark.parametrize("training", [True, False])
def test_one_thing_for_all_images(training):
    ours, eager, share = compared(Tokens().train(training), [torch.randn(5, 3, 6, 6)])
    assert not wrong(ours, eager)
    assert not share.refused
    assert set(share.left.values()) <= MAY_STAY, share.left
    module, share = Tokens(), Share()
    called = on_engine(module, share)
    for count in (5, 3, 7):  # compiled for one number of images, then for any
        x = torch.randn(count, 3, 6, 6)
        torch.testing.assert_close(called(x), module(x))
    assert share.graphs == 2


class Switching(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 5, 1)

    def forward(self, x):
        x = torch.relu(self.a(x))
        with torch.no_grad():
            size = self.b(x).abs().mean()
            with torch.enable_grad():
                more = x * 2
        return torch.tanh(self.b(x)) / (size + 1) + more.mean()


@pytest.mark.parametrize("gradients", [True, False])
def test_switches_split_the_graph(gradients):
    module, x = Switching(), torch.randn(4, 3, 6, 6)
    if gradients:
        ours, eager, share = compared(module, [x])
        assert not wrong(ours, eager)
    else:
        share = Share()
        with torch.no_grad():
            torch.testing.assert_close(on_engine(module, share)(x), module(x))
    assert not share.refused
    assert share.taken >= 3


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_entries_that_may_see_nothing(value):
    """And numbers that are none, under pooling with holes."""
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    x = torch.randn(2, 1, 3, 4)
    share, attend = Share(), torch.nn.functional.scaled_dot_product_attention
    found = on_engine(lambda x, m: attend(x, x, x, m), share)(x, mask)
    torch.testing.assert_close(found, attend(x, x, x, mask))
    assert share.taken == 1
    maps = torch.randn(2, 3, 7, 7)
    maps[0, 0, 3, 3] = maps[1] = value
    share = Share()
    pool = lambda x: torch.nn.functional.max_pool2d(x, 3, 2, 1, dilation=2)  # noqa: E731
    torch.testing.assert_close(on_engine(pool, share)(maps), pool(maps), equal_nan=True)
    assert share.taken == 1


def test_dropout_draws_what_eager_draws():
    """All kinds of it, between other random numbers; with the same seed the same numbers are dropped."""
    torch.manual_seed(0)
    module = Dropping().train()
    ours, eager, share = compared(module, [torch.randn(4, 3, 6, 5)], seed=11)
    assert not wrong(ours, eager)
    assert not share.refused
    assert share.taken >= 7


class Dropping(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = torch.nn.Conv2d(3, 6, 3), torch.nn.Conv2d(6, 4, 1)
        self.drop, self.whole = torch.nn.Dropout(0.4), torch.nn.Dropout2d(0.3)

    def forward(self, x):
        x = self.whole(torch.relu(self.drop(self.a(x))))
        x = self.b(x) * torch.bernoulli(torch.full((4, 1, 1), 0.9, dtype=x.dtype))
        x = torch.nn.functional.dropout(x, 0.5, self.training)
        return torch.nn.functional.dropout(x, 1.0, self.training) + x


class Attending(torch.nn.Module):
    """A convolution, attention as `nn.MultiheadAttention` has it, and a product behind it."""

    def __init__(self, cross=False, batch_first=True, told=None, mask=None, padded=False, **settings):
        super().__init__()
        self.conv, self.head = torch.nn.Conv2d(3, 8, 2, 2), torch.nn.Linear(8, 3)
        self.attend = torch.nn.MultiheadAttention(8, 2, batch_first=batch_first, **settings)
        self.cross, self.told, self.padded = cross, told or {}, padded
        self.register_buffer("mask", mask)

    def forward(self, x):
        y = self.conv(x).flatten(2).transpose(1, 2)
        other = y[:, 2:] * 2 if self.cross else y
        options = dict(self.told)
        if self.mask is not None:
            options["attn_mask"] = self.mask[:, : other.shape[1]]
        if self.padded:
            options["key_padding_mask"] = x[:, 0, 0, :1] + torch.arange(other.shape[1]) > 6.5
        if not self.attend.batch_first:
            y, other = y.transpose(0, 1), other.transpose(0, 1)
        other = other if self.attend.kdim == 8 else other[..., : self.attend.kdim]
        z, shares = self.attend(y, other, other, **options)
        if not self.attend.batch_first:
            z, y = z.transpose(0, 1), y.transpose(0, 1)
        return self.head(y + z), shares


TRIANGLE = torch.ones(9, 9).triu(1).bool()
ATTENDING = {
    "places first": {"batch_first": False},
    "cross": {"cross": True},
    "cross, without shares": {"cross": True, "told": {"need_weights": False}, "bias": False},
    "other sizes": {"kdim": 6, "vdim": 6, "cross": True},
    "mask": {"mask": TRIANGLE},
    "causal": {"mask": TRIANGLE, "told": {"need_weights": False, "is_causal": True}},
    "added": {"mask": torch.linspace(-2, 2, 81).reshape(9, 9)},
    "padded, mask, without shares": {"padded": True, "mask": TRIANGLE, "told": {"need_weights": False}},
    "dropout": {"dropout": 0.4},
    "dropout without shares": {"dropout": 0.4, "told": {"need_weights": False}},
    "dropout, causal": {
        "dropout": 0.3,
        "mask": TRIANGLE,
        "told": {"need_weights": False, "is_causal": True},
    },
    "dropout, padded": {"dropout": 0.3, "padded": True, "mask": TRIANGLE, "told": {"need_weights": False}},
}
# What attention is made of, none of which may stay with PyTorch.
PRODUCTS = ("linear.default", "matmul.default", "bmm.default", "baddbmm.default")
OTHERS = (
    "softmax.int",
    "scaled_dot_product_attention.default",
    "transpose.int",
    "dropout.default",
    "mean.dim",
)
INSIDE = {f"aten.{name}" for name in (*PRODUCTS, *OTHERS)}
AS_IT_IS = {"extra": {"add_bias_kv": True}, "zeros": {"add_zero_attn": True}}


class Beside(torch.nn.Module):
    """Several modules of the same images."""

    def __init__(self, modules):
        super().__init__()
        self.all = torch.nn.ModuleList(modules)

    def forward(self, x):
        return [module(x) for module in self.all]


def test_attention_of_modules():
    torch.manual_seed(1)
    module = Beside([Attending(**settings) for settings in ATTENDING.values()])
    ours, eager, share = compared(module, [torch.randn(4, 3, 6, 6)], seed=5)
    assert not wrong(ours, eager)
    assert not share.refused
    assert share.left.keys().isdisjoint(INSIDE), share.left
    assert share.taken > 15 * len(ATTENDING)


def test_attention_that_is_left_as_it_is():
    torch.manual_seed(1)
    module = Beside([Attending(**settings) for settings in AS_IT_IS.values()])
    ours, eager, share = compared(module, [torch.randn(4, 3, 6, 6)])
    assert not wrong(ours, eager)
    assert share.taken >= 2 * len(AS_IT_IS)


@pytest.mark.parametrize("needs", [True, False])
@pytest.mark.parametrize("kind", ["conditions", "numbers"])
def test_masks_of_each_image_and_head(kind, needs):
    """They come as (images * heads, rows, columns); the axis of the images is taken apart by PyTorch."""
    torch.manual_seed(2)
    attend, first = torch.nn.MultiheadAttention(8, 2, 0.3, batch_first=True), torch.nn.Linear(6, 8)
    mask = torch.rand(6, 5, 5) > 0.4 if kind == "conditions" else torch.randn(6, 5, 5)
    mask = mask & ~torch.eye(5, dtype=torch.bool) if kind == "conditions" else mask

    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.attend = first, attend

        def forward(self, x, mask):
            y = torch.tanh(self.first(x))
            z, told = self.attend(y, y, y, attn_mask=mask, need_weights=needs)
            return torch.tanh(z), told

    ours, eager, share = compared(Masked(), [torch.randn(3, 5, 6), mask], seed=3)
    assert not wrong(ours, eager)
    assert not share.refused
    left = {"matmul.default", "scaled_dot_product_attention.default", "softmax.int"}
    assert share.left.keys().isdisjoint({f"aten.{name}" for name in left}), share.left


@pytest.mark.parametrize("mask", [None, "conditions", "numbers"])
@pytest.mark.parametrize("is_causal", [True, False])
def test_shares_of_attention_that_are_dropped(is_causal, mask):
    """As a function, a row that may see nothing among them; seeds mean what they mean in eager mode."""
    if is_causal and mask:
        pytest.skip("PyTorch takes one of the two")
    given = {None: None, "conditions": torch.rand(2, 1, 5, 5) > 0.5, "numbers": torch.randn(2, 1, 5, 5)}[mask]
    if mask == "conditions":
        given[0, 0, 1] = False

    def attended(q, k, v):
        q, k, v = torch.tanh(q), torch.tanh(k) @ torch.eye(4), torch.tanh(v)
        f = torch.nn.functional.scaled_dot_product_attention
        return f(q, k, v, given, 0.4, is_causal, scale=0.7)

    share = Share()
    called = on_engine(attended, share)
    q, k, v = (torch.randn(2, 3, 5, 4, requires_grad=True) for _ in range(3))
    found = []
    for function in (called, attended):
        torch.manual_seed(9)
        y = function(q, k, v)
        found.append((y, *torch.autograd.grad(y.square().sum(), (q, k, v))))
    for a, b in zip(*found):
        torch.testing.assert_close(a, b)
    assert not share.refused and not any("attention" in name for name in share.left), share.left


def test_attention_of_any_number_of_images_and_for_predictions():
    told = ({}, {"need_weights": False}, {"average_attn_weights": False})
    module, share = Beside([Attending(told=each) for each in told]), Share()
    called = on_engine(module, share)
    for count in (4, 3, 7):
        x = torch.randn(count, 3, 6, 6)
        torch.testing.assert_close(called(x), module(x))
    assert share.graphs == 2
    module.eval()
    with torch.inference_mode():
        torch.testing.assert_close(called(x), module(x))
    assert not share.refused
    assert set(share.left.values()) <= MAY_STAY, share.left


def layer(activation, norm_first):
    return torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0, activation, 1e-4, True, norm_first)


def test_layers_of_transformers():
    torch.manual_seed(0)
    layers = [layer(*each) for each in itertools.product(("relu", "gelu"), (True, False))]
    module = torch.nn.Sequential(*layers)
    ours, eager, share = compared(module, [torch.randn(4, 5, 8)])
    assert not wrong(ours, eager)
    assert not share.refused and share.taken > 60
    assert set(share.left.values()) <= MAY_STAY, share.left
    share, x = Share(), torch.randn(3, 5, 8)
    module.eval()
    with torch.inference_mode():
        torch.testing.assert_close(on_engine(module, share)(x), module(x))
    assert not share.refused and share.taken > 60


class Sequences(torch.nn.Module):
    """Words or vectors with their places in front, and the ends that such models have."""

    def __init__(self, dropout=0.0, words=None):
        super().__init__()
        self.embed = torch.nn.Embedding(words, 8) if words else torch.nn.Linear(6, 8)
        self.places = torch.nn.Parameter(0.1 * torch.randn(9, 1, 8))
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, dropout)
        self.decode = torch.nn.TransformerDecoderLayer(8, 2, 16, dropout)
        self.conv, self.head = torch.nn.Conv1d(8, 4, 3), torch.nn.Linear(8, 3)

    def forward(self, x, padding=None):
        y = self.embed(x) * 2 + self.places[: x.shape[0]]
        y = self.decode(y[2:], self.layer(y, src_key_padding_mask=padding))
        maps = torch.relu(self.conv(y.permute(1, 2, 0)))
        return self.head(y[0]), self.head(y.mean(0)), maps, torch.cat((y, y[..., :] * 2))


def test_models_whose_images_come_second():
    torch.manual_seed(0)
    module, share = Sequences(), Share()
    ours, eager, share = compared(module, [torch.randn(7, 4, 6)])
    assert not wrong(ours, eager)
    assert not share.refused and share.left.keys().isdisjoint(INSIDE - {"aten.transpose.int"}), share.left


class Inside(torch.nn.Module):
    """Images in front outside; inside, places in front of them, and queries, keys and values."""

    def __init__(self):
        super().__init__()
        self.conv, self.qkv, self.head = (
            torch.nn.Conv2d(3, 8, 2, 2),
            torch.nn.Linear(8, 24),
            torch.nn.Linear(8, 3),
        )
        self.layer = torch.nn.TransformerEncoderLayer(8, 2, 16, 0.3)

    def forward(self, x):
        y = self.layer(self.conv(x).flatten(2).permute(2, 0, 1)).permute(1, 0, 2)
        n, places, _ = y.shape
        q, k, v = self.qkv(y).reshape(n, places, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        z = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        return self.head(y + z.transpose(1, 2).reshape(n, places, 8)).view(n, -1)


def test_images_that_are_not_in_front_for_a_while():
    torch.manual_seed(0)
    ours, eager, share = compared(Inside(), [torch.randn(4, 3, 6, 6)], seed=2)
    assert not wrong(ours, eager)
    assert not share.refused and share.left.keys().isdisjoint({*INSIDE, "aten.unbind.int"}), share.left


def test_any_number_of_images_that_come_second():
    torch.manual_seed(0)
    module, share = Sequences(dropout=0.3, words=11), Share()
    called = on_engine(module, share)
    for count in (4, 6, 3, 7):
        words = torch.randint(11, (7, count))
        found = []
        for function in (called, module):
            torch.manual_seed(count)
            module.zero_grad()
            results = function(words)
            sum(y.square().mean() for y in results).backward()
            found.append((*results, *(p.grad.clone() for p in module.parameters())))
            assert [y.stride() for y in results] == [y.stride() for y in found[0][: len(results)]]
        torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)
    assert share.graphs == 2 and not share.refused
    called(words, torch.arange(7).repeat(count, 1) > 5)
    module.eval()
    with torch.inference_mode():
        torch.testing.assert_close(called(words), module(words))
    assert not share.refused


def test_dropout_behind_attention_draws_what_eager_draws():
    """What attention gives lies in memory in an order that is not that of its axes."""
    torch.manual_seed(0)
    module = torch.nn.TransformerEncoderLayer(8, 2, 16, 0.3, batch_first=True)
    ours, eager, share = compared(module, [torch.randn(4, 5, 8)], seed=3)
    assert not wrong(ours, eager)
    assert not share.refused


def test_sums_that_are_left_as_they_are():
    sizes = {"n": 3, "c": 4, "h": 4, "w": 4, "k": 2, "d": 3, "i": 4, "j": 4, "1": 1}
    given = {
        "nchw->nc": "nchw",
        "ii,nij->nj": "ii,nij",
        "nchw,nc": "nchw,nc",
        "nchw,kc,kd->ndhw": "nchw,kc,kd",
        "...c,kc->...k": "nwc,kc",
        "nchw,kc->knhw": "nchw,kc",
        "nchw,khw->nck": "nchw,k1w",  # what is there once is repeated
    }
    tensors = [[torch.randn([sizes[c] for c in each]) for each in said.split(",")] for said in given.values()]

    def sums(*groups):
        return [torch.relu(torch.einsum(equation, *each)) for equation, each in zip(given, groups)]

    share = Share()
    torch.testing.assert_close(on_engine(sums, share)(*tensors), sums(*tensors))
    assert not share.refused


class Choosing(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 1)
        self.register_buffer("places", torch.tensor([3, 0]))

    def forward(self, x):
        return torch.relu(self.conv(x))[:, self.places] * 2


def test_places_from_the_end_and_places_that_are_none():
    model, share = Choosing(), Share()
    called = on_engine(model, share)
    x = torch.randn(2, 3, 4, 4)
    for places in ([3, 0], [-1, 0], [1, 1]):
        model.places.copy_(torch.tensor(places))
        torch.testing.assert_close(called(x), model(x))
    model.places.copy_(torch.tensor([4, 0]))
    with pytest.raises(IndexError, match="out of"):
        called(x)
    assert share.taken == 4
