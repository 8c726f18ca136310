"""Trainings in a living PyTorch, watched: ledgers against its gradients, updates against its optimisers.

Run by `make parity`.
"""

import copy
import io
import os
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from kernelearn import explain  # noqa: E402
from kernelearn.errors import ArgumentError  # noqa: E402
from kernelearn.recording import Run  # noqa: E402
from kernelearn.watching import NumberedLoader, watch  # noqa: E402
from tests.told import texts  # noqa: E402


class Residual(nn.Module):
    """In-place activations and an addition in place."""

    def __init__(self, channels, filters, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.shortcut = nn.Conv2d(channels, filters, 1, stride) if stride > 1 else nn.Identity()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        y += self.shortcut(x)
        return self.relu(y)


class Own(nn.Module):
    """Parameters that functions use, one of them not transposed, and a layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.filters = nn.Parameter(torch.randn(4, 2, 3, 3) * 0.2)
        self.matrix = nn.Parameter(torch.randn(36, 6) * 0.2)
        self.shared = nn.Linear(6, 6)

    def forward(self, x):
        y = F.relu(F.conv2d(x, self.filters, padding="same"))
        y = F.avg_pool2d(y, 2).flatten(1) @ self.matrix
        return self.shared(torch.tanh(self.shared(y)))


class Tokens(nn.Module):
    """A dense layer at every position."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(6, 8), nn.Linear(8, 6)

    def forward(self, x):
        return self.outer(torch.relu(self.inner(x.flatten(1, 2)))).mean(1)


def flat(*layers, features=None):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(6))


MODULES = {
    "residual": (lambda: flat(Residual(2, 2, 1), Residual(2, 4, 2)), (2, 6, 6)),
    "own parameters": (Own, (2, 6, 6)),
    "positions": (Tokens, (2, 6, 6)),
    "stem": (lambda: flat(nn.Conv2d(2, 4, 3, 2, 1, bias=False), nn.ReLU()), (2, 8, 8)),
    "strided dilated": (lambda: flat(nn.Conv2d(2, 4, 3, 2, 2, dilation=2), nn.ELU(inplace=True)), (2, 9, 9)),
    "depthwise": (lambda: flat(nn.Conv2d(4, 8, 3, groups=4), nn.ReLU(), nn.Conv2d(8, 4, 1)), (4, 6, 6)),
    "grouped": (lambda: flat(nn.Conv2d(4, 6, 3, groups=2, padding="same"), nn.ReLU()), (4, 6, 6)),
    "even same": (lambda: flat(nn.Conv2d(2, 3, 4, padding="same"), nn.ReLU()), (2, 6, 6)),
    "circular": (lambda: flat(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.ReLU()), (2, 6, 6)),
    "transposed": (
        lambda: flat(nn.ConvTranspose2d(2, 4, 3, 2, 1, output_padding=1, groups=2), nn.ReLU()),
        (2, 5, 5),
    ),
    "one dimension": (
        lambda: flat(nn.Conv1d(2, 4, 5, 2, 1), nn.ReLU(), nn.ConvTranspose1d(4, 2, 3)),
        (2, 12),
    ),
    "three dimensions": (lambda: flat(nn.Conv3d(1, 3, 3, padding=(0, 1, 1)), nn.ReLU()), (1, 5, 4, 6)),
}
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, 0.05),
    "momentum": lambda p: torch.optim.SGD(p, 0.05, momentum=0.9),
    "dampening": lambda p: torch.optim.SGD(p, 0.05, momentum=0.8, dampening=0.3, weight_decay=0.01),
    "nesterov": lambda p: torch.optim.SGD(p, 0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
    "maximize": lambda p: torch.optim.SGD(p, 1e-3, momentum=0.8, weight_decay=0.01, maximize=True),
    "adam": lambda p: torch.optim.Adam(p, 0.01),
    "adam l2": lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.05),
    "amsgrad": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True, betas=(0.8, 0.95), eps=1e-4),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01),
    "rmsprop all": lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.7, centered=True, weight_decay=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.05, lr_decay=0.1, weight_decay=0.01),
    "adadelta": lambda p: torch.optim.Adadelta(p, 1.0, rho=0.8, weight_decay=0.01),
}


