"""The MNIST example of PyTorch: functions, dropout, log_softmax and nll_loss, Adadelta and StepLR."""

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from tests.parity.torch_scripts.pictures import labelled


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = self.conv1(x)
        x = F.relu(x)
        x = self.conv2(x)
        x = F.relu(x)
        x = F.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = self.fc1(x)
        x = F.relu(x)
        x = self.dropout2(x)
        x = self.fc2(x)
        return F.log_softmax(x, dim=1)


def train(prepare, steps=50, batch=32):
    torch.manual_seed(1)
    loader = DataLoader(TensorDataset(*labelled(steps * batch, (1, 28, 28))), batch, shuffle=True)
    model = Net()
    optimizer = optim.Adadelta(model.parameters(), lr=0.3)
    scheduler = StepLR(optimizer, step_size=20, gamma=0.7)
    called = prepare(model, optimizer)
    losses = []
    called.train()
    for data, target in loader:
        optimizer.zero_grad()
        output = called(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    called.eval()
    with torch.no_grad():
        losses.append(F.nll_loss(called(data), target, reduction="mean").item())
    return losses
