"""Kernel functions, banks, normalisation and storages against direct formulas."""

import numpy as np
import pytest

from kernelearn.errors import ArgumentError, DataError, UnknownNameError
from kernelearn.kernel_machines import (
    Kernel,
    MultipleKernelClassifier,
    default_bank,
    on_blocks,
    poly_bank,
    rbf_bank,
)
from kernelearn.kernel_machines.kernels.functions import as_kernels, squared_distances, unique_names
from kernelearn.kernel_machines.kernels.grams import GramBank, check_bank, row_blocks

X = np.random.default_rng(0).standard_normal((30, 3)) + 1e3
Z = np.random.default_rng(1).standard_normal((7, 3)) + 1e3


def test_distances_survive_a_large_offset():
    direct = ((X[:, None] - Z[None]) ** 2).sum(axis=2)
    np.testing.assert_allclose(squared_distances(X, Z), direct, rtol=1e-9)


@pytest.mark.parametrize(
    ("kernel", "formula"),
    [
        (Kernel("linear"), lambda x, z: x @ z.T),
        (Kernel("poly", gamma=0.5, degree=3, coef0=2.0), lambda x, z: (0.5 * x @ z.T + 2.0) ** 3),
        (Kernel("rbf", gamma=0.3), lambda x, z: np.exp(-0.3 * ((x[:, None] - z[None]) ** 2).sum(axis=2))),
        (
            Kernel("laplacian", gamma=0.3),
            lambda x, z: np.exp(-0.3 * np.abs(x[:, None] - z[None]).sum(axis=2)),
        ),
    ],
)
def test_kernels_match_their_formulas(kernel, formula):
    np.testing.assert_allclose(kernel(X, Z), formula(X, Z), rtol=1e-9)
    np.testing.assert_allclose(kernel.diagonal(X), np.diag(formula(X, X)), rtol=1e-9)


def test_columns_restrict_a_kernel():
    np.testing.assert_allclose(Kernel("linear", columns=[2])(X, Z), np.outer(X[:, 2], Z[:, 2]))


def test_scale_resolves_to_the_variance():
    assert Kernel("rbf", factor=2.0).resolve(X).numeric_gamma == pytest.approx(2.0 / (3 * X.var()))


def test_anything_becomes_a_flat_list():
    flat = as_kernels(["rbf", poly_bank((1, 2)), lambda a, b: a @ b.T, np.eye(4), Kernel("linear")])
    assert len(flat) == 6
    assert len(as_kernels(None)) == len(default_bank())


def test_repeated_names_are_numbered():
    assert unique_names([Kernel("linear"), Kernel("linear")]) == ["linear", "linear#2"]


def test_blocks_multiply_kernels():
    names = [kernel.name for kernel in on_blocks(["linear", "laplacian"], [[0, 1], slice(2, None)])]
    assert names == [
        "linear[0,1]",
        "laplacian(gamma=1*scale)[0,1]",
        "linear[2:]",
        "laplacian(gamma=1*scale)[2:]",
    ]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("gauss", UnknownNameError),
        ([], ArgumentError),
        (np.ones((2, 3)), ArgumentError),
        (3.0, ArgumentError),
    ],
)
def test_what_is_no_kernel_is_refused(wrong, error):
    with pytest.raises(error):
        as_kernels(wrong)


@pytest.mark.parametrize("bad", [[0.0], [-1.0]])
def test_gammas_must_be_positive(bad):
    with pytest.raises(ArgumentError, match="positive"):
        rbf_bank(bad)


BANK = [Kernel("rbf", gamma=0.2), Kernel("poly", gamma=1e-6), Kernel("laplacian", gamma=0.1)]
WEIGHTS = np.array([0.5, 0.0, 2.0])


@pytest.mark.parametrize("normalize", ["cosine", "trace", None])
@pytest.mark.parametrize("storage", ["float64", "float32", "on_the_fly", "nystroem"])
def test_storages_agree(storage, normalize):
    exact = GramBank(BANK, X, normalize, "float64")
    bank = GramBank(BANK, X, normalize, storage, n_components=30)
    tol = 1e-5 if storage == "float32" else 1e-7
    v = np.random.default_rng(2).standard_normal((30, 2))
    v[5:] *= np.random.default_rng(3).random(25)[:, None] > 0.7
    np.testing.assert_allclose(bank.combine(WEIGHTS), exact.combine(WEIGHTS), atol=tol * 100)
    np.testing.assert_allclose(bank.quadratic_forms(v), exact.quadratic_forms(v), rtol=tol * 100)
    np.testing.assert_allclose(bank.inner_products(), exact.inner_products(), rtol=tol * 100)
    np.testing.assert_allclose(bank.cross(Z, WEIGHTS), exact.cross(Z, WEIGHTS), atol=tol * 100)


def test_normalisations():
    cosine, trace = GramBank(BANK, X, "cosine"), GramBank(BANK, X, "trace")
    np.testing.assert_allclose(np.diag(cosine.gram(1)), 1.0)
    np.testing.assert_allclose(trace.traces(), 30.0)
    assert np.trace(trace.gram(1)) == pytest.approx(30.0)


def test_row_blocks_cover_all_rows():
    assert [i for rows in row_blocks(1000, 2**16) for i in range(rows.start, rows.stop)] == list(range(1000))


def test_negative_kernels_are_named():
    with pytest.raises(ArgumentError, match="sigmoid is not positive semidefinite"):
        check_bank(GramBank([Kernel(lambda a, b: -a @ b.T, gamma=1.0, label="sigmoid")], X, None))


def test_asymmetric_matrices_are_refused():
    matrix = np.eye(30)
    matrix[0, 1] = 0.5
    points = np.arange(30.0)[:, None]
    with pytest.raises(ArgumentError, match="not symmetric"):
        check_bank(GramBank(as_kernels(matrix), points, None))


def test_nan_kernels_are_refused():
    with pytest.raises(ArgumentError, match="NaN"):
        check_bank(GramBank([Kernel(lambda a, b: np.full((len(a), len(b)), np.nan), gamma=1.0)], X, None))


def test_wrong_shape_of_a_callable_is_explained():
    with pytest.raises(ArgumentError, match="whole arrays"):
        Kernel(lambda a, b: 1.0)(X, Z)


def test_point_numbers_are_checked():
    kernel = as_kernels(np.eye(5))[0]
    with pytest.raises(DataError, match=r"0\.\.4"):
        kernel(np.array([[5.0]]), np.array([[0.0]]))


def test_precomputed_forms_agree(rings):
    x, y = rings
    bank = [Kernel("rbf", gamma=0.5), Kernel("linear")]
    grams = [kernel(x, x) for kernel in bank]
    numbers = np.arange(len(x))[:, None]
    direct = MultipleKernelClassifier(bank, normalize=None).fit(x[:30], y[:30])
    by_number = MultipleKernelClassifier(grams, normalize=None).fit(numbers[:30], y[:30])
    blocks = [gram[:30, :30] for gram in grams]
    by_matrix = MultipleKernelClassifier("precomputed").fit(blocks, y[:30])
    expected = direct.decision_function(x[30:])
    np.testing.assert_allclose(by_number.decision_function(numbers[30:]), expected, atol=1e-8)
    np.testing.assert_allclose(by_matrix.decision_function([g[30:, :30] for g in grams]), expected, atol=1e-8)


def test_equal_kernels_are_reported(rings):
    x, y = rings
    with pytest.warns(UserWarning, match="arbitrary"):
        MultipleKernelClassifier(["linear", "linear"]).fit(x, y)
