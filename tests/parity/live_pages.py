"""The blocks for PyTorch on the pages of docs/, with the model, the data and the loop that a reader brings.

`tests/docs` leaves them out: PyTorch is not among the packages of its environment.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from kernelearn.cli import main
from tests.docs.pages import blocks_of

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = {"coming-from-pytorch.md": 1, "torch-backend.md": 4, "watching.md": 2}


class Block(nn.Module):
    """A module inside of another one: the pages name its convolution layer1.0.conv1."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return torch.relu(self.conv1(x) + x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.layer1 = nn.Sequential(Block())
        self.head = nn.Linear(4, 10)

    def forward(self, x):
        return self.head(self.layer1(torch.relu(self.stem(x))).mean((2, 3)))


def of_a_reader():
    """What the blocks use and do not make."""
    torch.manual_seed(0)
    net, images, labels = Net(), torch.randn(16, 1, 28, 28), torch.arange(16) % 10
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    return {
        "torch": torch,
        "net": net,
        "model": net,
        "images": images,
        "labels": labels,
        "loader": [(images[:8], labels[:8]), (images[8:], labels[8:])],
        "optimizer": optimizer,
        "schedule": torch.optim.lr_scheduler.StepLR(optimizer, 1),
        "criterion": nn.CrossEntropyLoss(),
        "DataLoader": torch.utils.data.DataLoader,
        "data": torch.utils.data.TensorDataset(images, labels),
        "some_images": images[:2],
        "names": [str(number) for number in range(10)],
    }


def left_out(page):
    """The blocks of a page that wait for PyTorch."""
    blocks = blocks_of((DOCS / page).read_text("utf-8"))
    return [b for b in blocks if b.kind == "python" and (b.reason or "").startswith("PyTorch is not among")]


def run(block, page, names):
    exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_blocks_for_pytorch_run(page, tmp_path, monkeypatch):
    blocks = left_out(page)
    assert len(blocks) == PAGES[page]
    for number, block in enumerate(blocks):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        names = of_a_reader()
        exec("import kernelearn, kernelearn.torch", names)
        run(block, page, names)
        if "watcher" in names:
            names["watcher"].stop()


def test_a_module_becomes_a_model_and_goes_back(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = nn.Sequential(nn.Conv2d(3, 4, 7, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 55 * 55, 10))
    torch.save(net, "net.pt")
    blocks = blocks_of((DOCS / "files-of-others.md").read_text("utf-8"))
    (block,) = (b for b in blocks if b.reason == "needs PyTorch")
    names = {"images": np.ones((4, 224, 224, 3), np.float32), "labels": np.arange(4)}
    run(block, "files-of-others.md", names)
    x = torch.randn(2, 3, 224, 224)
    assert torch.allclose(names["back"](x), names["net"](x), atol=1e-5)
    assert not torch.equal(net(x), names["net"](x))


def test_what_the_page_of_watching_asks_is_answered(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run(left_out("watching.md")[0], "watching.md", of_a_reader())
    commands = next(b for b in blocks_of((DOCS / "watching.md").read_text("utf-8")) if b.kind == "sh").text
    for line in commands.splitlines():
        assert main(line.split()[1:]) == 0, capsys.readouterr().err
