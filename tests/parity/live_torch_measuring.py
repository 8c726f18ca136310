"""Regions and steps are timed beside PyTorch before their first call, and left to it where it is faster.

    python -m pytest tests/parity/live_torch_measuring.py

Clocks are replaced here: what is tested is what follows from a result, and that a trial leaves no trace.
"""

import copy
import os
import warnings

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from kernelearn.errors import ArgumentError  # noqa: E402
from kernelearn.torch import compile_graph, explain, measuring, optimize  # noqa: E402
from kernelearn.torch.passes import RegionCall  # noqa: E402
from kernelearn.torch.telling import SAID  # noqa: E402


@pytest.fixture(autouse=True)
def fresh(monkeypatch, tmp_path):
    torch._dynamo.reset()
    SAID.clear()
    torch.manual_seed(0)
    monkeypatch.delenv(measuring.VARIABLE, raising=False)
    monkeypatch.setenv("KERNELEARN_CACHE_DIR", str(tmp_path))
    yield
    torch._dynamo.reset()


class Clock:
    """Trials run both works, and end as said."""

    def __init__(self, monkeypatch, ours, theirs):
        self.trials, self.times = 0, [ours, theirs]
        monkeypatch.setattr(measuring, "timed", self)
        self.regions = 0
        forward = RegionCall.forward

        def counted(region, inputs, is_again=False):
            self.regions += not is_again
            return forward(region, inputs, is_again)

        monkeypatch.setattr(RegionCall, "forward", counted)

    def __call__(self, *works):
        for work in works:
            work()
            work()
        self.trials += 1
        return self.times


def net():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(216, 5),
    )


def batch(count=4):
    return torch.randn(count, 3, 8, 8), torch.randint(0, 5, (count,))


def step_of(model, called, x, y):
    model.zero_grad()
    torch.manual_seed(1)
    loss = F.cross_entropy(called(x), y)
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in model.parameters()), *model.buffers()]


def as_in_eager_mode(model, called, x, y):
    """Whether a step gives the same bits."""
    other = copy.deepcopy(model)
    found, wanted = step_of(model, called, x, y), step_of(other, other, x, y)
    return all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_pytorch_takes_over_what_it_is_faster_in(monkeypatch):
    clock = Clock(monkeypatch, 2.0, 1.0)
    model = net()
    called = torch.compile(model, backend=compile_graph)
    for _ in range(3):
        assert as_in_eager_mode(model, called, *batch())
    assert (clock.trials, clock.regions) == (1, 0)


@pytest.mark.parametrize("theirs", [1.0, 0.97], ids=["slower", "as far as clocks can tell"])
def test_the_engine_stays_where_it_is_not_clearly_slower(monkeypatch, theirs):
    clock = Clock(monkeypatch, 1.0, theirs)
    model = net()
    called = torch.compile(model, backend=compile_graph)
    for _ in range(3):
        step_of(model, called, *batch())
    assert (clock.trials, clock.regions) == (1, 3)


def test_a_trial_leaves_no_trace(monkeypatch):
    Clock(monkeypatch, 1.0, 2.0)
    told = []
    model, (x, y) = net(), batch()
    model[0].weight.register_hook(lambda grad: told.append("gradient"))
    other = copy.deepcopy(model)
    other[0].weight.register_hook(lambda grad: told.append("eager"))
    called = torch.compile(model, backend=compile_graph)

    def kept(tensor):
        told.append("saved")
        return tensor

    state = torch.random.get_rng_state()
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        result = called(x)
        saved = told.count("saved")
    F.cross_entropy(result, y).backward()
    assert told.count("gradient") == 1
    assert all(p.grad is not None for p in model.parameters())
    torch.random.set_rng_state(state)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
        F.cross_entropy(other(x), y).backward()
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, dict(other.named_buffers())[name])
    assert int(model[1].num_batches_tracked) == 1
    with torch.autograd.graph.saved_tensors_hooks(kept, lambda tensor: tensor):
        called(x)  # without a trial
    assert told.count("saved") == 2 * saved > 0


def test_what_was_found_is_kept_for_batches_of_about_that_size(monkeypatch):
    clock = Clock(monkeypatch, 2.0, 1.0)
    model = net().eval()
    for _ in range(2):  # the second time from the disk
        torch._dynamo.reset()
        called = torch.compile(model, backend=compile_graph, dynamic=True)
        with torch.no_grad():
            for count in (5, 7, 4, 6):
                called(batch(count)[0])
        assert clock.trials == 1
    with torch.no_grad():
        called(batch(8)[0])
    assert clock.trials == 2
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        with torch.no_grad():
            called(batch(8)[0])
    finally:
        torch.set_num_threads(threads)
    assert clock.trials == 3
    assert clock.regions == 0


def test_a_damaged_file_is_measured_again(monkeypatch, tmp_path):
    clock = Clock(monkeypatch, 2.0, 1.0)
    monkeypatch.setattr(measuring.cache, "read", lambda digest: b"{")
    model = net()
    step_of(model, torch.compile(model, backend=compile_graph), *batch())
    assert clock.trials == 1


@pytest.mark.parametrize("way", ["option", "variable", "deterministic"])
def test_measuring_can_be_turned_off(monkeypatch, way):
    clock = Clock(monkeypatch, 2.0, 1.0)
    model, options = net(), {"measure": False} if way == "option" else None
    if way == "variable":
        monkeypatch.setenv(measuring.VARIABLE, "0")
    called = torch.compile(model, backend=compile_graph, options=options)
    try:
        torch.use_deterministic_algorithms(way == "deterministic")
        step_of(model, called, *batch())
    finally:
        torch.use_deterministic_algorithms(False)
    assert clock.trials == 0
    assert clock.regions == 1


