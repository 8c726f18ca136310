"""Two networks against each other, as in the DCGAN example: three calls of one of them a step."""

import torch
from torch import nn

from tests.parity.torch_scripts.pictures import labelled


def generator(noise=16, width=8):
    return nn.Sequential(
        nn.ConvTranspose2d(noise, width * 2, 4, 1, 0, bias=False),
        nn.BatchNorm2d(width * 2),
        nn.ReLU(True),
        nn.ConvTranspose2d(width * 2, width, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(True),
        nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def discriminator(width=8):
    return nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width, width * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(width * 2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(width * 2, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
    )


def weights_init(m):
    name = m.__class__.__name__
    if name.find("Conv") != -1:
        nn.init.normal_(m.weight, 0.0, 0.05)
    elif name.find("BatchNorm") != -1:
        nn.init.normal_(m.weight, 1.0, 0.02)
        nn.init.zeros_(m.bias)


def train(prepare, steps=50, batch=16):
    torch.manual_seed(5)
    real = labelled(256, (1, 16, 16), noise=0.1)[0].tanh()
    net_g, net_d = generator().apply(weights_init), discriminator().apply(weights_init)
    optimizer_d = torch.optim.Adam(net_d.parameters(), 2e-4, betas=(0.5, 0.999))
    optimizer_g = torch.optim.Adam(net_g.parameters(), 2e-4, betas=(0.5, 0.999))
    called_d, called_g = prepare(net_d, optimizer_d), prepare(net_g, optimizer_g)
    criterion, losses = nn.BCELoss(), []
    for step in range(steps):
        take = torch.arange(step * batch, (step + 1) * batch) % len(real)
        optimizer_d.zero_grad()
        loss_real = criterion(called_d(real[take]).view(-1), torch.ones(batch))
        loss_real.backward()
        fake = called_g(torch.randn(batch, 16, 1, 1))
        loss_fake = criterion(called_d(fake.detach()).view(-1), torch.zeros(batch))
        loss_fake.backward()
        optimizer_d.step()
        optimizer_g.zero_grad()
        loss_g = criterion(called_d(fake).view(-1), torch.ones(batch))
        loss_g.backward()
        optimizer_g.step()
        losses += [loss_real.item() + loss_fake.item(), loss_g.item()]
    return losses
