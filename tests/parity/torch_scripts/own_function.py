"""A step function in the middle of a net, with a gradient of its own (straight through), and its own loss."""

import torch
from torch import nn

from tests.parity.torch_scripts.pictures import labelled


class Binarise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sign(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * (x.abs() <= 1)


class Binary(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.fc = nn.Linear(8 * 49, 6)

    def forward(self, x):
        x = torch.tanh(self.norm1(self.conv1(x)))
        x = Binarise.apply(x)
        x = nn.functional.hardtanh(self.norm2(self.conv2(x)), inplace=True)
        return self.fc(x.flatten(1))


def hinge(scores, labels):
    signs = 2 * nn.functional.one_hot(labels, scores.shape[1]) - 1
    return (1 - signs * scores).clamp(min=0).pow(2).mean()


def train(prepare, steps=50, batch=16):
    torch.manual_seed(10)
    x, y = labelled(256, (1, 16, 16), 6)
    model = Binary()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    called = prepare(model, optimizer)
    losses = []
    for step in range(steps):
        take = torch.arange(step * batch, (step + 1) * batch) % len(x)
        optimizer.zero_grad()
        loss = hinge(called(x[take]), y[take])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
