"""Watched trainings as they go wrong: errors between steps, cells run again, modules changed midway, forks.

Run by `make test-peers`.
"""

import copy
import gc
import os
import socket
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from kernelearn import explain  # noqa: E402
from kernelearn.errors import ArgumentError  # noqa: E402
from kernelearn.recording import Run  # noqa: E402
from kernelearn.watching import watch  # noqa: E402
from tests.parity.live_watch import data, fit, folder, made, residuals  # noqa: E402, F401
from tests.told import texts  # noqa: E402


def sgd(module):
    return torch.optim.SGD(module.parameters(), 0.05, momentum=0.9)


def failing(module, optimizer, shape, steps=2):
    """A training that ends with an error in its loop."""
    fit(module, optimizer, shape, steps)
    raise KeyboardInterrupt


def begun_and_failed(folder, module, shape, **options):  # noqa: F811
    """A cell of a notebook, whose error is kept: nothing of it is freed."""
    with pytest.raises(KeyboardInterrupt) as kept:
        optimizer = sgd(module)
        watch(module, optimizer, folder, every=1, hold_model=False, **options)
        failing(module, optimizer, shape)
    return kept


@pytest.mark.parametrize("is_same_module", [True, False])
@pytest.mark.parametrize("is_same_folder", [True, False])
def test_a_training_that_failed_gives_way(folder, is_same_module, is_same_folder):  # noqa: F811
    module, shape = made("residual")
    kept = begun_and_failed(folder, module, shape)
    if not is_same_module:
        module, shape = made("residual", seed=1)
    place = folder if is_same_folder else folder.with_name("next")
    optimizer = sgd(module)
    if is_same_folder:
        with pytest.raises(ArgumentError, match="overwrite=True"):
            watch(module, optimizer, place, every=1, hold_model=False)
        assert Run(folder).status == "recording", "a refusal ends nothing"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with watch(module, optimizer, place, every=1, hold_model=False, overwrite=True):
            fit(module, optimizer, shape, 3)
    is_in_the_way = is_same_module or is_same_folder
    assert any("was not stopped" in text for text in texts(said)) is is_in_the_way
    assert Run(place).status == "finished" and Run(place).last_step == 3
    if not is_same_folder:
        assert Run(folder).last_step == 2
        assert Run(folder).status == ("interrupted" if is_same_module else "recording")
    assert kept is not None


