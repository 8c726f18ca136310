"""A backbone that stays as it is, in evaluation mode, and a new head; later its last part learns, too."""

import torch
from torch import nn

from tests.parity.torch_modules import BasicBlock
from tests.parity.torch_scripts.pictures import labelled


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(True))
        self.layer1, self.layer2 = BasicBlock(8, 8), BasicBlock(8, 16, 2)

    def forward(self, x):
        return self.layer2(self.layer1(self.stem(x)))


class Classifier(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 5)
        )

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x):
        return self.head(self.backbone(x))


def train(prepare, steps=50, batch=16):
    torch.manual_seed(7)
    x, y = labelled(256, (3, 24, 24), 5)
    model, criterion = Classifier(Backbone()), nn.CrossEntropyLoss()
    for p in model.backbone.parameters():
        p.requires_grad = False
    groups = [{"params": model.head.parameters()}, {"params": model.backbone.layer2.parameters(), "lr": 1e-3}]
    optimizer = torch.optim.SGD(groups, 0.05, momentum=0.9)
    called = prepare(model, optimizer)
    called.train()
    losses = []
    for step in range(steps):
        if step == steps // 2:
            model.backbone.layer2.requires_grad_(True)
        take = torch.arange(step * batch, (step + 1) * batch) % len(x)
        loss = criterion(called(x[take]), y[take])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
