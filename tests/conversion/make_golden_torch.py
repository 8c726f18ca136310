"""Makes golden_torch.npz: state dicts and predictions of PyTorch. Run in an environment with torch:

python -m tests.conversion.make_golden_torch
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

PATH = Path(__file__).with_name("golden_torch.npz")


class Cnn(nn.Module):
    """Strided, depthwise and transposed convolutions, norms, PReLU, a dense layer behind flattened maps."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4)
        self.deep, self.act = nn.Conv2d(4, 8, 3, padding=1, groups=4), nn.PReLU(8)
        self.up, self.group = nn.ConvTranspose2d(8, 2, 2, 2), nn.GroupNorm(2, 2)
        self.head = nn.Linear(2 * 8 * 6, 5)

    def forward(self, x):
        x = self.act(self.deep(torch.relu(self.norm(self.conv(x)))))
        return self.head(self.group(self.up(x)).flatten(1))


class Tokens(nn.Module):
    """Attention, layer normalisation and a learned array."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(1, 6, 8))
        self.attention, self.norm = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8)

    def forward(self, x):
        x = x + self.positions
        return self.norm(x + self.attention(x, x, x)[0])


def main() -> None:
    torch.manual_seed(7)
    arrays = {}
    for name, module, shape in (("cnn", Cnn(), (3, 3, 8, 6)), ("tokens", Tokens(), (2, 6, 8))):
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.running_mean.uniform_(-0.3, 0.3)
                part.running_var.uniform_(0.5, 1.5)
        x = torch.randn(shape)
        with torch.no_grad():
            arrays[f"{name}/y"] = module.eval()(x).numpy()
        arrays[f"{name}/x"] = x.numpy()
        arrays.update({f"{name}/state/{k}": v.numpy() for k, v in module.state_dict().items()})
    np.savez(PATH, **arrays)


if __name__ == "__main__":
    main()
