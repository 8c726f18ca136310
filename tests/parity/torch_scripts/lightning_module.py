"""A LightningModule in a Trainer. Without Lightning there is no such training: ModuleNotFoundError."""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.parity.torch_scripts.pictures import labelled


def _lightning():
    """Lightning under its name of now, or of before, and its environment of one process."""
    try:
        import lightning
        from lightning.fabric.plugins.environments import LightningEnvironment
    except ModuleNotFoundError:
        import pytorch_lightning as lightning
        from lightning_fabric.plugins.environments import LightningEnvironment
    return lightning, LightningEnvironment


def train(prepare, steps=50, batch=16):
    lightning, environment = _lightning()

    class Lit(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(
                nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2), nn.Flatten(), nn.LazyLinear(10)
            )
            self.net(torch.zeros(1, 1, 16, 16))
            self.called, self.losses = None, []

        def on_fit_start(self):
            self.called = [prepare(self.net, self.optimizers().optimizer)]

        def training_step(self, batch, index):
            x, y = batch
            loss = F.cross_entropy(self.called[0](x), y)
            self.losses.append(loss.item())
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.net.parameters(), 0.05, momentum=0.9)

    torch.manual_seed(8)
    loader = DataLoader(TensorDataset(*labelled(steps * batch, (1, 16, 16))), batch, shuffle=True)
    module = Lit()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu"}
    quiet |= {"plugins": [environment()]}  # looks for no cluster: an MPI without its library fails
    lightning.Trainer(max_epochs=1, **quiet).fit(module, loader)
    return module.losses
