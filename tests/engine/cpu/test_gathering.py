"""Which calls form groups: nobody is done before what it needs, and what shares images shares a group."""

import pytest

from kernelearn import layers as L
from kernelearn import optimizers
from kernelearn.bench.nets import FAMILIES, NETS, find_net
from kernelearn.engine.cpu import gathering, schedule
from kernelearn.engine.cpu.gathering import Group, only_native, roots, stretches
from kernelearn.engine.cpu.lowering import lower
from kernelearn.engine.cpu.machine.target import current_target
from kernelearn.engine.cpu.plan import Call, Plan
from kernelearn.engine.cpu.rewrites import optimise
from kernelearn.models.sequential import Sequential


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


def test_a_normalisation_between_convolutions_goes_through_memory_with_them():
    """Backwards each pass ends where sums over all images are needed, and nowhere else."""
    model = Sequential(
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
    plan = plan_of(model)
    found = [[(c.operation.layer, c.operation.phase) for c in group.calls] for group in groups_of(plan)]
    assert [("norm", "forward"), ("two", "forward"), ("norm2", "forward")] in found
    assert [("norm2", "backward"), ("two", "backward"), ("two", "backward"), ("norm", "backward")] in found


def test_a_thread_works_on_as_many_images_as_its_cache_holds():
    call = groups_of(plan_of(find_net("resnet20").build()))[0].calls[0]
    group = Group([call], image_bytes=schedule.CHUNK_BYTES // 3)
    assert schedule.chunk_size(64, 1, group) == 3
    assert schedule.chunk_size(4, 2, group) == 2
    group.image_bytes = 3 * schedule.CHUNK_BYTES
    assert schedule.chunk_size(64, 2, group) == 1
    # What is read again for each portion is worth at least as many images.
    group.other_bytes = 6 * schedule.CHUNK_BYTES
    assert schedule.chunk_size(64, 2, group) == 4


def test_a_call_alone_is_not_kept_from_large_portions():
    plan = plan_of(find_net("bottleneck").build())
    group = gathering.alone(groups_of(plan)[0].calls[0], plan)
    assert group.image_bytes == 0
