"""Each process reads its own: rows of batches, whole batches of a test, items of a stream; the bits stay."""

import threading

import numpy as np
import pytest

import kernelearn as kl
from kernelearn import data as reading
from kernelearn import layers
from kernelearn.data.part import Part
from kernelearn.data.stores import PictureStore
from kernelearn.errors import ArgumentError, DataError, NonFiniteError
from kernelearn.parallel.exchange import OverMPI
from kernelearn.training import together
from tests.parallel.threads import as_processes, run_together

pytestmark = pytest.mark.filterwarnings("ignore:.* processes share .* shards")
ROWS, SHARDS, BATCH = 26, 6, 8
X = np.random.default_rng(0).integers(0, 256, (ROWS, 6, 6, 1), dtype=np.uint8)
Y = np.arange(ROWS) % 3
SIZES = [(5 + number % 2, 6) for number in range(ROWS)]
lock = threading.Lock()


class Counting:
    """Lazy pictures that remember which thread has decoded which."""

    def __init__(self, images=None):
        self.images = X if images is None else images
        self.read = []

    def fetch(self, row):
        return self.images[row].tobytes()

    def decode(self, fetched, row):
        self.read.append(row)
        return self.images[row]

    def dataset(self):
        shapes = np.array([image.shape for image in self.images])
        is_one = (shapes == shapes[0]).all()
        one, several = (X.shape[1:], None) if is_one else ((None, 6, 1), shapes)
        store = PictureStore(self.fetch, self.decode, ROWS, one, 2, shapes=several)
        return reading.Dataset(store, Y)


def ragged():
    return [X[number, :height] for number, (height, _) in enumerate(SIZES)]


# --- parts of batches


KINDS = {
    "in memory": lambda: reading.as_dataset(X, Y, np.linspace(1, 2, ROWS)),
    "read on demand": lambda: Counting().dataset(),
    "a subset": lambda: Counting().dataset().subset(np.arange(ROWS)[::-1]),
    "by size": lambda: reading.as_dataset(ragged(), Y),
    "by size, on demand": lambda: Counting(ragged()).dataset(),
    "padded": lambda: reading.as_dataset(ragged(), Y).padded(4),
    "padded, on demand": lambda: Counting(ragged()).dataset().padded(4),
    "two inputs": lambda: reading.as_dataset({"a": X, "b": X[:, 0]}, Y),
}


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_parts_are_the_rows_of_whole_batches(make, shuffle):
    options = {"shuffle": shuffle, "seed": 4, "epoch": 1}
    wholes = list(make().batches(BATCH, **options))
    asked = []

    def choice(number, rows):
        asked.append((number, rows))
        return slice(number % 3, min(number % 3 + number, rows))

    parts = list(make().batches(BATCH, start=1, read=choice, **options))
    sizes = [len(first_of(x)) for x, _, _ in wholes]
    assert asked == list(enumerate(sizes))[1:]
    for number, ((x, y, weight), (part, same_y, same_weight)) in enumerate(zip(wholes[1:], parts), 1):
        rows = slice(number % 3, min(number % 3 + number, sizes[number]))
        assert isinstance(part, Part)
        assert (part.first, part.rows) == (rows.start, sizes[number])
        for array, own in zip(arrays_of(x), arrays_of(part.x)):
            np.testing.assert_array_equal(own, array[rows])
            assert own.dtype == array.dtype
        np.testing.assert_array_equal(same_y, y)
        np.testing.assert_array_equal(same_weight, weight)


def arrays_of(x):
    return list(x.values()) if isinstance(x, dict) else [x]


def first_of(x):
    return arrays_of(x)[0]


def test_a_part_may_have_no_row():
    for make in KINDS.values():
        for part, y, _ in make().batches(BATCH, read=lambda number, rows: slice(rows, rows)):
            assert len(first_of(part.x)) == 0
            assert part.rows == len(y)


# --- training


def model_of():
    kl.set_random_seed(1)
    model = kl.Sequential(
        [layers.Input((6, 6, 1)), layers.Conv2D(4, 3), layers.Dropout(0.2), layers.Flatten(), layers.Dense(3)]
    )
    loss = kl.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"], shards=SHARDS)
    return model


