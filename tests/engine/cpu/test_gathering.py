"""Which calls form groups: nobody is done before what it needs, and what shares images shares a group."""

import numpy as np
import pytest

from kernelearn import layers as L
from kernelearn import optimizers
from kernelearn.bench.nets import FAMILIES, NETS, find_net
from kernelearn.engine.cpu import gathering, schedule
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.gathering import Group, only_native, roots, stretches
from kernelearn.engine.cpu.lowering import lower
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.target import current_target
from kernelearn.engine.cpu.plan import Call, Plan
from kernelearn.engine.cpu.rewrites import optimise
from kernelearn.models.sequential import Sequential
from kernelearn.training.steps.step import Clock
from kernelearn.utils import set_random_seed


def plan_of(model) -> Plan:
    model.compile(optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", engine="cpu")
    return lower(optimise(model.program("train")), current_target())


def groups_of(plan: Plan) -> list[Group]:
    return [group for part in only_native(stretches(plan.steps, plan)) for group in part.groups]


@pytest.mark.parametrize("name", [*NETS, *FAMILIES])
def test_every_call_comes_behind_those_that_it_needs(name):
    plan = plan_of(find_net(name).build())
    order = [call for group in groups_of(plan) for call in group.calls]
    place = {id(call): number for number, call in enumerate(order)}
    calls = [step for step in plan.steps if isinstance(step, Call)]
    assert sorted(place) == sorted(map(id, calls))
    touched: dict[str, list[tuple[int, bool]]] = {}
    for call in calls:
        reads, writes = roots(call, plan)
        for root in reads | writes:
            is_written = root in writes
            for earlier, was_written in touched.get(root, ()):
                assert not (is_written or was_written) or earlier < place[id(call)], (root, call.operation)
            touched.setdefault(root, []).append((place[id(call)], is_written))


def small_network() -> Sequential:
    set_random_seed(0)
    return Sequential(
        [
            L.Conv2D(16, 3, padding="same", use_bias=False, input_shape=(24, 24, 3), name="one"),
            L.BatchNormalization(name="norm"),
            L.Activation("relu", name="relu"),
            L.Conv2D(16, 3, padding="same", use_bias=False, name="two"),
            L.BatchNormalization(name="norm2"),
            L.GlobalAveragePooling2D(name="mean"),
            L.Dense(3, activation="softmax", name="dense"),
        ]
    )


def test_a_normalisation_between_convolutions_goes_through_memory_with_them():
    """Backwards each pass ends where sums over all images are needed, and nowhere else."""
    plan = plan_of(small_network())
    found = [[(c.operation.layer, c.operation.phase) for c in group.calls] for group in groups_of(plan)]
    assert [("norm", "forward"), ("two", "forward"), ("norm2", "forward")] in found
    assert [("norm2", "backward"), ("two", "backward"), ("two", "backward"), ("norm", "backward")] in found


def trained(images: int, count: int, lends: bool = False) -> tuple[list[np.ndarray], CpuExecutable]:
    """Weights after three steps.

    Args:
        lends: whether what groups have for themselves has memory for all images.
    """
    model = small_network()
    plan_of(model)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((images, 24, 24, 3), np.float32)
    batch = model.batch(x, rng.integers(0, 3, images))
    threads.set_num_threads(count)
    try:
        step = model.step("train")
        inputs = step.inputs(batch, Clock.of(model.optimizer, seed=1))
        executable = step.executable
        arrays = executable.inputs(inputs)
        binding = executable.binding(arrays)
        if lends:
            binding.lend(name for group in native(executable) for name in group.local)
            binding.parts = [binding.job(stretch.groups) for stretch in only_native(binding.stretches)]
        for _ in range(3):
            binding.run(arrays)
    finally:
        threads.set_num_threads(None)
    return model.get_weights(), executable


def native(executable: CpuExecutable) -> list[Group]:
    return [group for part in only_native(executable.stretches) for group in part.groups]


def test_what_a_group_has_for_itself_needs_no_memory_for_all_images():
    """Gradients of the normalised maps, the maps themselves, in both passes."""
    expected, executable = trained(7, 1, lends=True)
    local = {name.split("#")[0] for group in native(executable) for name in group.local}
    assert {"relu/activation", "relu/activation/again", "norm2/normalize_grad"} <= local
    for images, count in ((7, 1), (7, 2), (7, 3)):
        found, _ = trained(images, count)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), (images, count)


def test_more_threads_than_have_memory_of_their_own_leave_the_work_to_the_others():
    """Helpers that are awake since more threads were in force take part in any job."""
    expected, _ = trained(9, 1)
    for count in (6, 2):
        found, _ = trained(9, count)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), count


def test_maps_that_are_computed_again_are_those_that_were_kept(monkeypatch):
    found, executable = trained(5, 2)
    monkeypatch.setattr("kernelearn.engine.cpu.executable.compute_again", lambda parts, plan: None)
    expected, other = trained(5, 2)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert executable.layout(5, 2).nbytes < other.layout(5, 2).nbytes


def test_a_thread_works_on_as_many_images_as_its_cache_holds():
    calls = [call for group in groups_of(plan_of(find_net("resnet20").build())) for call in group.calls]
    call = next(call for call in calls if call.by_image)
    group = Group([call], image_bytes=schedule.CHUNK_BYTES // 3)
    assert schedule.chunk_size(64, 1, group) == 3
    assert schedule.chunk_size(4, 2, group) == 2
    group.image_bytes = 3 * schedule.CHUNK_BYTES
    assert schedule.chunk_size(64, 2, group) == 1
    # What is read again for each portion is worth some images.
    group.other_bytes = 3 * schedule.CHUNK_BYTES
    assert schedule.chunk_size(64, 2, group) == schedule.LARGE_WEIGHT_SHARE
    group.other_bytes = 12 * schedule.CHUNK_BYTES
    assert schedule.chunk_size(64, 2, group) == 4 * schedule.LARGE_WEIGHT_SHARE
    group.other_bytes = 3 * schedule.CHUNK_BYTES
    group.image_bytes = schedule.CHUNK_BYTES // 3
    assert schedule.chunk_size(64, 2, group) == 8
    group.other_bytes = schedule.CHUNK_BYTES // 3
    assert schedule.chunk_size(64, 2, group) == 3


def test_a_call_alone_is_not_kept_from_large_portions():
    plan = plan_of(find_net("bottleneck").build())
    group = gathering.alone(groups_of(plan)[0].calls[0], plan)
    assert group.image_bytes == 0


def test_few_tasks_that_are_no_images_are_taken_one_by_one():
    calls = [call for group in groups_of(plan_of(find_net("resnet20").build())) for call in group.calls]
    group = Group([next(call for call in calls if not call.by_image)])
    most = schedule.FEW_TASKS * 2
    assert schedule.chunk_size(most, 2, group) == 1
    assert schedule.chunk_size(most + 8, 2, group) == (most + 8) // 8
    assert schedule.chunk_size(most, 1, group) == most
