"""Twins: one network sees two pictures, and learns how far they are apart."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.parity.torch_scripts.pictures import labelled


class Twins(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 8, 5, padding=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 16, 3),
            nn.LeakyReLU(0.1, inplace=True),
            nn.AdaptiveMaxPool2d(3),
        )
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(144, 32), nn.PReLU(), nn.Linear(32, 8))

    def once(self, x):
        return F.normalize(self.embed(self.features(x)), dim=1)

    def forward(self, a, b):
        return self.once(a), self.once(b)


def contrastive(a, b, same, margin=1.0):
    distance = F.pairwise_distance(a, b)
    return (same * distance.pow(2) + (1 - same) * F.relu(margin - distance).pow(2)).mean()


def train(prepare, steps=50, batch=16):
    torch.manual_seed(6)
    x, y = labelled(512, (1, 20, 20), 5)
    model = Twins()
    optimizer = torch.optim.RMSprop(model.parameters(), 1e-3)
    called = prepare(model, optimizer)
    losses = []
    for _ in range(steps):
        left, right = torch.randint(len(x), (2, batch))
        optimizer.zero_grad()
        loss = contrastive(*called(x[left], x[right]), (y[left] == y[right]).float())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