def fitted(data, validation=None, **options):
    """(weights, history, largest input) after two epochs."""
    with lock:
        model = model_of()
    options = {"batch_size": BATCH, "epochs": 2, "seed": 3, **options}
    found = model.fit(data, validation_data=validation, verbose=0, **options)
    weights = b"".join(array.tobytes() for array in model.get_weights())
    return weights, found.history, model.input_range.largest


@pytest.mark.parametrize("size", [2, 3, 4, 6])
def test_each_process_decodes_its_share_for_the_same_bits(size):
    alone = fitted(Counting().dataset(), Counting().dataset())
    training, held_out = [Counting() for _ in range(size)], [Counting() for _ in range(size)]
    numbers = iter(range(size))

    def work():
        with lock:
            number = next(numbers)
        return fitted(training[number].dataset(), held_out[number].dataset())

    assert as_processes(size, work) == [alone] * size
    for counted in (training, held_out):
        # Each looks at the first picture before it trains; in an epoch somebody reads each picture once.
        assert sum(len(one.read) for one in counted) <= 2 * ROWS + size
        assert max(len(one.read) for one in counted) < 2 * ROWS


def test_images_of_several_sizes():
    def work():
        with lock:
            kl.set_random_seed(1)
            pooled = [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)]
            model = kl.Sequential([layers.Input((None, None, 1)), *pooled])
            model.compile("sgd", kl.losses.SparseCategoricalCrossentropy(True), shards=SHARDS)
        counting = Counting(ragged())
        model.fit(counting.dataset().padded(4), batch_size=BATCH, epochs=1, seed=0, verbose=0)
        return b"".join(array.tobytes() for array in model.get_weights())

    assert as_processes(3, work) == [work()] * 3


def test_a_broken_picture_ends_with_its_message():
    class Broken(Counting):
        def decode(self, fetched, row):
            if row == 20:
                raise DataError("picture 20 is broken")
            return super().decode(fetched, row)

    with pytest.raises((DataError, threading.BrokenBarrierError)):
        as_processes(2, lambda: fitted(Broken().dataset()))


def test_a_loss_that_is_not_finite_is_explained_by_all():
    x = X.astype("float32")
    x[20] = 3e38

    def work():
        with pytest.raises(NonFiniteError, match="First bad tensor"):
            fitted(reading.as_dataset(x, Y))

    as_processes(2, work)


# --- streams


def items(first=0, step=1):
    """Batches of five."""
    for number in range(first, 6, step):
        rows = slice(number * 5, number * 5 + 5)
        yield X[rows].astype("float32"), Y[rows]


class Loader:
    """An iterable with a length that remembers how often it was read."""

    def __init__(self):
        self.passes = 0

    def __iter__(self):
        self.passes += 1
        return items()

    def __len__(self):
        return 6


STREAMS = {
    "function": lambda: lambda: items(),
    "numbered": lambda: lambda first, step: items(first, step),
    "iterable": Loader,
}
FIRST_READS = r"process 0 reads all of it"


@pytest.mark.filterwarnings(f"ignore:.*{FIRST_READS}")
@pytest.mark.parametrize("batch_size", [None, 7])
@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)
def test_streams_give_the_same_bits(make, batch_size):
    alone = fitted(make(), make(), batch_size=batch_size)
    for size in (2, 4):
        assert as_processes(size, lambda: fitted(make(), make(), batch_size=batch_size)) == [alone] * size


@pytest.mark.filterwarnings(f"ignore:.*{FIRST_READS}")
def test_a_generator_is_read_by_the_first_process():
    alone = fitted(items(), epochs=1)
    assert as_processes(3, lambda: fitted(items(), epochs=1)) == [alone] * 3


def test_that_one_process_reads_is_said():
    with pytest.warns(UserWarning, match=FIRST_READS):
        as_processes(2, lambda: fitted(lambda: items()))


def test_each_process_reads_its_items():
    asked = []

    def numbered(first, step):
        asked.append((first, step))
        return items(first, step)

    as_processes(2, lambda: fitted(numbered, epochs=1))
    assert set(asked) == {(0, 2), (1, 2)}
    asked.clear()
    fitted(numbered, epochs=1)
    assert set(asked) == {(0, 1)}


