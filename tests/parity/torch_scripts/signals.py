"""A net on signals of one axis: dilated convolutions, residual additions in place, AdamW and clipping."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.parity.torch_scripts.pictures import labelled


class Block(nn.Module):
    def __init__(self, channels, dilation):
        super().__init__()
        # NOTE: no bias before a normalisation: its gradient is rounding, which Adam makes a whole step.
        self.conv1 = nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm1d(channels), nn.GroupNorm(4, channels)
        self.conv2 = nn.Conv1d(channels, channels, 3, padding="same", groups=2)
        self.act, self.drop = nn.ReLU(inplace=True), nn.Dropout(0.1)

    def forward(self, x):
        y = self.drop(self.act(self.norm1(self.conv1(x))))
        y = self.norm2(self.conv2(y))
        y += x
        return self.act(y)


class Signals(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(2, 16, 7, stride=2, padding=3), nn.ELU(), nn.MaxPool1d(2))
        self.blocks = nn.Sequential(*[Block(16, 2**i) for i in range(3)])
        self.head = nn.Sequential(nn.AdaptiveAvgPool1d(4), nn.Flatten(), nn.Linear(64, 6))

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


def train(prepare, steps=50, batch=16):
    torch.manual_seed(4)
    loader = DataLoader(TensorDataset(*labelled(steps * batch, (2, 128), 6)), batch, shuffle=True)
    model, criterion = Signals(), nn.CrossEntropyLoss()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01)
    called = prepare(model, optimizer)
    losses = []
    for x, y in loader:
        loss = criterion(called(x), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses
