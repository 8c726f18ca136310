"""Random networks for conversion: modules of PyTorch with every layer and option, and models of ours."""

import random
from typing import Any

import torch
from torch import nn

from kernelearn import Input, Model, layers
from tests.parity.torch_blocks import random_block

ACTIVATIONS = (
    lambda r: nn.ReLU(inplace=r.random() < 0.5),
    lambda r: nn.ReLU6(),
    lambda r: nn.LeakyReLU(r.choice((0.01, 0.2, -0.1))),
    lambda r: nn.ELU(r.choice((1.0, 0.5))),
    lambda r: nn.SELU(),
    lambda r: nn.CELU(r.choice((1.0, 0.7))),
    lambda r: nn.GELU(r.choice(("none", "tanh"))),
    lambda r: nn.SiLU(),
    lambda r: nn.Mish(),
    lambda r: nn.Sigmoid(),
    lambda r: nn.Tanh(),
    lambda r: nn.Hardsigmoid(),
    lambda r: nn.Hardswish(),
    lambda r: nn.Hardtanh(r.choice((-1.0, -0.3, 0.0)), r.choice((1.0, 0.8))),
    lambda r: nn.Softplus(r.choice((1.0, 2.0)), r.choice((20.0, 1.5))),
    lambda r: nn.Softsign(),
    lambda r: nn.LogSigmoid(),
    lambda r: nn.Softshrink(0.2),
    lambda r: nn.Hardshrink(0.3),
    lambda r: nn.Tanhshrink(),
    lambda r: nn.Threshold(0.1, -0.5),
    lambda r: nn.RReLU(0.1, 0.3),
    lambda r: nn.GELU(),
    lambda r: r.choice((nn.Dropout, nn.AlphaDropout, nn.Dropout2d))(0.3),
)


JOINS = {
    "add": lambda a, b: a + b,
    "mul": lambda a, b: a * torch.sigmoid(b),
    "cat": lambda a, b: torch.cat([a, b], 1),
    "": lambda a, b: b,
}