def test_a_stream_that_gives_other_items_for_another_step_is_refused():
    def wrong(first, step):
        return items(0, 1) if first else iter(())

    with pytest.raises(DataError, match="after it had ended"):
        as_processes(2, lambda: together.shared_data(reading.StreamDataset(wrong), "data").x_shape)


def test_functions_of_one_argument_or_with_defaults_are_as_they_were():
    assert not reading.StreamDataset(lambda: items()).is_by_number
    assert not reading.StreamDataset(items).is_by_number
    assert reading.StreamDataset(lambda first, step: items(first, step)).is_by_number
    assert sum(len(y) for _, y, _ in reading.StreamDataset(items).batches()) == ROWS


# --- evaluation and prediction


def asked(model, work):
    """Results of evaluate and predict, as bytes where they are arrays."""
    found = work(model)
    return found.tobytes() if isinstance(found, np.ndarray) else found


PASSES = {
    "evaluate": lambda model, data: model.evaluate(data, batch_size=BATCH, verbose=0),
    "predict": lambda model, data: model.predict(data, batch_size=BATCH, verbose=0),
}


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("work", PASSES.values(), ids=PASSES)
def test_each_process_evaluates_its_batches_for_the_same_bits(size, work):
    alone = asked(model_of(), lambda model: work(model, Counting().dataset()))
    counted = [Counting() for _ in range(size)]
    numbers = iter(range(size))

    def ask():
        with lock:
            number, model = next(numbers), model_of()
        return asked(model, lambda m: work(m, counted[number].dataset()))

    assert as_processes(size, ask) == [alone] * size
    assert sum(len(one.read) for one in counted) == ROWS


@pytest.mark.parametrize("work", PASSES.values(), ids=PASSES)
def test_who_asks_for_something_else_computes_alone(work):
    """Other data, other weights, more questions than others: everybody gets what one process would."""
    others = X[::-1], Y[::-1].copy()

    def ask(rank, share=None):
        with lock:
            model = model_of()
        if rank == 1:
            model.layers[1].set_weights([2 * weight for weight in model.layers[1].get_weights()])
        found = [asked(model, lambda m: work(m, reading.as_dataset(X, Y)))]
        if rank == 0:  # the others go on meanwhile
            found += [asked(model, lambda m: work(m, reading.as_dataset(*others))) for _ in range(2)]
        with lock:
            model = model_of()
        model.fit(reading.as_dataset(X, Y), batch_size=BATCH, epochs=1, seed=0, verbose=0)
        return [*found, asked(model, lambda m: work(m, reading.as_dataset(X, Y)))]

    numbers = iter(range(3))

    def numbered():
        with lock:
            rank = next(numbers)
        return ask(rank)

    alone = [ask(rank) for rank in range(3)]
    assert sorted(as_processes(3, numbered), key=repr) == sorted(alone, key=repr)


def test_callbacks_that_write_hear_of_a_shared_pass_once():
    heard = []

    class Writer(kl.callbacks.Callback):
        on_first_only = True

        def on_predict_batch_end(self, batch, logs=None):
            heard.append(batch)

    def ask():
        with lock:
            model = model_of()
        model.predict(X.astype("float32"), batch_size=BATCH, verbose=0, callbacks=[Writer()])

    as_processes(2, ask)
    assert heard == [0, 1, 2, 3]


@pytest.mark.parametrize("is_padded", [False, True])
def test_images_of_several_sizes_are_predicted_in_their_order(is_padded):
    def ask(is_padded):
        with lock:
            kl.set_random_seed(1)
            model = kl.Sequential([layers.Input((None, None, 1)), layers.Conv2D(2, 3)])
        data = Counting(ragged()).dataset()
        data = data.padded(4) if is_padded else data
        return [found.tobytes() for found in model.predict(data, batch_size=4, verbose=0)]

    assert as_processes(3, lambda: ask(is_padded)) == [ask(is_padded)] * 3


def test_processes_that_wait_for_each_other_are_told():
    def work(communicator):
        together = OverMPI(communicator)
        together.meet("fit" if together.rank else "end")

    with pytest.raises(ArgumentError, match="Process 0 has ended while process 1 begins a fit"):
        run_together(2, work)