def test_a_cell_that_is_run_again(folder):  # noqa: F811
    """Again and again, all that it makes included, with the names of the last time still there."""
    for number in range(3):
        module, shape = made("residual", seed=number)
        optimizer = sgd(module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            watcher = watch(module, optimizer, folder, every=1, hold_model=False, overwrite=True)
        with pytest.raises(KeyboardInterrupt):
            failing(module, optimizer, shape, number + 1)
        assert Run(folder).last_step == number + 1
    watcher.stop()
    assert Run(folder).status == "finished" and Run(folder).last_step == 3


def test_a_watcher_that_nobody_has_any_more_closes_its_run(folder):  # noqa: F811
    module, shape = made("residual")
    optimizer = sgd(module)
    watch(module, optimizer, folder, every=1, hold_model=False)
    fit(module, optimizer, shape, 2)
    del module, optimizer
    gc.collect()
    assert Run(folder).status == "interrupted" and Run(folder).last_step == 2


def loop(module, optimizer, shape, steps, before=lambda step: None, dtype=None, layout=None):
    """A loop with something between its steps."""
    x, y = data(shape)
    x = x.to(dtype or x.dtype)
    x = x if layout is None else x.contiguous(memory_format=layout)
    for step in range(steps):
        before(step)
        take = torch.arange(8) + 8 * (step % 6)
        optimizer.zero_grad()
        F.cross_entropy(module(x[take]).float(), y[take]).backward()
        optimizer.step()


def exact_updates(run):
    """Of all recorded steps: whether the parts of each update give the change."""
    for layer in run.layers:
        for weight in run.weights(layer):
            for step in run.ledger_steps_of(layer, weight):
                assert explain.update_split(run, layer, int(step), weight).is_exact, (layer, weight, step)


@pytest.mark.parametrize(
    "change",
    [
        lambda module, start: module.load_state_dict(start),
        lambda module, start: nn.init.zeros_(module[1].conv1.weight),
        lambda module, start: module.to(torch.float64).to(torch.float32) and None,
    ],
    ids=["load_state_dict", "init", "to and back"],
)
def test_weights_that_something_else_sets(folder, change):  # noqa: F811
    module, shape = made("residual")
    optimizer = sgd(module)
    start = copy.deepcopy(module.state_dict())
    with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
        loop(module, optimizer, shape, 6, lambda step: change(module, start) if step == 3 else None)
    run = Run(folder)
    exact_updates(run)
    assert max(residuals(run).values()) < 1e-6
    last = np.moveaxis(module[1].conv1.weight.detach().numpy(), (0, 1), (3, 2))
    np.testing.assert_array_equal(run.kernels("1.conv1", 6), last)


def test_frozen_and_thawed_midway(folder):  # noqa: F811
    module, shape = made("residual")
    optimizer = sgd(module)

    def change(step):
        module[1].requires_grad_(step not in (2, 3))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
            loop(module, optimizer, shape, 6, change)
    run = Run(folder)
    assert max(residuals(run).values()) < 1e-6
    assert run.is_frozen("1.conv1", 3) and not run.is_frozen("1.conv1", 5)


def test_a_module_that_grows_is_told(folder):  # noqa: F811
    module, shape = made("residual")
    optimizer = sgd(module)

    def grow(step):
        if step == 2:
            module.append(nn.Linear(6, 6))
            optimizer.add_param_group({"params": module[-1].parameters(), "lr": 0.01})

    with (
        pytest.warns(UserWarning, match=r"(?s)changed while it is watched.*4\.weight"),
        watch(module, optimizer, folder, every=1, layers="all", hold_model=False),
    ):
        loop(module, optimizer, shape, 5, grow)
    run = Run(folder)
    assert run.last_step == 5 and max(residuals(run).values()) < 1e-6
    exact_updates(run)


def test_groups_that_are_added(folder):  # noqa: F811
    module, shape = made("residual")
    optimizer = torch.optim.AdamW(module[3].parameters(), 0.01)

    def add(step):
        if step == 2:
            optimizer.add_param_group({"params": module[:2].parameters(), "lr": 0.001})

    with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
        loop(module, optimizer, shape, 5, add)
    run = Run(folder)
    assert run.last_step == 5 and max(residuals(run).values()) < 1e-6
    exact_updates(run)


@pytest.mark.parametrize("where", ["forward", "loss", "backward"])
def test_errors_that_the_loop_survives(folder, where):  # noqa: F811
    module, shape = made("residual")
    optimizer = sgd(module)
    x, y = data(shape)

    def fail(step):
        if step != 2:
            return
        with pytest.raises((RuntimeError, ZeroDivisionError)):
            if where == "forward":
                module(torch.zeros(2, 5, 1, 1))
            out = module(x[:5])
            if where == "loss":
                raise ZeroDivisionError
            loss = F.cross_entropy(out, y[:5])
            handle = module[0].conv1.weight.register_hook(lambda g: 1 / 0)
            try:
                loss.backward()
            finally:
                handle.remove()

    with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
        loop(module, optimizer, shape, 5, fail)
    run = Run(folder)
    assert len(run.batch(3).images) == 8 and max(residuals(run).values()) < 1e-6


def test_a_validation_with_gradients_is_no_part_of_a_step(folder):  # noqa: F811
    module, shape = made("residual")
    optimizer = sgd(module)
    with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
        loop(module, optimizer, shape, 4, lambda step: module(data(shape)[0][:11]))
    run = Run(folder)
    assert len(run.batch(2).images) == 8 and max(residuals(run).values()) < 1e-6


def test_an_optimiser_that_computes_several_times(folder):  # noqa: F811
    module, shape = made("strided dilated")
    optimizer = torch.optim.LBFGS(module.parameters(), 0.1, max_iter=4)
    x, y = data(shape)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(module(x[:8]), y[:8])
        loss.backward()
        return loss

    with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
        for _ in range(3):
            optimizer.step(closure)
    run = Run(folder)
    assert run.last_step == 3 and len(run.batch(2).images) == 8
    assert max(residuals(run).values()) < 1e-6


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-6), (torch.bfloat16, 2e-2), (torch.float32, 1e-6)], ids=str
)
def test_types_and_layouts(folder, dtype, bound):  # noqa: F811
    module, shape = made("residual")
    module = module.to(dtype).to(memory_format=torch.channels_last)
    optimizer = sgd(module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
            loop(module, optimizer, shape, 4, dtype=dtype, layout=torch.channels_last)
    run = Run(folder)
    assert run.last_step == 4 and max(residuals(run).values()) < bound


@pytest.mark.parametrize("how", [{"foreach": True}, {"fused": True}, {"lr": torch.tensor(0.01)}], ids=str)
def test_ways_of_an_optimiser(folder, how):  # noqa: F811
    module, shape = made("residual")
    optimizer = torch.optim.AdamW(module.parameters(), **{"lr": 0.01, **how})
    with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
        loop(module, optimizer, shape, 4)
    run = Run(folder)
    assert run.last_step == 4 and max(residuals(run).values()) < 1e-6
    exact_updates(run)


@pytest.mark.parametrize("is_watched_first", [True, False])
def test_a_compiled_whole_graph(folder, is_watched_first):  # noqa: F811
    module, shape = made("residual")
    optimizer = sgd(module)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = module if is_watched_first else compiled
        with watch(given, optimizer, folder, every=2, layers="all", hold_model=False):
            loop(compiled, optimizer, shape, 5)
    assert_seen(Run(folder), not is_watched_first)


def assert_seen(run, is_known):
    """Ledgers of all recorded steps, but of the first where nobody knew of compiled code."""
    assert run.last_step == 5
    assert run.ledger_steps.tolist() == [1, 2, 4][not is_known :] and max(residuals(run).values()) < 1e-6


@pytest.mark.parametrize("is_watched_first", [True, False])
@pytest.mark.parametrize("way", ["module", "part", "function", "sequential"])
def test_modules_that_are_compiled_in_place(folder, way, is_watched_first):  # noqa: F811
    """By `Module.compile`, also of a part, inside of a compiled function, and PyTorch's own class."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    module, shape = made("residual")
    module = nn.Sequential(module, nn.Identity()) if way == "sequential" else module
    optimizer = sgd(module)
    call = module

    def compile_it():
        part = next(iter(module.children())) if way == "part" else module
        part.compile(backend="eager") if way != "function" else None

    if not is_watched_first:
        compile_it()
    if way == "function":
        call = torch.compile(lambda x: module(x), backend="eager")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with watch(module, optimizer, folder, every=2, layers="all", hold_model=False):
            if is_watched_first:
                compile_it()
            loop(call, optimizer, shape, 5)
    assert_seen(Run(folder), way == "part" or (not is_watched_first and way != "function"))


def test_averaged_copies_and_zeroed_gradients(folder):  # noqa: F811
    module, shape = made("residual")
    optimizer = sgd(module)
    x, y = data(shape)
    with watch(module, optimizer, folder, every=1, layers="all", hold_model=False):
        average = torch.optim.swa_utils.AveragedModel(module)
        for step in range(4):
            loss = F.cross_entropy(module(x[:8]), y[:8])
            optimizer.zero_grad(set_to_none=bool(step % 2))
            loss.backward()
            optimizer.step()
            average.update_parameters(module)
            average(x[:8]).sum().backward()
    run = Run(folder)
    assert run.last_step == 4 and max(residuals(run).values()) < 1e-6
    exact_updates(run)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_trains_unseen(folder):  # noqa: F811
    module, shape = made("residual")
    optimizer = sgd(module)
    watcher = watch(module, optimizer, folder, every=1, layers="all", hold_model=False)
    fit(module, optimizer, shape, 1)
    child = os.fork()
    if not child:
        try:
            optimizer.zero_grad()
            optimizer.step()
            watcher.stop()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    fit(module, optimizer, shape, 2)
    watcher.stop()
    assert Run(folder).last_step == 3 and max(residuals(Run(folder)).values()) < 1e-6


def _process(rank, folder, port):  # noqa: F811
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=2)
    module, shape = made("residual")
    module.append(nn.Identity())
    parallel = nn.parallel.DistributedDataParallel(module)  # whose forward pass broadcasts statistics
    optimizer = torch.optim.SGD(parallel.parameters(), 0.05)
    x, y = data(shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watcher = watch(
            parallel, optimizer, folder, every=1, maps_every=1, layers="all", probe_images=x[:2],
            hold_model=False,
        )  # fmt: skip
        for step in range(3):
            take = slice(16 * step + 8 * rank, 16 * step + 8 * rank + 8)
            optimizer.zero_grad()
            F.cross_entropy(parallel(x[take]), y[take]).backward()
            optimizer.step()
        watcher.stop()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def test_maps_of_one_process_wait_for_no_other(folder):  # noqa: F811
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = torch.multiprocessing.spawn(_process, (str(folder), port), nprocs=2, join=False)
    try:
        assert any(processes.join(timeout=60) for _ in range(2))
    finally:
        for process in processes.processes:
            process.kill()
    run = Run(folder)
    assert run.last_step == 3 and len(run.maps("0.conv1", 3)) == 2
    assert max(residuals(run).values()) < 1e-6