def data(shape, count=48, classes=6):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(count, *shape, generator=generator), torch.arange(count) % classes


def made(name, seed=0):
    torch.manual_seed(seed)
    make, shape = MODULES[name]
    module = make()
    module(torch.zeros(2, *shape))
    return module, shape


def fit(
    module, optimizer, shape, steps=6, rows=8, before_step=None, scaler=None, accumulate=1, autocast=False
):
    """A loop as users write it."""
    x, y = data(shape)
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        for part in range(accumulate):
            take = torch.arange(rows) + rows * ((step * accumulate + part) % (len(x) // rows))
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = F.cross_entropy(module(x[take]).float(), y[take]) / accumulate
            (scaler.scale(loss) if scaler else loss).backward()
        if before_step is not None:
            before_step(module)
        if scaler:
            scaler.step(optimizer)
            scaler.update()
        else:
            optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def residuals(run, several=3):
    """Layer -> largest residual of some weights of its ledgers, by the sum of the absolute terms."""
    random = np.random.default_rng(0)
    found = {}
    for layer in run.layers:
        for weight in run.weights(layer):
            for step in run.ledger_steps_of(layer, weight):
                factors = run.ledger(layer, int(step), weight)
                for _ in range(several):
                    index = tuple(int(random.integers(size)) for size in factors.gradient.shape)
                    book = explain.ledger(factors, weight=(weight, *index))
                    size = float(np.abs(book.terms).sum()) + abs(book.penalty)
                    found[f"{layer}/{weight}"] = max(
                        abs(book.residual) / max(size, 1e-12), found.get(f"{layer}/{weight}", 0.0)
                    )
    return found


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.mark.parametrize("name", MODULES)
def test_ledgers_are_pytorchs_gradients(name, folder):
    module, shape = made(name)
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    with watch(module, optimizer, folder, every=2, layers="all"):
        fit(module, optimizer, shape)
    run = Run(folder)
    assert run.ledger_steps.tolist() == [1, 2, 4, 6]
    found = residuals(run)
    kernels = {n for n, p in module.named_parameters() if p.dim() > 1}
    assert len(found) == len(kernels), (found, kernels)
    assert max(found.values()) < 1e-6, found


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_those_of_the_optimiser(name, folder):
    module, shape = made("residual")
    optimizer = OPTIMIZERS[name](module.parameters())
    with watch(module, optimizer, folder, every=1, layers="all"):
        fit(module, optimizer, shape)
    run = Run(folder)
    for layer in run.layers:
        for weight in run.weights(layer):
            for step in range(1, 7) if f"{layer}/{weight}" in run.manifest["segments"][-1]["updates"] else ():
                split = explain.update_split(run, layer, step, weight)
                assert split.is_exact, (layer, weight, step, np.abs(split.residual).max())


def test_an_optimiser_that_cannot_be_taken_apart_is_named(folder):
    module, shape = made("residual")
    optimizer = torch.optim.RAdam(module.parameters())
    with watch(module, optimizer, folder, every=1):
        fit(module, optimizer, shape, 2)
    run = Run(folder)
    assert max(residuals(run).values()) < 1e-6
    with pytest.raises(Exception, match="RAdam"):
        explain.update_split(run, run.layers[0], 1)


def test_training_is_bitwise_the_same(folder):
    weights = []
    for is_watched in (False, True):
        module, shape = made("residual")
        optimizer = torch.optim.AdamW(module.parameters(), 0.01)
        if is_watched:
            watcher = watch(module, optimizer, folder, every=2, probe_images=data(shape)[0][:3])
        torch.manual_seed(5)
        fit(module, optimizer, shape)
        weights.append([p.detach().clone() for p in [*module.parameters(), *module.buffers()]])
    watcher.stop()
    assert all(torch.equal(a, b) for a, b in zip(*weights))


def test_groups_frozen_parts_and_schedules(folder):
    module, shape = made("residual")
    module[0].requires_grad_(False)
    groups = [{"params": module[1].parameters(), "lr": 0.01}, {"params": module[3].parameters(), "lr": 0.1}]
    optimizer = torch.optim.SGD(groups, momentum=0.5)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    with watch(module, optimizer, folder, every=2, layers="all"):
        fit(module, optimizer, shape, 6, before_step=lambda _: None)
        schedule.step()
        fit(module, optimizer, shape, 2)
    run = Run(folder)
    assert run.learning_rate(8) == pytest.approx(0.009)
    assert run.update_rule("3", 2)["attrs"]["multiplier"] == pytest.approx(10)
    assert explain.update_split(run, "3", 8).is_exact and explain.update_split(run, "1.conv1", 2).is_exact
    assert run.is_frozen("0.conv1", 2)
    np.testing.assert_array_equal(run.kernels("0.conv1", 8), run.kernels("0.conv1", 0))


def test_accumulated_gradients_are_one_batch(folder):
    module, shape = made("strided dilated")
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    with watch(module, optimizer, folder, every=1):
        fit(module, optimizer, shape, 3, rows=4, accumulate=3)
    run = Run(folder)
    assert len(run.batch(2).images) == 12
    assert max(residuals(run).values()) < 1e-6


def test_clipping_by_norm_scales_the_ledger(folder):
    module, shape = made("residual")
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    with watch(module, optimizer, folder, every=1):
        fit(module, optimizer, shape, 3, before_step=lambda m: nn.utils.clip_grad_norm_(m.parameters(), 0.1))
    run = Run(folder)
    assert max(residuals(run).values()) < 1e-6
    assert any(event["kind"] == "gradients scaled" for event in run.events)


def test_other_changes_of_gradients_are_told_apart(folder):
    def clip(module):
        nn.utils.clip_grad_value_(module.parameters(), 0.01)

    module, shape = made("residual")
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    with (
        pytest.warns(UserWarning, match="not those of the images alone"),
        watch(module, optimizer, folder, every=1),
    ):
        fit(module, optimizer, shape, 2, before_step=clip)
    run = Run(folder)
    assert max(residuals(run).values()) < 1e-6
    assert explain.update_split(run, run.layers[0], 2).is_exact


def test_mixed_precision_with_a_scaler_that_skips(folder):
    module, shape = made("residual")
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    overflows = iter([False, False, True, False, False, False])

    def overflow(gradient):
        return torch.full_like(gradient, torch.inf) if next(overflows) else gradient

    next(module.parameters()).register_hook(overflow)
    with watch(module, optimizer, folder, every=1):
        fit(module, optimizer, shape, 6, scaler=scaler, autocast=True)
    run = Run(folder)
    assert run.last_step == 5
    assert len(run.batch(3).images) == 8, "the images of the skipped step are forgotten"
    assert max(residuals(run).values()) < 4e-3
    assert any(event["kind"] == "step skipped" for event in run.events)


def test_gradients_from_the_loss_of_another_module_are_no_skipped_step(folder):
    """A critic gets those of the generator's step, too, and clears them before its own."""
    critic, shape = made("residual")
    optimizer = torch.optim.SGD(critic.parameters(), 0.05)
    x, y = data(shape)
    made_up = torch.zeros_like(x[:8], requires_grad=True)
    with watch(critic, optimizer, folder, every=1):
        for _ in range(4):
            F.cross_entropy(critic(made_up), y[:8]).backward()
            optimizer.zero_grad()
            F.cross_entropy(critic(x[:8]), y[:8]).backward()
            optimizer.step()
    run = Run(folder)
    assert run.last_step == 4
    assert not [event for event in run.events if event["kind"] == "step skipped"]
    assert [len(run.batch(step).images) for step in run.ledger_steps] == [8] * len(run.ledger_steps)
    assert max(residuals(run).values()) < 1e-6


def test_a_compiled_module(folder):
    module, shape = made("residual")
    compiled = torch.compile(module, backend="eager")
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    with watch(compiled, optimizer, folder, every=3):
        fit(compiled, optimizer, shape)
    run = Run(folder)
    assert run.ledger_steps.tolist() == [1, 3, 6]
    assert max(residuals(run).values()) < 1e-6


@pytest.mark.parametrize("is_reentrant", [False, True])
def test_checkpointed_activations(folder, is_reentrant):
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.first, self.inner = nn.Conv2d(2, 2, 3, padding=1), inner

        def forward(self, x):
            return checkpoint(self.inner, self.first(x), use_reentrant=is_reentrant)

    inner, shape = made("residual")
    module = Checkpointed(inner)
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with watch(module, optimizer, folder, every=1):
            fit(module, optimizer, shape, 4)
    found = residuals(Run(folder))
    assert max(found.values()) < 1e-6
    assert ("inner.1.conv1/kernel" in found) is not is_reentrant
    assert any("use_reentrant=False" in text for text in texts(said)) is is_reentrant


def test_checkpointed_positions(folder):
    """Dense layers over positions: inputs are kept as modules get them, gradients have positions in a row."""
    from torch.utils.checkpoint import checkpoint

    class Blocks(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.head = (
                nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)),
                nn.Linear(3, 8),
            )

        def forward(self, x):
            return self.head(checkpoint(self.inner, x.movedim(1, -1), use_reentrant=False).mean((1, 2)))

    module = Blocks()
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with watch(module, optimizer, folder, every=1, layers="all"):
            fit(module, optimizer, (4, 3, 2), 4)
    run = Run(folder)
    found = residuals(run)
    assert run.last_step == 4 and "inner.0/kernel" in found and max(found.values()) < 1e-6


def test_weight_norm_is_told(folder):
    module = flat(nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 4, 3)), nn.ReLU())
    module(torch.zeros(1, 2, 6, 6))
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    with (
        pytest.warns(UserWarning, match="weight norm"),
        watch(module, optimizer, folder, every=1, layers="all"),
    ):
        fit(module, optimizer, (2, 6, 6), 2)
    run = Run(folder)
    assert "0.parametrizations.weight/original1" in run.about.weights
    assert max(residuals(run).values()) < 1e-6