def test_a_trial_that_cannot_be_made_leaves_the_engine(monkeypatch):
    def no_memory(*works):
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(measuring, "timed", no_memory)
    model = net()
    result = torch.compile(model, backend=compile_graph)(batch()[0])
    assert result.shape == (4, 5)


def test_explain_says_what_was_measured(monkeypatch):
    Clock(monkeypatch, 2e-3, 1e-3)
    model, (x, _) = net(), batch()
    found = explain(model, x)
    assert found.graphs[0].regions == ()
    assert "measured: 2 ms on the engine, 1 ms in PyTorch" in str(found)
    assert not found.is_whole
    assert "measured" not in str(explain(model, x, measure=False))
    Clock(monkeypatch, 1e-3, 2e-3)
    found = explain(model, batch(16)[0])
    assert "(1 ms on the engine, 2 ms in PyTorch)" in str(found)
    assert [time.ours for time in found.graphs[0].times] == [1e-3] * len(found.graphs[0].regions)


def test_unknown_options_and_variables_are_refused(monkeypatch):
    model, (x, _) = net(), batch()
    with pytest.raises(Exception, match="UnknownNameError: Unknown option 'measured'"):
        torch.compile(model, backend=compile_graph, options={"measured": True})(x)
    monkeypatch.setenv(measuring.VARIABLE, "perhaps")
    with pytest.raises(ArgumentError, match=measuring.VARIABLE):
        measuring.is_wanted()


@pytest.mark.parametrize("measure", [True, False])
def test_dropout_in_a_whole_step_draws_what_eager_draws(monkeypatch, measure):
    Clock(monkeypatch, 1.0, 2.0)
    model, (x, y) = net(), batch()
    other = copy.deepcopy(model)
    step = optimize(model, torch.optim.SGD(model.parameters(), 0.1), measure=measure)
    theirs = torch.optim.SGD(other.parameters(), 0.1)
    for seed in range(3):
        torch.manual_seed(seed)
        loss = step(x, y)
        assert step.is_fused
        drawn = torch.rand(())
        torch.manual_seed(seed)
        theirs.zero_grad()
        wanted = F.cross_entropy(other(x), y)
        wanted.backward()
        theirs.step()
        torch.testing.assert_close(loss, wanted.detach())
        assert drawn == torch.rand(())
    torch.testing.assert_close(list(model.parameters()), list(other.parameters()))


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_a_step_is_weighed_whole(monkeypatch, kind):
    clock = Clock(monkeypatch, 2.0, 1.0)
    model, (x, y) = net(), batch()
    before = [t.clone() for t in (*model.parameters(), *model.buffers())]
    other = copy.deepcopy(model)
    optimizer = kind(model.parameters(), 0.1)
    step = optimize(model, optimizer)
    seen = []
    weigh = step._weighed

    def looked_at(bound, inputs):
        try:
            weigh(bound, inputs)
        finally:
            seen.append(all(map(torch.equal, before, (*model.parameters(), *model.buffers()))))
            seen.append(not optimizer.state)

    step._weighed = looked_at
    with pytest.warns(UserWarning, match="measured: a step takes 2e"):
        torch.manual_seed(1)
        loss = step(x, y)
    assert seen == [True, True]
    assert not step.is_fused
    assert step.measured == measuring.Measured(2.0, 1.0)
    assert clock.regions == 0  # the parts were left to PyTorch, too
    theirs = kind(other.parameters(), 0.1)
    torch.manual_seed(1)
    wanted = F.cross_entropy(other(x), y)
    wanted.backward()
    theirs.step()
    assert torch.equal(loss, wanted.detach())
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(x, y)


def test_a_step_that_is_faster_stays(monkeypatch):
    clock = Clock(monkeypatch, 1.0, 2.0)
    model = net()
    step = optimize(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9))
    for _ in range(3):
        step(*batch())
    assert step.is_fused and clock.trials == 1
    model = net()
    options = {"options": {"measure": False}}
    optimize(model, **options)(batch()[0])
    assert clock.trials == 1
    step = optimize(model, torch.optim.SGD(model.parameters(), 0.1), **options)
    step(*batch())
    assert step.is_fused and clock.trials == 1
    model = net()
    step = optimize(model, torch.optim.SGD(model.parameters(), 0.1), measure=False)
    step(*batch())
    assert step.is_fused and step.measured is None and clock.trials == 1


def test_the_least_of_several_counts():
    ticks = iter(range(10**6))
    found = measuring.timed(lambda: None, lambda: next(ticks) and None, clock=lambda: next(ticks) * 1e-2)
    assert found == pytest.approx([1e-2, 2e-2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_with_threads_times_nothing():
    """PyTorch's parallel operators hang there; the engine has threads of its own."""
    count, choice = torch.get_num_threads(), measuring.Choice("a program", is_measured=True)
    torch.set_num_threads(2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = os.fork()
        if child == 0:
            os._exit(int(choice.is_left(4, lambda: os._exit(3))))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        torch.set_num_threads(count)


@pytest.mark.parametrize("asked", [{"mode": "max-autotune"}, {"options": {"max_autotune": True}}])
def test_settings_of_inductor_are_refused_by_name(asked):
    with pytest.raises(ValueError, match=r"max.autotune"):
        optimize(net(), **asked)
    with pytest.raises(Exception, match=r"mode='max-autotune' is a setting|Known: every, measure"):
        torch.compile(net(), backend=compile_graph, **asked)(torch.ones(2, 3, 8, 8))
