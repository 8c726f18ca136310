"""Trainings in the loops of others, watched: the loops themselves where they are installed, else their likes.

The likes call a callback as the documentation of Lightning, Ignite and Transformers says, in that order.
"""

import importlib
import sys
import types
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from kernelearn import explain  # noqa: E402
from kernelearn.errors import ArgumentError, MissingDependencyError  # noqa: E402
from kernelearn.recording import Run  # noqa: E402
from kernelearn.watching import ignite_handler, lightning_callback, trainer_callback, watch  # noqa: E402
from tests.parity.live_watch import data, fit, folder, made, residuals  # noqa: E402, F401


class LitModule(nn.Module):
    """A module as in Lightning: `training_step` calls a part of it, or itself."""

    def __init__(self, inner, calls_itself):
        super().__init__()
        self.inner, self.calls_itself, self.losses = inner, calls_itself, []

    def forward(self, x):
        return self.inner(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy((self if self.calls_itself else self.inner)(x), y)
        self.losses.append(loss.item())
        return loss


def batches(shape, rows=8):
    x, y = data(shape)
    return [(x[i : i + rows], y[i : i + rows]) for i in range(0, len(x), rows)]


class LightningLike:
    """The automatic loop of Lightning, with its hooks in their order."""

    def __init__(self, callbacks, accumulate=1):
        self.callbacks, self.accumulate_grad_batches, self.current_epoch = callbacks, accumulate, 0

    def tell(self, hook, *arguments):
        for callback in self.callbacks:
            getattr(callback, hook, lambda *_: None)(self, self.module, *arguments)

    def closure(self, batch, number):
        """What Lightning gives to `optimizer.step`."""
        optimizer = self.optimizers[0]
        loss = self.module.training_step(batch, number) / self.accumulate_grad_batches
        self.tell("on_before_zero_grad", optimizer)
        if number % self.accumulate_grad_batches == 0:
            optimizer.zero_grad()
        self.tell("on_before_backward", loss)
        loss.backward()
        self.tell("on_after_backward")
        if (number + 1) % self.accumulate_grad_batches == 0:
            self.tell("on_before_optimizer_step", optimizer)
        return loss

    def fit(self, module, optimizer, loader, epochs=1):
        self.module, self.optimizers = module, [optimizer]
        self.tell("on_train_start")
        for self.current_epoch in range(epochs):
            self.tell("on_train_epoch_start")
            for number, batch in enumerate(loader):
                self.tell("on_train_batch_start", batch, number)
                if (number + 1) % self.accumulate_grad_batches == 0:
                    optimizer.step(lambda batch=batch, number=number: self.closure(batch, number))
                else:
                    self.closure(batch, number)
                self.tell("on_train_batch_end", None, batch, number)
        self.tell("on_train_end")


@pytest.fixture
def lightning(monkeypatch):
    """A module of the name, with the class that callbacks are of."""
    like = types.ModuleType("pytorch_lightning")
    like.Callback = type("Callback", (), {})
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", like)


@pytest.mark.parametrize("calls_itself", [False, True])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_lightning(lightning, calls_itself, accumulate, folder):  # noqa: F811
    inner, shape = made("residual")
    module = LitModule(inner, calls_itself)
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    trainer = LightningLike([lightning_callback(folder, every=2, layers="all")], accumulate)
    trainer.fit(module, optimizer, batches(shape), epochs=2)
    run = Run(folder)
    assert run.status == "finished" and run.last_step == 12 // accumulate
    assert len(run.batch(2).images) == 8 * accumulate
    found = residuals(run)
    assert len(found) == 6 and max(found.values()) < 1e-6
    np.testing.assert_array_equal(run.batch(1).labels[:6], np.arange(6))
    means = np.reshape(module.losses, (-1, accumulate)).mean(1)
    np.testing.assert_allclose(run.scalars("loss")[1], means, rtol=1e-6)


def test_lightning_with_several_optimisers_is_refused(lightning, folder):  # noqa: F811
    trainer = LightningLike([])
    trainer.optimizers, trainer.module = [1, 2], nn.Linear(2, 2)
    with pytest.raises(ArgumentError, match="2 optimisers"):
        lightning_callback(folder).on_train_start(trainer, trainer.module)


def test_a_loop_that_is_not_installed_is_named(folder, monkeypatch):  # noqa: F811
    for name in ("lightning.pytorch", "pytorch_lightning", "ignite.engine", "transformers"):
        monkeypatch.setitem(sys.modules, name, None)
    for make in (lightning_callback, trainer_callback, lambda run: ignite_handler(None, None, None, run)):
        with pytest.raises(MissingDependencyError, match="pip install"):
            make(folder)


class Answering(nn.Module):
    """A module as in Transformers: takes its targets by name, and gives its loss."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, pixel_values=None, mask=None, labels=None, return_dict=True):
        logits = self.inner(pixel_values)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits}


def test_transformers_like(folder, monkeypatch):  # noqa: F811
    like = types.ModuleType("transformers")
    like.TrainerCallback = type("TrainerCallback", (), {})
    monkeypatch.setitem(sys.modules, "transformers", like)
    inner, shape = made("residual")
    module = Answering(inner)
    optimizer = torch.optim.AdamW(module.parameters(), 0.01)
    callback = trainer_callback(folder, every=2, layers="all")
    state = types.SimpleNamespace(epoch=0.0)
    callback.on_train_begin(None, state, None, model=module, optimizer=optimizer)
    for epoch in range(2):
        state.epoch = float(epoch)
        callback.on_epoch_begin(None, state, None, model=module)
        for x, y in batches(shape):
            module(pixel_values=x, labels=y, return_dict=True)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()
    callback.on_train_end(None, state, None)
    run = Run(folder)
    assert run.last_step == 12 and max(residuals(run).values()) < 1e-6
    # Called by names, with its targets: the run holds it, and the loss that it computes itself.
    module.eval()
    with torch.no_grad():
        expected = module(pixel_values=x)["logits"].numpy()
    found = run.model(12).predict(np.moveaxis(x.numpy(), 1, -1), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    path = explain.delta(run, run.layers[0], step=2)
    assert path.recorded == pytest.approx(path.error, rel=1e-4, abs=1e-9)
    np.testing.assert_array_equal(run.batch(1).labels[:6], np.arange(6))
    assert run.scalars("epoch")[1][-1] == 1


def ignite_training(engine_class, folder, spoil=None):  # noqa: F811
    module, shape = made("residual")
    optimizer = torch.optim.SGD(module.parameters(), 0.05)

    def step(engine, batch):
        optimizer.zero_grad()
        loss = F.cross_entropy(module(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        if spoil is not None:
            spoil(engine)
        return loss.item()

    engine = engine_class(step)
    ignite_handler(engine, module, optimizer, folder, every=2, layers="all", hold_model=False)
    return engine, batches(shape)


class IgniteLike:
    """The engine of Ignite: events, and errors that are left to a handler where there is one."""

    def __init__(self, step):
        self.step, self.handlers = step, {}
        self.state = types.SimpleNamespace(epoch=0)

    def add_event_handler(self, event, handler):
        self.handlers.setdefault(event, []).append(handler)

    def tell(self, event, *arguments):
        for handler in self.handlers.get(event, []):
            handler(self, *arguments)

    def run(self, loader, max_epochs):
        try:
            self.tell("STARTED")
            for self.state.epoch in range(1, max_epochs + 1):
                self.tell("EPOCH_STARTED")
                for batch in loader:
                    self.step(self, batch)
            self.tell("COMPLETED")
        except Exception as error:
            if "EXCEPTION_RAISED" not in self.handlers:
                raise
            self.tell("EXCEPTION_RAISED", error)


@pytest.fixture(params=["like", "living"])
def engine_class(request, monkeypatch):
    if request.param == "living":
        return pytest.importorskip("ignite.engine").Engine
    like = types.ModuleType("ignite.engine")
    names = ("STARTED", "EPOCH_STARTED", "COMPLETED", "EXCEPTION_RAISED")
    like.Events = types.SimpleNamespace(**{name: name for name in names})
    monkeypatch.setitem(sys.modules, "ignite", types.ModuleType("ignite"))
    monkeypatch.setitem(sys.modules, "ignite.engine", like)
    return IgniteLike


def test_ignite(engine_class, folder):  # noqa: F811
    engine, loader = ignite_training(engine_class, folder)
    engine.run(loader, max_epochs=2)
    run = Run(folder)
    assert run.status == "finished" and run.last_step == 12
    assert max(residuals(run).values()) < 1e-6


def test_an_error_in_ignite_passes(engine_class, folder):  # noqa: F811
    engine, loader = ignite_training(engine_class, folder, spoil=lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run(loader, max_epochs=1)
    assert Run(folder).status == "interrupted"


def test_living_lightning(folder):  # noqa: F811
    lightning = pytest.importorskip("pytorch_lightning")

    class Lit(lightning.LightningModule):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def training_step(self, batch, batch_idx):
            return F.cross_entropy(self.inner(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.05, momentum=0.9)

    inner, shape = made("residual")
    x, y = data(shape)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 8)
    environments = importlib.import_module("lightning_fabric.plugins.environments")
    here = environments.LightningEnvironment()  # looks for no cluster
    quiet = {"plugins": [here], "logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watching = lightning_callback(folder, every=2, layers="all")
        lightning.Trainer(max_epochs=2, accelerator="cpu", callbacks=[watching], **quiet).fit(
            Lit(inner), loader
        )
    run = Run(folder)
    assert run.last_step == 12 and max(residuals(run).values()) < 1e-6


def test_living_trainer(folder, tmp_path):  # noqa: F811
    transformers = pytest.importorskip("transformers")
    inner, shape = made("residual")
    x, y = data(shape)
    rows = [{"pixel_values": a, "labels": b} for a, b in zip(x, y)]
    told = transformers.TrainingArguments(
        str(tmp_path / "out"), per_device_train_batch_size=8, num_train_epochs=2, report_to=[],
        save_strategy="no", use_cpu=True, disable_tqdm=True, remove_unused_columns=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.Trainer(
            Answering(inner), told, train_dataset=rows,
            callbacks=[trainer_callback(folder, every=2, layers="all")],
        ).train()  # fmt: skip
    run = Run(folder)
    assert run.last_step == 12 and max(residuals(run).values()) < 1e-6


def test_what_cannot_be_watched_is_said(folder, tmp_path):  # noqa: F811
    module, shape = made("residual")
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    with pytest.raises(ArgumentError, match="no parameters"):
        watch(nn.ReLU(), optimizer, folder)
    with pytest.raises(ArgumentError, match=r"optimiser of torch\.optim"):
        watch(module, [optimizer], folder)
    with pytest.raises(ArgumentError, match="every so many steps"):
        watch(module, optimizer, folder, every=-1)
    with watch(module, optimizer, folder, every=1, hold_model=False) as first:
        fit(module, optimizer, shape, 2)
    first.stop()
    first.note(loss=1.0, epoch=3)  # behind its end: nothing
    with watch(module, optimizer, tmp_path / "second", every=1, hold_model=False):
        fit(module, optimizer, shape, 2)
    assert Run(tmp_path / "second").last_step == 2 and Run(folder).last_step == 2


def _process(rank, folder, results):  # noqa: F811
    import os

    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(results["port"]))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    module, shape = made("residual")
    parallel = nn.parallel.DistributedDataParallel(module)
    optimizer = torch.optim.SGD(parallel.parameters(), 0.05)
    x, y = data(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if rank == 1:  # the first process has begun the run of both
            torch.distributed.barrier()
        watcher = watch(parallel, optimizer, folder, every=1, layers="all", hold_model=False)
        if rank == 0:
            torch.distributed.barrier()
        for step in range(3):
            take = slice(16 * step + 8 * rank, 16 * step + 8 * rank + 8)
            optimizer.zero_grad()
            F.cross_entropy(parallel(x[take]), y[take]).backward()
            optimizer.step()
        watcher.stop()
    torch.distributed.destroy_process_group()


def test_the_first_of_two_processes_records(folder):  # noqa: F811
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_process, (str(folder), {"port": port}), nprocs=2)
    run = Run(folder)
    assert run.last_step == 3 and len(run.batch(2).images) == 8
    assert any("other processes" in str(event.get("text")) for event in run.events)
    assert max(residuals(run).values()) < 1e-6, "the ledger of the first process's images"