def test_copies_pickles_and_state_are_those_of_the_module(folder):
    module, shape = made("residual")
    keys = list(module.state_dict())
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    watcher = watch(module, optimizer, folder, every=1)
    assert list(module.state_dict()) == keys
    twin = copy.deepcopy(module)
    file = io.BytesIO()
    torch.save(module, file)
    again = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
    other = torch.optim.SGD(twin.parameters(), 0.05)
    fit(twin, other, shape, 2)
    again(data(shape)[0][:2])
    pickle.loads(pickle.dumps(module))
    fit(module, optimizer, shape, 2)
    watcher.stop()
    assert Run(folder).last_step == 2


def test_nothing_is_left_behind(folder):
    module, shape = made("residual")
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    watcher = watch(module, optimizer, folder, every=1)
    fit(module, optimizer, shape, 2)
    watcher.stop()
    watcher.stop()
    assert not module._forward_hooks and not module._forward_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks and not optimizer._optimizer_step_post_hooks
    assert all(not (p._post_accumulate_grad_hooks or {}) for p in module.parameters())
    fit(module, optimizer, shape, 1)
    assert Run(folder).last_step == 2 and Run(folder).status == "finished"


def test_an_error_of_the_recording_ends_the_recording_alone(folder, monkeypatch):
    from kernelearn.watching import book

    module, shape = made("residual")
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    watcher = watch(module, optimizer, folder, every=1)
    fit(module, optimizer, shape, 2)
    monkeypatch.setattr(book.WatchBook, "record", lambda *_: 1 / 0)
    with pytest.warns(UserWarning, match="ZeroDivisionError.*goes on without it") as said:
        losses = fit(module, optimizer, shape, 3)
    assert len(losses) == 3 and len(texts(said)) == 1
    assert Run(folder).last_step == 2
    watcher.stop()


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (lambda: nn.DataParallel(nn.Linear(2, 2)), "DistributedDataParallel"),
        (lambda: "net", "torch.nn.Module"),
    ],
)
def test_what_cannot_be_watched_is_refused_by_name(module, message, folder):
    optimizer = torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1)
    with pytest.raises(ArgumentError, match=message):
        watch(module(), optimizer, folder)
    assert not folder.exists()


