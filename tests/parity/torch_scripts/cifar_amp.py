"""A ResNet on 32x32 colours with autocast, a schedule, label smoothing and Nesterov momentum."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.parity.torch_modules import BasicBlock
from tests.parity.torch_scripts.pictures import labelled


class ResNet20(nn.Module):
    def __init__(self, width=16, blocks=3, classes=10):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        parts, inputs = [], width
        for stage in range(3):
            for block in range(blocks):
                parts.append(BasicBlock(inputs, width << stage, 2 if stage and not block else 1))
                inputs = width << stage
        self.layers, self.fc = nn.Sequential(*parts), nn.Linear(inputs, classes)

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x)))
        x = self.layers(x)
        return self.fc(x.mean((2, 3)))


def train(prepare, steps=50, batch=16):
    torch.manual_seed(2)
    data = TensorDataset(*labelled(steps * batch, (3, 32, 32)))
    model, criterion = ResNet20(blocks=1), nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=steps)
    called = prepare(model, optimizer)
    losses = []
    for images, labels in DataLoader(data, batch, shuffle=True):
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs = called(images)
            loss = criterion(outputs, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses
