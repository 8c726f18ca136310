"""Programs as users write them, from the same weights: losses as Keras 3 (jax) or PyTorch (float64) gives."""

import numpy as np
import pytest

import kernelearn
from kernelearn import Input, Model, Sequential, layers, losses, metrics, ops, optimizers
from kernelearn.errors import ArgumentError, NonFiniteError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 6)).astype("float32")
LABELS = RNG.integers(0, 3, 16).astype("int32")


def fill(weights):
    """The same numbers as in the other packages."""
    rng = np.random.default_rng(7)
    for weight in weights:
        weight.assign(rng.normal(size=weight.shape).astype("float32") * (0.4 if weight.ndim > 1 else 0.1))


class Autoencoder(Model):
    def __init__(self):
        super().__init__()
        self.encoder = Sequential([layers.Dense(3, activation="relu")])
        self.decoder = Sequential([layers.Dense(6)])

    def call(self, x):
        return self.decoder(self.encoder(x))


def test_autoencoder():
    model = Autoencoder()
    model(X)
    fill(model.trainable_variables)
    model.compile(optimizers.Adam(0.01), losses.MeanSquaredError())
    history = model.fit(X, X, epochs=3, batch_size=6, shuffle=False, verbose=0).history["loss"]
    wanted = [0.8991053104400635, 0.864266037940979, 0.8426371216773987]
    np.testing.assert_allclose(history, wanted, rtol=1e-5)
    assert model.evaluate(X, X, verbose=0) == pytest.approx(0.8304753303527832, rel=1e-5)


class Sampling(layers.Layer):
    def call(self, inputs):
        mean, log_variance, noise = inputs
        return mean + ops.exp(0.5 * log_variance) * noise


class Variational(Model):
    """A variational autoencoder whose noise comes with the data, so that others can draw the same."""

    def __init__(self):
        super().__init__()
        x, noise, code = Input((6,)), Input((2,)), Input((2,))
        hidden = layers.Dense(5, activation="relu", name="h")(x)
        mean, spread = layers.Dense(2, name="m")(hidden), layers.Dense(2, name="v")(hidden)
        self.encoder = Model([x, noise], [mean, spread, Sampling()([mean, spread, noise])], name="encoder")
        hidden = layers.Dense(5, activation="relu", name="d")(code)
        self.decoder = Model(code, layers.Dense(6, activation="sigmoid")(hidden), name="decoder")

    def call(self, inputs):
        mean, log_variance, code = self.encoder(inputs)
        return {"image": self.decoder(code), "mean": mean, "log_variance": log_variance}

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        each = losses.binary_crossentropy(ops.expand_dims(y, -1), ops.expand_dims(y_pred["image"], -1))
        mean, log_variance = y_pred["mean"], y_pred["log_variance"]
        divergence = -0.5 * (1 + log_variance - ops.square(mean) - ops.exp(log_variance))
        return ops.mean(ops.sum(each, axis=1)) + ops.mean(ops.sum(divergence, axis=1))


def test_variational_autoencoder():
    model, noise = Variational(), np.random.default_rng(3).normal(size=(16, 2)).astype("float32")
    fill(model.encoder.trainable_variables)
    fill(model.decoder.trainable_variables)
    model.compile(optimizers.Adam(0.01))
    y = 1 / (1 + np.exp(-X))
    history = model.fit([X, noise], y, epochs=3, batch_size=8, shuffle=False, verbose=0).history["loss"]
    np.testing.assert_allclose(history, [4.309939384460449, 4.24415397644043, 4.2008562088012695], rtol=1e-5)


class Distiller(Model):
    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher = student, teacher

    def compile(self, optimizer, metrics, student_loss_fn, distillation_loss_fn, alpha, temperature):
        super().compile(optimizer=optimizer, metrics=metrics)
        self.student_loss_fn, self.distillation_loss_fn = student_loss_fn, distillation_loss_fn
        self.alpha, self.temperature = alpha, temperature

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, allow_empty=False):
        taught, t = self.teacher(x, training=False), self.temperature
        soft = [ops.softmax(logits / t, axis=1) for logits in (taught, y_pred)]
        distilled = self.distillation_loss_fn(*soft) * t**2
        return self.alpha * self.student_loss_fn(y, y_pred) + (1 - self.alpha) * distilled

    def call(self, x):
        return self.student(x)


