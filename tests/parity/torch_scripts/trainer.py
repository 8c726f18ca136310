"""A trainer as Hugging Face has it: models give their loss, gradients accumulate, the rate warms up."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.parity.torch_scripts.pictures import labelled


class Layer(nn.Module):
    def __init__(self, width, heads=2):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down, self.drop = (
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, width),
            nn.Dropout(0.1),
        )

    def forward(self, hidden):
        n, places, width = hidden.shape
        y = self.norm1(hidden)
        q, k, v = (
            part(y).view(n, places, self.heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, places, width)
        hidden = hidden + self.drop(self.out(y))
        return hidden + self.drop(self.down(F.gelu(self.up(self.norm2(hidden)))))


class ForImageClassification(nn.Module):
    def __init__(self, width=16, places=16, labels=10):
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, 4)
        self.position = nn.Parameter(torch.randn(1, places, width) * 0.02)
        self.layers, self.norm = nn.ModuleList([Layer(width), Layer(width)]), nn.LayerNorm(width)
        self.classifier = nn.Linear(width, labels)

    def forward(self, pixel_values, labels=None):
        hidden = self.patches(pixel_values).flatten(2).transpose(1, 2) + self.position
        for layer in self.layers:
            hidden = layer(hidden)
        logits = self.classifier(self.norm(hidden).mean(1))
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


@dataclass
class TrainingArguments:
    per_device_train_batch_size: int = 16
    gradient_accumulation_steps: int = 2
    learning_rate: float = 3e-3
    warmup_steps: int = 5
    max_grad_norm: float = 1.0
    weight_decay: float = 0.01


class Trainer:
    def __init__(self, model, args, train_dataset, optimizer, steps, called):
        self.model, self.args, self.data, self.optimizer = model, args, train_dataset, optimizer
        self.called, self.steps, self.log = called, steps, []
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate)

    def rate(self, step):
        if step < self.args.warmup_steps:
            return (step + 1) / (self.args.warmup_steps + 1)
        return max(0.0, (self.steps - step) / max(1, self.steps - self.args.warmup_steps))

    def training_step(self, inputs):
        self.model.train()
        loss = self.called(**inputs)["loss"] / self.args.gradient_accumulation_steps
        loss.backward()
        return loss.detach()

    def train(self):
        loader = DataLoader(self.data, self.args.per_device_train_batch_size, shuffle=True)
        total = 0.0
        for number, (images, labels) in enumerate(loader, 1):
            total += self.training_step({"pixel_values": images, "labels": labels}).item()
            if number % self.args.gradient_accumulation_steps == 0:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.args.max_grad_norm)
                self.optimizer.step()
                self.scheduler.step()
                self.model.zero_grad()
                self.log.append(total)
                total = 0.0


def train(prepare, steps=50):
    torch.manual_seed(9)
    args = TrainingArguments()
    images = steps * args.per_device_train_batch_size * args.gradient_accumulation_steps
    data = TensorDataset(*labelled(images, (1, 16, 16)))
    model = ForImageClassification()
    optimizer = torch.optim.AdamW(model.parameters(), args.learning_rate, weight_decay=args.weight_decay)
    trainer = Trainer(model, args, data, optimizer, steps, prepare(model, optimizer))
    trainer.train()
    return trainer.log
