"""A U-Net that finds discs: skip connections, transposed convolutions, two losses, Adam."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.parity.torch_modules import conv_bn
from tests.parity.torch_scripts.pictures import discs


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = conv_bn(1, 8), conv_bn(8, 16), conv_bn(16, 32)
        self.pool, self.up2, self.up1 = (
            nn.MaxPool2d(2),
            nn.ConvTranspose2d(32, 16, 2, 2),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        )
        self.conv2, self.conv1, self.out = conv_bn(32, 16), conv_bn(24, 8), nn.Conv2d(8, 1, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(self.pool(a))
        c = self.up2(self.middle(self.pool(b)))
        c = self.conv2(torch.cat([b, c], dim=1))
        return self.out(self.conv1(torch.cat([a, self.up1(c)], dim=1)))


def dice_loss(logits, masks):
    found = torch.sigmoid(logits)
    common = (found * masks).sum((1, 2, 3))
    return 1 - ((2 * common + 1) / (found.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)).mean()


def train(prepare, steps=50, batch=8):
    torch.manual_seed(3)
    images, masks = discs(64, 32)
    model = UNet()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    called = prepare(model, optimizer)
    losses = []
    for step in range(steps):
        take = torch.arange(step * batch, (step + 1) * batch) % len(images)
        logits = called(images[take])
        loss = F.binary_cross_entropy_with_logits(logits, masks[take]) + dice_loss(logits, masks[take])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
