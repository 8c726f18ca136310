"""Which streams are due at a step, what one needs of the others, and how strides become wider."""

import pytest

from kernelearn.recording.schedule import (
    SCHEDULED,
    Cost,
    Schedule,
    Stream,
    kept_beside,
    schedules_of,
    thinned,
)


def due(every, stream, steps=range(13)):
    schedule = Schedule(every)
    return [step for step in steps if stream in schedule.due(step)]


def test_a_stream_is_due_at_the_multiples_of_its_stride():
    assert due({"kernels": 4}, Stream.KERNELS) == [0, 4, 8, 12]
    assert due({"maps": 5}, Stream.MAPS) == [0, 5, 10]
    assert not Schedule(dict.fromkeys(SCHEDULED, 0)).due(12)


def test_a_ledger_comes_at_the_first_step_too_and_brings_what_explains_the_change():
    every = {"ledger": 4}
    assert due(every, Stream.LEDGER) == due(every, Stream.GRADIENTS) == [1, 4, 8, 12]
    assert due(every, Stream.KERNELS) == due(every, Stream.STATE) == [0, 1, 3, 4, 7, 8, 11, 12]


def test_gradients_bring_the_state_before_and_after_and_no_weights():
    assert due({"gradients": 6}, Stream.STATE) == [5, 6, 11, 12]
    assert due({"gradients": 6}, Stream.KERNELS) == []


def test_snapshots_count_epochs():
    assert [epoch for epoch in range(6) if Schedule({"snapshots": 3}).ends_epoch(epoch)] == [2, 5]
    assert not Schedule({"snapshots": 0}).ends_epoch(0)
    assert due({"snapshots": 1}, Stream.SNAPSHOTS) == []


def test_a_stream_keeps_its_stride_where_its_next_record_would_lack_the_one_before():
    now = Schedule({"kernels": 0, "ledger": 10})
    assert now.changed({"ledger": 4}, 7).every["ledger"] == 10  # step 8 would need the weights of step 7
    assert now.changed({"ledger": 4}, 6).every["ledger"] == 4
    assert now.changed({"ledger": 4, "kernels": 2}, 7).every == {"kernels": 2, "ledger": 10}


def test_whose_sake_a_stream_is_recorded_for():
    assert schedules_of(Stream.STATE) == [Stream.GRADIENTS, Stream.LEDGER]
    assert schedules_of(Stream.KERNELS) == [Stream.KERNELS, Stream.LEDGER]
    assert schedules_of(Stream.MAPS) == [Stream.MAPS]


def test_what_stays_keeps_what_it_needs():
    kept = kept_beside({Stream.LEDGER: {8}, Stream.GRADIENTS: {3}, Stream.KERNELS: {0}})
    assert kept[Stream.GRADIENTS] == {3, 8} and kept[Stream.KERNELS] == {0, 7, 8}
    assert kept[Stream.STATE] == {2, 3, 7, 8}


def test_the_largest_schedule_is_halved_until_all_fits():
    costs = {"kernels": Cost(10), "ledger": Cost(1000), "maps": Cost(0)}
    wished = {"kernels": 1, "ledger": 10, "maps": 0}
    assert thinned(wished, costs, steps=100, room=20_000) == wished
    assert thinned(wished, costs, steps=100, room=6_000) == {"kernels": 1, "ledger": 40, "maps": 0}
    assert thinned(wished, costs, steps=100, room=500)["kernels"] > 1
    assert thinned(wished, costs, steps=100, room=0)["ledger"] > 100


@pytest.mark.parametrize("steps", [0, 1, 50])
def test_what_fits_stays_as_wished(steps):
    assert thinned({"kernels": 3}, {"kernels": Cost(8)}, steps, room=10_000) == {"kernels": 3}