def test_distillation():
    teacher, student = (
        Sequential([Input((6,)), layers.Dense(size, activation="relu"), layers.Dense(3)]) for size in (8, 4)
    )
    fill(teacher.trainable_variables)
    fill(student.trainable_variables)
    teacher.trainable = False
    before = teacher.get_weights()
    model = Distiller(student, teacher)
    model.compile(
        optimizers.Adam(0.01),
        [metrics.SparseCategoricalAccuracy()],
        losses.SparseCategoricalCrossentropy(from_logits=True),
        losses.KLDivergence(),
        alpha=0.3,
        temperature=4,
    )
    history = model.fit(X, LABELS, epochs=3, batch_size=8, shuffle=False, verbose=0).history
    wanted = [0.48780789971351624, 0.45922064781188965, 0.43548089265823364]
    np.testing.assert_allclose(history["loss"], wanted, rtol=1e-5)
    assert history["sparse_categorical_accuracy"] == [0.3125, 0.3125, 0.25]
    for now, then in zip(teacher.get_weights(), before):
        np.testing.assert_array_equal(now, then)


class Contrast(losses.Loss):
    def __init__(self, temperature=1.0, name=None):
        super().__init__(name=name)
        self.temperature = temperature

    def call(self, labels, features):
        norm = ops.sqrt(ops.sum(ops.square(features), axis=1, keepdims=True))
        features = ops.divide(features, norm)
        logits = ops.divide(ops.matmul(features, ops.transpose(features)), self.temperature)
        labels = ops.reshape(labels, (-1, 1))
        same = ops.cast(ops.equal(labels, ops.transpose(labels)), "float32")
        same = same / ops.sum(same, axis=1, keepdims=True)
        return ops.mean(-ops.sum(same * ops.log_softmax(logits, axis=-1), axis=1))


def test_supervised_contrast():
    x = Input((6,))
    model = Model(x, layers.Dense(4)(layers.Dense(8, activation="relu")(x)))
    fill(model.trainable_variables)
    model.compile(optimizers.Adam(0.01), Contrast(0.5))
    history = model.fit(X, LABELS, epochs=3, batch_size=6, shuffle=False, verbose=0).history["loss"]
    wanted = [1.652940034866333, 1.5611071586608887, 1.4990168809890747]
    np.testing.assert_allclose(history, wanted, rtol=1e-5)


class Distance(layers.Layer):
    def call(self, vectors):
        a, b = vectors
        return ops.sqrt(ops.maximum(ops.sum(ops.square(a - b), axis=1, keepdims=True), 1e-7))


def contrastive(margin):
    def loss(y_true, y_pred):
        far = ops.square(ops.maximum(margin - y_pred, 0))
        return ops.mean((1 - y_true) * ops.square(y_pred) + y_true * far)

    return loss


def test_siamese_twins():
    x, a, b = Input((6,)), Input((6,), name="a"), Input((6,), name="b")
    twin = Model(x, layers.Dense(3)(layers.Dense(5, activation="tanh")(x)))
    model = Model([a, b], layers.Dense(1, activation="sigmoid")(Distance()([twin(a), twin(b)])))
    fill(model.trainable_variables)
    model.compile(loss=contrastive(1), optimizer=optimizers.RMSprop(0.01), metrics=["accuracy"])
    pairs, differ = [X, X[::-1].copy()], (LABELS[::-1] != LABELS).astype("float32")
    options = {"batch_size": 8, "shuffle": False, "verbose": 0, "validation_data": (pairs, differ)}
    history = model.fit(pairs, differ, epochs=3, **options).history
    wanted = [0.23004385828971863, 0.21146351099014282, 0.19555038213729858]
    np.testing.assert_allclose(history["loss"], wanted, rtol=1e-5)
    assert history["accuracy"] == [0.75] * 3
    wanted = [0.21555545926094055, 0.19960257411003113, 0.18242356181144714]
    np.testing.assert_allclose(history["val_loss"], wanted, rtol=1e-5)


# --- adversaries


def begun(model, shapes, seed):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=s) * (0.4 if len(s) > 1 else 0.1) for s in shapes])
    return model


def adversaries():
    """Generator, discriminator, real data, noise, weights of mixtures."""
    hidden = layers.Dense(8, activation="relu")
    generator = Sequential([Input((4,)), hidden, layers.Dense(6)], name="generator")
    judge = Sequential([Input((6,)), layers.Dense(8, activation="tanh"), layers.Dense(1)], name="judge")
    rng = np.random.default_rng(0)
    real = rng.normal(size=(8, 6))
    noise = [rng.normal(size=(8, 4)) for _ in range(6)]
    return (
        begun(generator, [(4, 8), (8,), (8, 6), (6,)], 1),
        begun(judge, [(6, 8), (8,), (8, 1), (1,)], 2),
        real,
        noise,
        [rng.uniform(size=(8, 1)) for _ in range(3)],
    )


class GAN(Model):
    """As in Keras's guide, with `minimize` in the place of the tapes."""

    def __init__(self, discriminator, generator):
        super().__init__()
        self.discriminator, self.generator = discriminator, generator
        self.d_loss_tracker = metrics.Mean(name="d_loss")

    def compile(self, d_optimizer, g_optimizer, loss_fn):
        super().compile()
        self.d_optimizer, self.g_optimizer, self.loss_fn = d_optimizer, g_optimizer, loss_fn

    def train_step(self, data):
        real, first, second = data
        both = ops.concatenate([self.generator(first), real], axis=0)
        n = ops.shape(real)[0]
        labels = ops.concatenate([ops.ones((n, 1)), ops.zeros((n, 1))], axis=0)
        d_loss = self.loss_fn(labels, self.discriminator(both))
        kernelearn.minimize(d_loss, self.d_optimizer, self.discriminator.trainable_weights)
        g_loss = self.loss_fn(ops.zeros((n, 1)), self.discriminator(self.generator(second)))
        kernelearn.minimize(g_loss, self.g_optimizer, self.generator.trainable_weights)
        self.d_loss_tracker.update_state(d_loss)
        return {"d_loss": self.d_loss_tracker.result(), "g_loss": g_loss}


def test_generative_adversaries():
    generator, judge, real, noise, _ = adversaries()
    model = GAN(judge, generator)
    model.compile(
        optimizers.SGD(0.1, momentum=0.5), optimizers.SGD(0.05), losses.BinaryCrossentropy(from_logits=True)
    )
    logs = [model.train_on_batch(real, *noise[2 * i : 2 * i + 2], return_dict=True) for i in range(3)]
    np.testing.assert_allclose(
        [log["d_loss"] for log in logs],
        [0.7845249918182955, 0.7311030115686005, 0.7300005639186585],
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        [log["g_loss"] for log in logs],
        [0.6006109292653322, 0.5728988393859327, 0.6635355326228713],
        rtol=1e-5,
    )
    assert generator.get_weights()[0][0, 0] == pytest.approx(0.13892870872823537, rel=1e-5)
    assert judge.get_weights()[0][0, 0] == pytest.approx(0.007684392511090925, rel=1e-4)


def test_adversaries_in_fit():
    """Logs by name, a mean over the epoch, and the same numbers from the same seed."""

    class Plain(GAN):
        def train_step(self, real):
            noise = kernelearn.random.normal((2, ops.shape(real)[0], 4))
            return super().train_step((real, noise[0], noise[1]))

    def trained():
        generator, judge, *_ = adversaries()
        model = Plain(judge, generator)
        model.compile(optimizers.SGD(0.1), optimizers.SGD(0.05), losses.BinaryCrossentropy(from_logits=True))
        return model.fit(X, batch_size=8, epochs=2, verbose=0, seed=4, shuffle=False).history

    history = trained()
    assert list(history) == ["d_loss", "g_loss"] and history == trained()
    assert len(set(history["d_loss"])) == 2


def test_a_penalty_on_the_gradient_by_the_input():
    generator, critic, real, noise, shares = adversaries()
    fast, slow = optimizers.SGD(0.02), optimizers.SGD(0.05)

    def penalty(real, fake, share):
        mixed = real + share * (fake - real)
        gradient = kernelearn.grad(lambda x: ops.sum(critic(x, training=True)))(mixed)
        return ops.mean(ops.square(ops.sqrt(ops.sum(ops.square(gradient), axis=1)) - 1.0))

    @kernelearn.function
    def step(real, first, second, share):
        fake = ops.stop_gradient(generator(first))
        punished = penalty(real, fake, share)
        c_loss = ops.mean(critic(fake)) - ops.mean(critic(real)) + 10.0 * punished
        kernelearn.minimize(c_loss, fast, critic.trainable_weights)
        g_loss = kernelearn.minimize(-ops.mean(critic(generator(second))), slow, generator)
        return c_loss, punished, g_loss

    got = [step(real, noise[2 * i], noise[2 * i + 1], shares[i]) for i in range(3)]
    wanted = [
        [1.0119926146825229, 0.12116863079398091, 0.30614855750400677],
        [0.18004379727429287, 0.014224515123440288, 0.3433813163210659],
        [0.6519116955956868, 0.05718031521058857, -0.02797859076916881],
    ]
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    assert critic.get_weights()[0][0, 0] == pytest.approx(0.09769859244836566, rel=1e-4)


# --- loops of one's own, and steps that cannot be


def test_a_fit_loop_and_a_search_for_the_learning_rate():
    model = Sequential([Input((6,)), layers.Dense(5, activation="tanh"), layers.Dense(3)])
    twin = kernelearn.models.clone_model(model)
    twin.set_weights(model.get_weights())
    optimizer, loss_fn = optimizers.SGD(0.1), losses.SparseCategoricalCrossentropy(from_logits=True)
    accuracy = metrics.SparseCategoricalAccuracy()

    @kernelearn.function
    def train(x, y):
        logits = model(x, training=True)
        accuracy.update_state(y, logits)
        return kernelearn.minimize(loss_fn(y, logits), optimizer, model)

    rates = [0.1, 0.2, 0.4]
    got = []
    for rate in rates:
        optimizer.learning_rate = rate
        got += [train(X[:8], LABELS[:8]), train(X[8:], LABELS[8:])]
    assert len(train.programs(X[:8], LABELS[:8])) == 1 and optimizer.iterations == 6
    twin.compile(optimizers.SGD(0.1), loss_fn)
    wanted = []
    for rate in rates:
        twin.optimizer.learning_rate = rate
        wanted += [twin.train_on_batch(X[:8], LABELS[:8]), twin.train_on_batch(X[8:], LABELS[8:])]
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert 0.0 < accuracy.result() < 1.0


class Stepping(Model):
    """The default steps, called by ones of the model's own."""

    def train_step(self, data):
        logs = super().train_step(data)
        return {**logs, "twice": 2 * logs["seen"]} if "seen" in logs else logs

    def test_step(self, data):
        return super().test_step(data)


def test_the_default_steps_are_code_like_any_other():
    x = Input((6,))
    y = layers.Dense(3, kernel_regularizer="l2")(layers.Dense(4, activation="tanh")(x))
    own, usual = Stepping(x, y), Model(x, y)
    start, weights = own.get_weights(), np.linspace(0.5, 1.5, 16).astype("float32")
    results = []
    for model in (own, usual):
        model.set_weights(start)
        model.compile(optimizers.SGD(0.1), "mse", metrics=["mae"], weighted_metrics=["mse"])
        target = np.eye(3, dtype="float32")[LABELS]
        options = {"batch_size": 6, "shuffle": False, "verbose": 0, "sample_weight": weights}
        history = model.fit(X, target, epochs=2, validation_data=(X, target, weights), **options).history
        assert list(history) == ["loss", "mae", "mse", "val_loss", "val_mae", "val_mse"]
        results.append(np.array(list(history.values())))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5)


class Called(Autoencoder):
    """A step of its own, and a call."""

    def train_step(self, data):
        loss = ops.mean(ops.square(self(data, training=True) - data))
        return {"loss": kernelearn.minimize(loss, self.optimizer, self.trainable_weights)}


def test_a_model_with_a_step_predicts_and_evaluates_as_it_is_called():
    model = Called()
    model.compile(optimizers.SGD(0.1), "mse")
    history = model.fit(X, epochs=2, verbose=0, validation_data=(X, X)).history
    assert list(history) == ["loss", "val_loss"]
    mean = np.square(model.predict(X, verbose=0) - X).mean()
    assert model.evaluate(X, X, verbose=0) == pytest.approx(mean, rel=1e-5)
    assert model.train_on_batch(X) == pytest.approx(mean, rel=1e-5)


class Wrong(Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)
        self.dense.build((None, 6))


def test_steps_that_cannot_be():
    class Taped(Wrong):
        def train_step(self, data):
            with tf.GradientTape():  # noqa: F821
                pass

    class Silent(Wrong):
        def train_step(self, data):
            kernelearn.minimize(ops.mean(self.dense(data)), optimizers.SGD(0.1), self.dense)

    class Broken(Wrong):
        def train_step(self, data):
            return {"loss": ops.log(ops.sum(self.dense(data)) * 0.0 - 1.0)}

    for cls, error, says in (
        (Taped, ArgumentError, r"GradientTape.*kernelearn\.minimize"),
        (Silent, ArgumentError, "dict of logs"),
        (Broken, NonFiniteError, "is not finite"),
    ):
        model = cls()
        model.compile()
        with pytest.raises(error, match=says):
            model.fit(X, verbose=0)
    with pytest.raises(ArgumentError, match="sample_weight, not class_weight"):
        model.fit(X, LABELS, class_weight={0: 1.0}, verbose=0)
    with pytest.raises(ArgumentError, match="whose buffers could be recorded"):
        model.step("train")


def test_a_training_is_another_where_the_users_code_is():
    def printed(loss):
        class Look(kernelearn.callbacks.Callback):
            def on_train_begin(self, logs=None):
                found.append(self.model.training_fingerprint()["loss"])

        found = []
        model = Sequential([Input((6,)), layers.Dense(6)])
        model.compile("sgd", loss)
        model.fit(X, X, verbose=0, callbacks=[Look()])
        return found[0]

    def one(y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred))

    def two(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred))

    assert printed(one) == printed(one) != printed(two)