class RandomNet(nn.Module):
    """A chain of random blocks on maps of one to three axes, some around a shortcut, then a head."""

    activations: tuple[Any, ...] = ACTIVATIONS

    def __init__(self, r: random.Random) -> None:
        super().__init__()
        self.rank = r.choice((1, 2, 2, 2, 3))
        high = {1: 24, 2: 14, 3: 8}[self.rank]
        self.sizes = tuple(r.randint(6, high) for _ in range(self.rank))
        self.channels = r.randint(1, 4)
        self.blocks = nn.ModuleList()
        self.shortcuts: list[str] = []
        x = torch.zeros(2, self.channels, *self.sizes)
        for _ in range(r.randint(2, 5)):
            for _ in range(50):
                try:
                    block = self.block(r, x)
                    y = block.eval()(x)
                except (RuntimeError, IndexError):  # a block that these maps are too small for
                    continue
                # A window of nothing but border gives -inf.
                if min(y.shape[2:]) >= 1 and y.numel() < 20_000 and y.isfinite().all():
                    break
            kind = r.choice(("add", "cat", "mul", "")) if y.shape == x.shape else ""
            self.blocks.append(block)
            self.shortcuts.append(kind)
            x = torch.cat([x, y], 1) if kind == "cat" else y
        self.head = self.make_head(r, x)

    def example(self) -> tuple[int, ...]:
        return (2, self.channels, *self.sizes)

    def forward(self, x: Any) -> Any:
        for block, kind in zip(self.blocks, self.shortcuts):
            y = block(x)
            x = JOINS[kind](x, y)
        return self.head(x)

    def block(self, r: random.Random, x: Any) -> nn.Module:
        makers = (
            self.conv,
            self.conv,
            self.conv,
            self.transposed,
            self.pool,
            self.norm,
            self.resize,
            self.border,
            self.function,
            self.function,
        )
        return r.choice(makers)(r, x.shape[1], x.shape[2:])

    def each(self, r: random.Random, low: int, high: int) -> tuple[int, ...]:
        return tuple(r.randint(low, high) for _ in range(self.rank))

    def conv(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        groups = r.choice([g for g in (1, 1, 2, channels) if channels % g == 0])
        size, dilation = self.each(r, 1, 4), self.each(r, 1, 2) if r.random() < 0.3 else 1
        stride = self.each(r, 1, 3) if r.random() < 0.5 else 1
        padding: Any = self.each(r, 0, 2)
        if stride == 1 and r.random() < 0.3:
            padding = "same"
        mode = r.choice(("zeros", "zeros", "reflect", "replicate", "circular"))
        make = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[self.rank - 1]
        if mode == "reflect" and self.rank == 3:
            mode = "zeros"
        made = make(
            channels,
            groups * r.randint(1, 3),
            size,
            stride,
            padding,
            dilation,
            groups,
            r.random() < 0.7,
            mode,
        )
        return nn.Sequential(made, r.choice(self.activations)(r))

    def transposed(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        groups = r.choice([g for g in (1, 1, channels) if channels % g == 0])
        stride = self.each(r, 1, 2)
        extra = tuple(r.randint(0, s - 1) for s in stride)
        make = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[self.rank - 1]
        size, padding = self.each(r, 1, 4), self.each(r, 0, 1)
        return make(
            channels, groups * r.randint(1, 3), size, stride, padding, extra, groups, r.random() < 0.7
        )

    def pool(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        size = self.each(r, 1, 3)
        stride = self.each(r, 1, 3) if r.random() < 0.7 else None
        padding = tuple(r.randint(0, k // 2) for k in size)
        ceil = r.random() < 0.4
        kind = r.choice(("max", "average", "adaptive"))
        if kind == "max":
            make = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)[self.rank - 1]
            return make(size, stride, padding, r.choice((1, 1, 2)), ceil_mode=ceil)
        if kind == "average":
            make = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)[self.rank - 1]
            more = {} if self.rank == 1 else {"divisor_override": r.choice((None, None, 5))}
            return make(size, stride, padding, ceil, r.random() < 0.5, **more)
        makers = (
            (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
            (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        )
        return r.choice(makers)[self.rank - 1](self.each(r, 1, 5))

    def norm(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        affine, eps = r.random() < 0.7, r.choice((1e-5, 1e-2))
        kind = r.choice(("batch", "batch", "instance", "group", "prelu", "layer"))
        if kind == "batch":
            make = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)[self.rank - 1]
            return make(channels, eps, r.choice((0.1, 0.3)), affine)
        if kind == "instance" and min(sizes) > 1:
            return (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)[self.rank - 1](
                channels, eps, affine=affine
            )
        if kind == "group":
            return nn.GroupNorm(
                r.choice([g for g in (1, channels) if channels % g == 0]), channels, eps, affine
            )
        if kind == "layer":
            return nn.LayerNorm([channels, *sizes], eps, affine)
        return nn.PReLU(r.choice((1, channels)), 0.3)

    def resize(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        mode = r.choice(("nearest", "nearest-exact", ("linear", "bilinear", "trilinear")[self.rank - 1]))
        given: dict[str, Any] = {"mode": mode}
        if "linear" in mode:
            given["align_corners"] = r.random() < 0.5
        if r.random() < 0.5:
            return nn.Upsample(size=self.each(r, 3, 9), **given)
        return nn.Upsample(scale_factor=r.choice((2.0, 1.5, 0.7)), **given)

    def border(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        widths = tuple(r.randint(0, 2) for _ in range(2 * self.rank))
        if self.rank == 2 and r.random() < 0.7:
            return r.choice((nn.ReflectionPad2d, nn.ReplicationPad2d, nn.ZeroPad2d, nn.CircularPad2d))(widths)
        make = (nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d)[self.rank - 1]
        return make(widths if r.random() < 0.7 else tuple(-(w > 1) for w in widths), r.choice((0.0, 0.5)))

    def function(self, r: random.Random, channels: int, sizes: Any) -> nn.Module:
        return random_block(r, torch.zeros(1, channels, *sizes))

    def make_head(self, r: random.Random, x: Any) -> nn.Module:
        kind = r.choice(("flatten", "flatten", "mean", "maps"))
        if kind == "maps":
            return (nn.Conv1d, nn.Conv2d, nn.Conv3d)[self.rank - 1](x.shape[1], 2, 1)
        if kind == "mean":
            pool = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)[self.rank - 1](1)
            return nn.Sequential(pool, nn.Flatten(), nn.Linear(x.shape[1], 3), nn.LogSoftmax(1))
        width = x[0].numel()
        middle = r.choice((nn.Identity(), nn.ReLU(), nn.BatchNorm1d(width), nn.PReLU(width)))
        return nn.Sequential(nn.Flatten(), middle, nn.Linear(width, 4, r.random() < 0.7), nn.Softmax(-1))


def random_module(seed: int) -> RandomNet:
    """A random module in eval mode with statistics that are not those of the start."""
    torch.manual_seed(seed)
    net = RandomNet(random.Random(seed)).eval()
    return settled(net)


def settled(net: Any) -> Any:
    """Running statistics and scales as after a training."""
    for part in net.modules():
        if getattr(part, "running_mean", None) is not None:
            part.running_mean.uniform_(-0.3, 0.3)
            part.running_var.uniform_(0.5, 1.5)
        if (
            isinstance(part, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm)
            and part.weight is not None
        ):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.5, 0.5)
    return net


# --- models of ours

NAMED = ("relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid", "tanh")
NAMED += ("softplus", "softsign", "hard_sigmoid", "hard_silu")


def random_model(seed: int) -> Model:
    """A random functional model with every layer that PyTorch has too, and options that it says otherwise."""
    r = random.Random(seed)
    rank = r.choice((1, 2, 2, 2, 3))
    sizes = tuple(r.randint(5, {1: 20, 2: 12, 3: 7}[rank]) for _ in range(rank))
    start = Input((*sizes, r.randint(1, 4)))
    x = start
    for _ in range(r.randint(2, 5)):
        y = _our_block(r, rank, x)
        if y.shape == x.shape and r.random() < 0.5:
            y = r.choice((layers.Add, layers.Multiply, layers.Maximum, layers.Average))()([x, y])
        elif y.shape[:-1] == x.shape[:-1] and r.random() < 0.3:
            y = layers.Concatenate()([x, y])
        x = y
    return Model(start, _our_head(r, rank, x))


def _our_block(r: random.Random, rank: int, x: Any) -> Any:
    small = min(x.shape[1:-1]) < 3
    each = lambda low, high: tuple(r.randint(low, high) for _ in range(rank))  # noqa: E731
    padding = "same" if small else r.choice(("same", "valid"))
    kind = r.choice(("conv", "conv", "depthwise", "separable", "transposed", "pool", "norm", "shape"))
    activation = r.choice((None, *NAMED))
    channels = x.shape[-1]
    if kind == "conv" or (kind in ("depthwise", "separable") and rank == 3):
        groups = r.choice([g for g in (1, channels) if channels % g == 0])
        window = (
            {"strides": each(1, 2)} if r.random() < 0.5 else {"dilation_rate": each(1, 2) if not small else 1}
        )
        size = each(1, 2) if padding == "valid" else each(1, 4)
        return getattr(layers, f"Conv{rank}D")(
            groups * r.randint(1, 3),
            size,
            padding=padding,
            groups=groups,
            activation=activation,
            use_bias=r.random() < 0.7,
            bias_initializer="random_normal",
            **window,
        )(x)
    if kind == "depthwise":
        made = getattr(layers, f"DepthwiseConv{rank}D")
        return made(2, padding=padding, depth_multiplier=r.randint(1, 2), strides=r.randint(1, 2))(x)
    if kind == "separable":
        return getattr(layers, f"SeparableConv{rank}D")(
            r.randint(1, 4), 3, padding="same", activation=activation
        )(x)
    if kind == "transposed":
        if max(x.shape[1:-1]) > 16:
            return x
        strides = each(1, 2)
        extra = r.choice((None, tuple(r.randint(0, s - 1) for s in strides)))
        return getattr(layers, f"Conv{rank}DTranspose")(
            r.randint(1, 3), each(1, 4), strides, padding, output_padding=extra, activation=activation
        )(x)
    if kind == "pool":
        name = r.choice(("MaxPooling", "AveragePooling"))
        size = each(1, 2) if padding == "valid" else each(1, 3)
        return getattr(layers, f"{name}{rank}D")(size, each(1, 3), padding)(x)
    if kind == "norm":
        return r.choice(
            (
                layers.BatchNormalization(
                    momentum=0.8, epsilon=r.choice((1e-3, 1e-5)), scale=r.random() < 0.7
                ),
                layers.BatchNormalization(axis=1),
                layers.LayerNormalization(axis=list(range(-r.randint(1, rank + 1), 0))),
                layers.GroupNormalization(groups=r.choice((1, -1))),
                layers.PReLU(shared_axes=list(range(1, rank + 1)), alpha_initializer="random_normal"),
                layers.LeakyReLU(),
                layers.ReLU(max_value=r.choice((1.0, 6.0))),
                layers.ELU(0.7),
                layers.Softmax(r.choice((-1, 1))),
                layers.Dense(3, activation=activation),
                layers.Dropout(0.2),
            )
        )(x)
    widths = tuple((r.randint(0, 1), r.randint(0, 2)) for _ in range(rank))
    return r.choice(
        (
            lambda v: getattr(layers, f"ZeroPadding{rank}D")(widths if rank > 1 else widths[0])(v),
            lambda v: getattr(layers, f"UpSampling{rank}D")(2)(v) if max(v.shape[1:-1]) < 10 else v,
            lambda v: layers.Permute((*range(2, rank + 2), 1))(v),
            lambda v: layers.Rescaling(0.5, 0.1)(v),
            lambda v: v * 2.0 - 1.0,
        )
    )(x)


def _our_head(r: random.Random, rank: int, x: Any) -> Any:
    kind = r.choice(("flatten", "flatten", "average", "max", "maps"))
    if kind == "maps":
        return layers.Activation("tanh")(x)
    if kind == "flatten":
        x = layers.Dropout(0.1)(layers.Flatten()(x))
        if r.random() < 0.5:
            x = layers.BatchNormalization()(x)
    else:
        x = getattr(layers, f"Global{kind.title()}Pooling{rank}D")(keepdims=False)(x)
    return layers.Dense(3, activation="softmax")(layers.Dense(5, activation="relu")(x))
