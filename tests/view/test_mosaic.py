"""Every weight of a kernel lies where its row, column and place in the tile say, and none is lost."""

import numpy as np
import pytest

from kernelearn.errors import ArgumentError
from kernelearn.view.mosaic import arrange_kernels, kernel_grid


def numbered(*shape):
    return np.arange(1.0, np.prod(shape) + 1).reshape(shape)


def shown(mosaic):
    return np.sort(mosaic.values[np.isfinite(mosaic.values)])


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((3, 3, 1, 12), "Conv2D"),
        ((3, 3, 1, 13), "Conv2D"),
        ((3, 5, 4, 6), "Conv2D"),
        ((5, 2, 6), "Conv1D"),
        ((2, 3, 3, 2, 4), "Conv3D"),
        ((3, 3, 7, 1), "DepthwiseConv2D"),
        ((3, 3, 6, 4), "Conv2DTranspose"),
        ((20, 3), "Dense"),
        ((1, 1, 64, 128), "Conv2D"),
    ],
)
def test_every_weight_is_shown_once(shape, kind):
    kernel = numbered(*shape)
    np.testing.assert_array_equal(shown(arrange_kernels(kernel_grid(kernel, kind))), kernel.ravel())


def test_tile_is_the_kernel_of_its_channel_and_filter():
    kernel = numbered(3, 3, 4, 6)
    mosaic = arrange_kernels(kernel_grid(kernel))
    row, column = int(mosaic.row_centres[2]), int(mosaic.column_centres[5])
    np.testing.assert_array_equal(
        mosaic.values[row - 1 : row + 2, column - 1 : column + 2], kernel[:, :, 2, 5]
    )
    assert (mosaic.row_names[2], mosaic.column_names[5]) == ("2", "5")


def test_transposed_kernels_have_filters_as_columns():
    kernel = numbered(3, 3, 6, 4)  # (kh, kw, filters, channels)
    grid = kernel_grid(kernel, "Conv2DTranspose")
    np.testing.assert_array_equal(grid[1, 5], kernel[:, :, 5, 1])


def test_folded_row_and_column_numbers_add_up_to_the_filter():
    kernel = numbered(3, 3, 1, 32)
    mosaic = arrange_kernels(kernel_grid(kernel))
    row, column = int(mosaic.row_centres[1]), int(mosaic.column_centres[3])
    filter_number = int(mosaic.row_names[1]) + int(mosaic.column_names[3])
    np.testing.assert_array_equal(
        mosaic.values[row - 1 : row + 2, column - 1 : column + 2], kernel[:, :, 0, filter_number]
    )


def test_slices_of_a_3d_kernel_are_apart():
    grid = kernel_grid(numbered(2, 3, 3, 1, 1), "Conv3D")
    assert grid.shape == (1, 1, 7, 3)
    assert np.isnan(grid[0, 0, 3]).all()


@pytest.mark.parametrize("shape", [(3,), (0, 3), (1, 2, 3, 4, 5, 6)])
def test_refuses_what_is_no_kernel(shape):
    with pytest.raises(ArgumentError, match="2 to 5 axes"):
        kernel_grid(np.zeros(shape))
