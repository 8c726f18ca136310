"""Modules of PyTorch as people write them: what conversion is tried on. Name -> (module, example shape)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

MODULES: dict[str, tuple[Callable[[], nn.Module], tuple]] = {}


def module(*shape):
    def enter(make):
        MODULES[make.__name__] = (make, shape)
        return make

    return enter


def conv_bn(inputs, outputs, size=3, stride=1, groups=1, act=nn.ReLU):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        act(inplace=True) if act in (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish) else act(),
    )


@module(1, 1, 28, 28)
class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = x.view(-1, self.num_flat_features(x))
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))

    def num_flat_features(self, x):
        size = 1
        for s in x.size()[1:]:
            size *= s
        return size


@module(1, 3, 32, 32)
class VGG(nn.Module):
    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for v in (8, 8, "M", 16, 16, "M", 24, "M"):
            if v == "M":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(inputs, v, 3, padding=1), nn.BatchNorm2d(v), nn.ReLU(inplace=True)]
                inputs = v
        self.features, self.avgpool = nn.Sequential(*layers), nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(
            nn.Linear(24 * 9, 32),
            nn.ReLU(True),
            nn.Dropout(),
            nn.Linear(32, 32),
            nn.ReLU(True),
            nn.Dropout(0.2),
            nn.Linear(32, 10),
        )

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class BasicBlock(nn.Module):
    def __init__(self, inputs, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(planes), nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or inputs != planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, planes, 1, stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x):
        identity = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    def __init__(self, inputs, planes, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2, self.bn2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = nn.Conv2d(planes, planes * 4, 1, bias=False), nn.BatchNorm2d(planes * 4)
        self.relu, self.downsample = nn.ReLU(inplace=True), None
        if stride != 1 or inputs != planes * 4:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, planes * 4, 1, stride, bias=False), nn.BatchNorm2d(planes * 4)
            )

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, block, blocks, width, expansion):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, self.relu, self.maxpool = (
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        inputs = width
        for i, count in enumerate(blocks):
            planes, made = width * 2**i, []
            for j in range(count):
                made.append(block(inputs, planes, 2 if i and not j else 1))
                inputs = planes * expansion
            setattr(self, f"layer{i + 1}", nn.Sequential(*made))
        self.stages = len(blocks)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(inputs, 7)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))


@module(1, 3, 33, 32)
def resnet18_like():
    return ResNet(BasicBlock, (2, 2, 2), 8, 1)


@module(1, 3, 32, 32)
def resnet50_like():
    return ResNet(Bottleneck, (2, 2), 4, 4)


@module(1, 3, 32, 32)
class MobileNetV2(nn.Module):
    class Inverted(nn.Module):
        def __init__(self, inputs, outputs, stride, expand):
            super().__init__()
            hidden = inputs * expand
            self.use_res_connect = stride == 1 and inputs == outputs
            self.conv = nn.Sequential(
                conv_bn(inputs, hidden, 1, act=nn.ReLU6),
                conv_bn(hidden, hidden, 3, stride, hidden, act=nn.ReLU6),
                nn.Conv2d(hidden, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

        def forward(self, x):
            return x + self.conv(x) if self.use_res_connect else self.conv(x)

    def __init__(self):
        super().__init__()
        I = self.Inverted  # noqa: E741
        self.features = nn.Sequential(
            conv_bn(3, 8, 3, 2, act=nn.ReLU6),
            I(8, 8, 1, 2),
            I(8, 12, 2, 3),
            I(12, 12, 1, 3),
            conv_bn(12, 20, 1),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(20, 5))

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.avgpool, self.fc1, self.fc2 = (
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, 2, 1),
            nn.Conv2d(2, channels, 1),
        )
        self.activation, self.scale = nn.SiLU(), nn.Hardsigmoid()

    def forward(self, x):
        return self.scale(self.fc2(self.activation(self.fc1(self.avgpool(x))))) * x


@module(1, 3, 24, 24)
class EfficientNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv_bn(3, 8, 3, 2, act=nn.SiLU)
        self.block = nn.Sequential(
            conv_bn(8, 16, 1, act=nn.Hardswish),
            conv_bn(16, 16, 5, 2, 16, act=nn.Hardswish),
            SqueezeExcite(16),
            nn.Conv2d(16, 8, 1),
        )
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(F.adaptive_avg_pool2d(self.block(self.stem(x)), 1).squeeze(-1).squeeze(-1))


@module(1, 1, 32, 32)
class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = conv_bn(1, 4), conv_bn(4, 8), conv_bn(8, 16)
        self.pool = nn.MaxPool2d(2)
        self.up2, self.up1 = nn.ConvTranspose2d(16, 8, 2, 2), nn.ConvTranspose2d(8, 4, 4, 2, 1)
        self.conv2, self.conv1, self.out = conv_bn(16, 8), conv_bn(8, 4), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(self.pool(a))
        c = self.middle(self.pool(b))
        c = self.conv2(torch.cat([b, self.up2(c)], dim=1))
        return self.out(self.conv1(torch.cat((a, self.up1(c)), 1)))


@module(1, 2, 21, 19)
class UNetBilinear(nn.Module):
    """Odd sizes: padded back to the skip connection, as the well-known implementation does."""

    def __init__(self):
        super().__init__()
        self.inc, self.down = conv_bn(2, 4), nn.Sequential(nn.MaxPool2d(2), conv_bn(4, 8))
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.conv, self.out = conv_bn(12, 4), nn.Conv2d(4, 1, 1)

    def forward(self, x):
        x1 = self.inc(x)
        x2 = self.up(self.down(x1))
        dy, dx = x1.size()[2] - x2.size()[2], x1.size()[3] - x2.size()[3]
        x2 = F.pad(x2, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return torch.sigmoid(self.out(self.conv(torch.cat([x1, x2], dim=1))))


@module(1, 3, 32, 32)
class DenseNet(nn.Module):
    class Layer(nn.Module):
        def __init__(self, inputs, growth):
            super().__init__()
            self.norm1, self.relu1 = nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)
            self.conv1 = nn.Conv2d(inputs, 2 * growth, 1, bias=False)
            self.norm2, self.relu2 = nn.BatchNorm2d(2 * growth), nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(2 * growth, growth, 3, padding=1, bias=False)

        def forward(self, features):
            x = self.conv1(self.relu1(self.norm1(torch.cat(features, 1))))
            return self.conv2(self.relu2(self.norm2(x)))

    def __init__(self):
        super().__init__()
        self.conv0 = nn.Conv2d(3, 6, 7, stride=2, padding=3, bias=False)
        self.block = nn.ModuleDict({f"layer{i}": self.Layer(6 + 4 * i, 4) for i in range(3)})
        self.trans = nn.Sequential(nn.BatchNorm2d(18), nn.ReLU(), nn.Conv2d(18, 9, 1), nn.AvgPool2d(2, 2))
        self.classifier = nn.Linear(9, 4)

    def forward(self, x):
        features = [self.conv0(x)]
        for layer in self.block.values():
            features.append(layer(features))
        x = F.relu(self.trans(torch.cat(features, 1)), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1))


@module(1, 3, 32, 32)
class ConvNeXt(nn.Module):
    class Block(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
            self.norm, self.act = nn.LayerNorm(dim, eps=1e-6), nn.GELU()
            self.pwconv1, self.pwconv2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
            self.gamma = nn.Parameter(0.5 * torch.ones(dim))

        def forward(self, x):
            y = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
            y = self.gamma * self.pwconv2(self.act(self.pwconv1(y)))
            return x + y.permute(0, 3, 1, 2)

    class Norm2d(nn.Module):
        def __init__(self, dim):
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.rand(dim)), nn.Parameter(torch.rand(dim))

        def forward(self, x):
            u = x.mean(1, keepdim=True)
            s = (x - u).pow(2).mean(1, keepdim=True)
            x = (x - u) / torch.sqrt(s + 1e-6)
            return self.weight[:, None, None] * x + self.bias[:, None, None]

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 4, 4), self.Norm2d(8))
        self.blocks = nn.Sequential(self.Block(8), self.Block(8))
        self.norm, self.head = nn.LayerNorm(8, eps=1e-6), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.stem(x)).mean([-2, -1])))


@module(1, 3, 37, 35)
class SqueezeNet(nn.Module):
    class Fire(nn.Module):
        def __init__(self, inputs, squeeze, expand):
            super().__init__()
            self.squeeze, self.act = nn.Conv2d(inputs, squeeze, 1), nn.ReLU(inplace=True)
            self.expand1x1, self.expand3x3 = (
                nn.Conv2d(squeeze, expand, 1),
                nn.Conv2d(squeeze, expand, 3, padding=1),
            )

        def forward(self, x):
            x = self.act(self.squeeze(x))
            return torch.cat([self.act(self.expand1x1(x)), self.act(self.expand3x3(x))], 1)

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            self.Fire(8, 4, 6),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            self.Fire(12, 4, 8),
        )
        self.classifier = nn.Sequential(
            nn.Dropout(p=0.5), nn.Conv2d(16, 5, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )

    def forward(self, x):
        return torch.flatten(self.classifier(self.features(x)), 1)


@module(1, 3, 32, 32)
class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch1, self.branch3 = conv_bn(3, 4, 1), nn.Sequential(conv_bn(3, 4, 1), conv_bn(4, 6))
        self.branch7 = nn.Sequential(
            nn.Conv2d(3, 4, (1, 7), padding=(0, 3)), nn.Conv2d(4, 4, (7, 1), padding=(3, 0))
        )
        self.proj, self.fc = nn.Conv2d(3, 2, 1), nn.Linear(16, 3)

    def forward(self, x):
        pooled = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        y = torch.cat([self.branch1(x), self.branch3(x), self.branch7(x), self.proj(pooled)], 1)
        y = F.max_pool2d(y, kernel_size=3, stride=2)
        return self.fc(y.mean((2, 3)))


@module(1, 3, 32, 32)
class ShuffleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, 2, 1)
        self.branch = nn.Sequential(
            nn.Conv2d(4, 4, 1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3, 1, 1, groups=4),
            nn.BatchNorm2d(4),
        )
        self.grouped, self.fc = nn.Conv2d(8, 8, 1, groups=2), nn.Linear(8, 3)

    def shuffle(self, x, groups):
        n, c, h, w = x.size()
        return x.view(n, groups, c // groups, h, w).transpose(1, 2).contiguous().view(n, c, h, w)

    def forward(self, x):
        a, b = self.first(x).chunk(2, dim=1)
        x = self.shuffle(torch.cat((a, self.branch(b)), dim=1), 2)
        x = self.shuffle(self.grouped(x), 4)
        return self.fc(x.mean([2, 3]))


class Attention(nn.Module):
    def __init__(self, dim, heads, fused):
        super().__init__()
        self.num_heads, self.scale, self.fused = heads, (dim // heads) ** -0.5, fused
        self.qkv, self.proj = nn.Linear(dim, dim * 3), nn.Linear(dim, dim)

    def forward(self, x):
        B, N, C = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, C // self.num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v)
        else:
            x = ((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1) @ v
        return self.proj(x.transpose(1, 2).reshape(B, N, C))


class ViT(nn.Module):
    class Block(nn.Module):
        def __init__(self, dim, fused):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
            self.attn = Attention(dim, 2, fused)
            self.mlp = nn.Sequential(
                nn.Linear(dim, dim * 2), nn.GELU(), nn.Dropout(0.1), nn.Linear(dim * 2, dim)
            )

        def forward(self, x):
            x = x + self.attn(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    def __init__(self, fused):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, 8, 8, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 8))
        self.pos_embed = nn.Parameter(torch.randn(1, 17, 8))
        self.blocks = nn.Sequential(self.Block(8, fused), self.Block(8, fused))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


@module(1, 3, 32, 32)
def vit_tiny():
    return ViT(True)


@module(1, 3, 32, 32)
def vit_products():
    return ViT(False)


@module(1, 10, 12)
def transformer_encoder():
    layer = nn.TransformerEncoderLayer(12, 3, 16, batch_first=True, norm_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


@module(1, 2, 40)
class Conv1d(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv1d(2, 6, 5, stride=2, padding=2),
            nn.BatchNorm1d(6),
            nn.ReLU(),
            nn.MaxPool1d(3, 2, 1),
            nn.Conv1d(6, 8, 3, dilation=2),
            nn.ELU(0.7),
            nn.AvgPool1d(2),
        )
        self.head = nn.Linear(24, 3)

    def forward(self, x):
        return self.head(self.net(x).flatten(1))


@module(1, 1, 8, 9, 10)
class Conv3d(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.n = nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4, affine=True)
        self.b = nn.ConvTranspose3d(4, 2, 2, 2)
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(16, 3), nn.LogSoftmax(dim=1)
        )

    def forward(self, x):
        x = F.avg_pool3d(F.leaky_relu(self.n(self.a(x)), 0.2), 2)
        return self.head(self.b(x))


@module(1, 1, 28, 28)
class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 4, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(4, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 7 * 7, 6),
        )
        self.decoder = nn.Sequential(
            nn.Linear(6, 8 * 7 * 7),
            nn.ReLU(),
            nn.Unflatten(1, (8, 7, 7)),
            nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(4, 1, 3, stride=2, padding=1, output_padding=1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return self.decoder(self.encoder(x))


@module(1, 3, 12, 12)
class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 5, padding=2), nn.Conv2d(8, 3 * 9, 3, padding=1)
        self.shuffle, self.act = nn.PixelShuffle(3), nn.PReLU(8)

    def forward(self, x):
        y = self.shuffle(self.conv2(self.act(self.conv1(x))))
        return torch.clamp(y + F.interpolate(x, scale_factor=3, mode="nearest"), -1.0, 2.0)


@module(1, 3, 16, 16)
class Generator(nn.Module):
    """Reflection pads and instance norms: style transfer."""

    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, 6, 7),
            nn.InstanceNorm2d(6),
            nn.ReLU(True),
            nn.Conv2d(6, 8, 3, stride=2, padding=1),
            nn.InstanceNorm2d(8, affine=True),
            nn.ReLU(True),
            nn.Upsample(scale_factor=2),
            nn.ReplicationPad2d(1),
            nn.Conv2d(8, 3, 3),
            nn.Tanh(),
        )

    def forward(self, x):
        return self.model(x)


@module(1, 3, 24, 24)
class FPN(nn.Module):
    """Several outputs, in a dict."""

    def __init__(self):
        super().__init__()
        self.c1, self.c2 = conv_bn(3, 4, 3, 2), conv_bn(4, 8, 3, 2)
        self.l1, self.l2, self.head = nn.Conv2d(4, 6, 1), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 2, 3, padding=1)

    def forward(self, x):
        c1 = self.c1(x)
        c2 = self.c2(c1)
        p2 = self.l2(c2)
        p1 = self.l1(c1) + F.interpolate(p2, size=c1.shape[-2:], mode="nearest")
        return {"fine": self.head(p1), "coarse": self.head(p2)}


@module((1, 3, 16, 16), (1, 5))
class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.a, self.b = nn.Conv2d(3, 4, 3, stride=2), nn.Linear(4 * 49, 6), nn.Linear(5, 6)
        self.out = nn.Linear(12, 2)

    def forward(self, image, numbers):
        a = torch.tanh(self.a(self.conv(image).flatten(start_dim=1)))
        return self.out(torch.cat([a, self.b(numbers)], -1))


@module(1, 3, 20, 20)
class NoLinear(nn.Module):
    """All convolutions, strided, dilated, grouped, with the output squeezed."""

    def __init__(self):
        super().__init__()
        self.a, self.b = (
            nn.Conv2d(3, 8, 3, padding=2, dilation=2),
            nn.Conv2d(8, 8, 3, stride=2, dilation=2, groups=4),
        )
        self.c, self.d = nn.Conv2d(8, 16, (2, 4), groups=8), nn.Conv2d(16, 5, (7, 5))

    def forward(self, x):
        x = F.mish(self.b(F.selu(self.a(x))))
        return self.d(F.softplus(self.c(x))).squeeze(3).squeeze(2).softmax(1)


@module(1, 4, 9, 9)
class GatedBlock(nn.Module):
    """Scalars, constants, buffers, and operators instead of modules."""

    def __init__(self):
        super().__init__()
        self.conv, self.register = nn.Conv2d(4, 8, 3, padding="same"), None
        self.register_buffer("mean", torch.rand(1, 4, 1, 1))
        self.register_buffer("std", torch.rand(4, 1, 1) + 0.5)
        self.alpha = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        x = (x - self.mean) / self.std
        a, b = torch.split(self.conv(x), 4, dim=1)
        y = 1 - torch.sigmoid(a) * b * 0.5
        return (y * self.alpha + x.abs().sqrt() - 2 * x).amax(dim=(2, 3))


@module(1, 3, 18, 18)
class Deep(nn.Module):
    """One module used often, and a list of others."""

    def __init__(self):
        super().__init__()
        self.first, self.shared = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1)
        self.heads = nn.ModuleList([nn.Linear(4, k) for k in (2, 3)])
        self.act = nn.LeakyReLU(0.1)

    def forward(self, x):
        x = self.first(x)
        for _ in range(3):
            x = self.act(self.shared(x)) + x
        x = x.amax((2, 3))
        return [head(x) for head in self.heads]


@module(1, 6)
def mlp():
    return nn.Sequential(
        nn.Linear(6, 16),
        nn.BatchNorm1d(16),
        nn.CELU(0.5),
        nn.Linear(16, 8, bias=False),
        nn.LayerNorm(8),
        nn.Softsign(),
        nn.Linear(8, 3),
        nn.Softmax(dim=-1),
    )


@module(1, 2, 15, 14)
def sequential_zoo():
    return nn.Sequential(
        nn.ZeroPad2d((1, 2, 0, 3)),
        nn.Conv2d(2, 6, 3, stride=(2, 1), padding=(1, 0)),
        nn.GroupNorm(3, 6),
        nn.Hardtanh(-0.5, 2),
        nn.Dropout2d(0.3),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.Identity(),
        nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"),
        nn.Threshold(0.1, -0.2),
        nn.MaxPool2d(2, stride=1, padding=1, dilation=2),
        nn.Flatten(),
        nn.BatchNorm1d(240),
        nn.GELU("tanh"),
        nn.Linear(240, 4),
    )