def test_a_foreign_optimiser_and_a_used_folder_are_refused(folder):
    module, _ = made("residual")
    with pytest.raises(ArgumentError, match="none of the module's parameters"):
        watch(module, torch.optim.SGD(nn.Linear(2, 2).parameters(), 0.1), folder)
    with pytest.raises(ArgumentError, match=r"optimiser of torch\.optim"):
        watch(module, object(), folder)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    for wrong in ({"overwrite": "no"}, {"hold_model": "no"}, {"loader": [1]}, {"criterion": F.cross_entropy}):
        with pytest.raises(ArgumentError, match=f"watch: {next(iter(wrong))} must be"):
            watch(module, optimizer, folder, **wrong)
        assert not folder.exists()
    watch(module, optimizer, folder).stop()
    with pytest.raises(ArgumentError, match="overwrite=True"):
        watch(module, optimizer, folder)


@pytest.mark.parametrize("notes_at", [(), (17,)])
def test_steps_that_hooks_sleep_through_are_counted(notes_at, folder):
    """Batches of many sizes: their images are numbered in the order in which they come."""
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    rows = [2 + step % 5 for step in range(46)]
    watcher = watch(module, optimizer, folder, every=20, kernels_every=20, hold_model=False)
    slept = 0
    for step, n in enumerate(rows):
        loss = module(torch.randn(n, 3)).square().sum()
        loss.backward()
        if step in notes_at:
            watcher.note(loss=loss)
        optimizer.step()
        optimizer.zero_grad()
        slept += watcher._passes.is_asleep
    watcher.stop()
    run = Run(folder)
    assert slept > 20 - len(notes_at) * 10
    assert run.ledger_steps.tolist() == [1, 20, 40] and run.events[-1]["step"] == 46
    for step in (1, 20, 40):
        begin = sum(rows[: step - 1])
        assert run.batch(step).images.tolist() == list(range(begin, begin + rows[step - 1]))
    assert explain.update_split(run, "0", 40).is_exact


@pytest.mark.parametrize("workers", [0, 2])
def test_images_and_classes_are_known(folder, workers):
    module, shape = made("residual")
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    x, y = data(shape)
    plain = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, y), 10, shuffle=True, num_workers=workers,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    loader, criterion = NumberedLoader(plain), nn.CrossEntropyLoss()
    losses = []
    with watch(module, optimizer, folder, every=4, criterion=criterion, loader=loader):
        for _ in range(2):
            for images, labels in loader:
                optimizer.zero_grad()
                loss = criterion(module(images), labels)
                loss.backward()
                optimizer.step()
                losses.append(float(loss))
    run = Run(folder)
    for step in range(1, 11):
        batch = run.batch(step)
        np.testing.assert_array_equal(batch.labels, y.numpy()[batch.images])
    assert len(run.batch(5).images) == 8, "the last batch of an epoch is short"
    np.testing.assert_allclose(run.scalars("loss")[1], losses, rtol=1e-6)
    assert sorted(np.concatenate([run.batch(step).images for step in range(1, 6)])) == list(range(48))


def test_several_networks_of_one_loop(folder, tmp_path):
    """A generator and a discriminator, each with its optimiser."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 18), nn.Unflatten(1, (2, 3, 3)), nn.ConvTranspose2d(2, 1, 3, 2))
    critic = nn.Sequential(
        nn.Conv2d(1, 3, 3, 2), nn.LeakyReLU(0.2, inplace=True), nn.Flatten(), nn.Linear(27, 1)
    )
    of_g, of_c = torch.optim.Adam(generator.parameters()), torch.optim.Adam(critic.parameters())
    with watch(generator, of_g, tmp_path / "g", every=1), watch(critic, of_c, tmp_path / "c", every=1):
        for _ in range(3):
            of_c.zero_grad()
            real, fake = torch.randn(5, 1, 7, 7), generator(torch.randn(5, 4))
            (critic(real).mean() - critic(fake.detach()).mean()).backward()
            of_c.step()
            of_g.zero_grad()
            critic(fake).mean().backward()
            of_g.step()
    for name in ("g", "c"):
        assert max(residuals(Run(tmp_path / name)).values()) < 1e-6


def test_maps_of_probe_images(folder):
    module, shape = made("residual")
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    images = data(shape)[0][:3]
    module.train()
    with watch(module, optimizer, folder, every=2, maps_every=2, probe_images=images):
        fit(module, optimizer, shape, 4)
        assert module.training
        module.eval()
        seen = {}
        module[0].conv1.register_forward_hook(lambda m, x, y: seen.update(y=y.detach().numpy()))
        module(images)
    run = Run(folder)
    np.testing.assert_allclose(run.maps("0.conv1", 4), np.moveaxis(seen["y"], 1, -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(run.probe_images, np.moveaxis(images.numpy(), 1, -1))


@pytest.mark.parametrize("name", MODULES)
def test_the_run_holds_the_model_where_it_can(name, folder):
    module, shape = made(name)
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with watch(module, optimizer, folder, every=2, layers="all"):
            fit(module, optimizer, shape)
    run, x = Run(folder), data(shape)[0]
    assert run.about.model is not None, texts(said)
    module.eval()
    with torch.no_grad():
        expected = module(x).numpy()
    found = run.model(6).predict(np.moveaxis(x.numpy(), 1, -1), verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    for layer in run.layers:
        if "kernel" in run.weights(layer):
            assert explain.update_split(run, layer, 2, "kernel").is_exact
    assert max(residuals(run).values()) < 1e-6


def test_where_the_run_cannot_hold_the_model_it_says_what_works(folder):
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = nn.Linear(6, 6)

        def forward(self, x):
            return self.line(x) if x.sum() > 0 else self.line(-x)

    module = Branching()
    optimizer = torch.optim.SGD(module.parameters(), 0.05)
    with (
        pytest.warns(UserWarning, match="(?s)The run does not hold the model: .*Ledgers, updates"),
        watch(module, optimizer, folder, every=2, layers="all"),
    ):
        fit(module, optimizer, (6,))
    run = Run(folder)
    assert run.about.model is None
    assert explain.update_split(run, "line", 2, "kernel").is_exact


@pytest.mark.parametrize("name", ["residual", "stem", "positions"])
def test_steps_are_done_again_from_the_record(name, folder):
    from kernelearn.explain.passes.run_steps import StepReplays

    module, shape = made(name)
    optimizer, criterion = torch.optim.SGD(module.parameters(), 0.05), nn.CrossEntropyLoss()
    x, y = data(shape)
    with watch(module, optimizer, folder, every=2, layers="all", criterion=criterion):
        for step in range(4):
            optimizer.zero_grad()
            criterion(module(x[8 * step : 8 * step + 8]), y[8 * step : 8 * step + 8]).backward()
            optimizer.step()
    run = Run(folder)
    steps = StepReplays(run)
    assert steps.steps() == [1, 2, 4]
    steps.at(2)  # compares its errors with those of the record
    layer = run.layers[0]
    path = explain.delta(run, layer, step=2)
    assert path.recorded == pytest.approx(path.error, rel=1e-4, abs=1e-9)
    images = np.moveaxis(x.numpy(), 1, -1)
    assert explain.delta(run, layer, images, y.numpy(), step=2).error == pytest.approx(path.error, rel=1e-4)
    with pytest.raises(ArgumentError, match="in the order in which they came"):
        explain.delta(run, layer, images[::-1], y.numpy()[::-1], step=2)


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_history_of_every_optimizer_adds_up(name, clip, folder):
    """Weight decay that momentum remembers is followed as gradients are."""
    module, shape = made("residual")
    optimizer = OPTIMIZERS[name](module.parameters())

    def before_step(_):
        if clip:
            torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)

    with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
        fit(module, optimizer, shape, 8, before_step=before_step)
    run = Run(folder)
    for layer in ("0.conv1", "3"):
        past = explain.history(run, layer, [n - 1 for n in run.shape_of(layer)])
        assert past.explained == 1 and abs(past.residual) <= past.rounding + 1e-9
        assert past.rounding < 1e-5 and sum(past.totals.values()) == pytest.approx(past.change, abs=1e-6)
        assert ("weight_decay" in past.totals) == bool(optimizer.param_groups[0].get("weight_decay"))


@pytest.mark.parametrize("name", ["dampening", "nesterov", "maximize"])
def test_what_decay_did_through_momentum_is_what_sgd_does_with_it(name, folder):
    """SGD done again in float64 from the recorded gradients, once with the decay of the weights that were and
    once without: the difference is what the history says of weight decay."""
    module, shape = made("residual")
    optimizer = OPTIMIZERS[name](module.parameters())
    with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
        fit(module, optimizer, shape, 8)
    run, layer = Run(folder), "0.conv1"
    index = tuple(n - 1 for n in run.shape_of(layer))
    past, group = explain.history(run, layer, index), optimizer.param_groups[0]
    weights = [float(run.kernels(layer, step)[index]) for step in range(8)]
    sign = -1.0 if group["maximize"] else 1.0

    def moved(decay):
        total = held = 0.0
        for number, (gradient, weight) in enumerate(zip(past.gradients, weights)):
            down = sign * gradient + decay * weight
            held = group["momentum"] * held + (1 - group["dampening"] if number else 1.0) * down
            total -= group["lr"] * (down + group["momentum"] * held if group["nesterov"] else held)
        return total

    decay = group["weight_decay"]
    assert moved(decay) == pytest.approx(past.change, abs=1e-6)
    assert moved(decay) - moved(0.0) == pytest.approx(past.totals["weight_decay"], rel=1e-4)


@pytest.mark.parametrize("name", ["dampening", "momentum", "adam", "adagrad"])
def test_a_weight_that_gets_its_first_gradient_late(name, folder):
    module, shape = made("residual")
    optimizer = OPTIMIZERS[name](module.parameters())
    with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
        module[0].requires_grad_(False)
        fit(module, optimizer, shape, 3)
        module[0].requires_grad_(True)
        fit(module, optimizer, shape, 3)
    run = Run(folder)
    assert run.is_frozen("0.conv1", 2) and not run.is_frozen("0.conv1", 4)
    for layer, first in (("0.conv1", 4), ("3", 1)):
        for step in range(first, 7):
            split = explain.update_split(run, layer, step)
            assert split.is_exact, (layer, step, np.abs(split.residual).max())


def test_a_run_of_gradient_descent_is_one_segment(folder):
    module, shape = made("residual")
    optimizer = OPTIMIZERS["momentum"](module.parameters())
    with watch(module, optimizer, folder, every=2, hold_model=False):
        fit(module, optimizer, shape, 6)
    assert len(Run(folder).manifest["segments"]) == 1


@pytest.mark.parametrize("name", ["lenet", "keras"])
def test_the_benchmark_tells_what_watching_costs(name):
    """In bounded time: it ends early where a training is not over."""
    pytest.importorskip("greenlet")
    pytest.importorskip("keras")
    script = Path(__file__).parents[2] / "benchmarks" / "watching.py"
    command = [sys.executable, str(script), name, "--seconds", "1", "--repeats", "1"]
    done = subprocess.run(
        command, env={**os.environ, "KERAS_BACKEND": "torch"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    row = done.stdout.splitlines()[-1]
    assert row.startswith(f"| {name}") and row.count("|") == 11 and "%" in row, done.stdout
