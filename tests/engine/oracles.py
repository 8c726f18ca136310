"""Direct oracles: convolution, its gradients and pooling as loops written straight from their equations.

Slow and plain on purpose, and independent of the engine: no padding of arrays, no columns. A pixel outside of
the image counts as zero (or as absent, in pooling).
"""

import itertools

import numpy as np


def positions(size, kernel, stride, dilation, padding):
    """Every window position on one axis: for each, its pairs (tap, pixel), pixel -1 where there is none."""
    lo, hi = padding
    found = []
    start = 0
    while start + (kernel - 1) * dilation <= size + lo + hi - 1:
        pixels = [start + tap * dilation - lo for tap in range(kernel)]
        found.append([(tap, u if 0 <= u < size else -1) for tap, u in enumerate(pixels)])
        start += stride
    return found


def reads(sizes, kernel, stride, dilation, padding):
    """(position, tap, pixel) index tuples of everything that any window reads inside of the image."""
    axes = [positions(*axis) for axis in zip(sizes, kernel, stride, dilation, padding)]
    for place in itertools.product(*[range(len(axis)) for axis in axes]):
        for pairs in itertools.product(*[axis[p] for axis, p in zip(axes, place)]):
            tap, pixel = tuple(p[0] for p in pairs), tuple(p[1] for p in pairs)
            if min(pixel) >= 0:
                yield place, tap, pixel


def output_sizes(sizes, kernel, stride, dilation, padding):
    """Number of window positions per axis, counted."""
    return tuple(len(positions(*axis)) for axis in zip(sizes, kernel, stride, dilation, padding))


def _blocks(channels, filters, groups):
    """Slices of the channels and filters that belong together."""
    c, f = channels // groups, filters // groups
    return [(slice(g * c, g * c + c), slice(g * f, g * f + f)) for g in range(groups)]


def conv(x, kernel, *, stride, padding, dilation, groups):
    """y[n,p,f] = sum over taps i and channels c of x[n, p*s + i*d - before, c] * w[i,c,f]."""
    size = kernel.shape[:-2]
    outputs = output_sizes(x.shape[1:-1], size, stride, dilation, padding)
    y = np.zeros((x.shape[0], *outputs, kernel.shape[-1]), x.dtype)
    for channels, filters in _blocks(x.shape[-1], kernel.shape[-1], groups):
        for place, tap, pixel in reads(x.shape[1:-1], size, stride, dilation, padding):
            y[(slice(None), *place, filters)] += (
                x[(slice(None), *pixel, channels)] @ kernel[(*tap, slice(None), filters)]
            )
    return y


def conv_grad_kernel(x, grad_y, *, kernel_size, stride, padding, dilation, groups):
    """dL/dw[i,c,f] = sum over images and positions of x[n, p*s + i*d - before, c] * g[n,p,f]."""
    grad = np.zeros((*kernel_size, x.shape[-1] // groups, grad_y.shape[-1]), x.dtype)
    for channels, filters in _blocks(x.shape[-1], grad_y.shape[-1], groups):
        for place, tap, pixel in reads(x.shape[1:-1], kernel_size, stride, dilation, padding):
            product = x[(slice(None), *pixel, channels)].T @ grad_y[(slice(None), *place, filters)]
            grad[(*tap, slice(None), filters)] += product
    return grad


def conv_grad_input(grad_y, kernel, *, input_size, stride, padding, dilation, groups):
    """dL/dx[n,u,c] = sum of w[i,c,f] * g[n,p,f] over all p and i with p*s + i*d - before = u."""
    size, channels = kernel.shape[:-2], kernel.shape[-2] * groups
    grad = np.zeros((grad_y.shape[0], *input_size, channels), grad_y.dtype)
    for block, filters in _blocks(channels, kernel.shape[-1], groups):
        for place, tap, pixel in reads(input_size, size, stride, dilation, padding):
            product = grad_y[(slice(None), *place, filters)] @ kernel[(*tap, slice(None), filters)].T
            grad[(slice(None), *pixel, block)] += product
    return grad


def conv_transpose(x, kernel, *, output_size, stride, padding, dilation, groups):
    """Every input pixel u stamps its value times the kernel at u*s + i*d - before of the output."""
    size = kernel.shape[:-2]
    y = np.zeros((x.shape[0], *output_size, kernel.shape[-2] * groups), x.dtype)
    for filters, channels in _blocks(y.shape[-1], x.shape[-1], groups):
        for place in np.ndindex(*x.shape[1:-1]):
            for tap in np.ndindex(*size):
                spot = [
                    u * s + i * d - lo for u, s, i, d, (lo, _) in zip(place, stride, tap, dilation, padding)
                ]
                if all(0 <= v < n for v, n in zip(spot, output_size)):
                    stamp = x[(slice(None), *place, channels)] @ kernel[(*tap, slice(None), channels)].T
                    y[(slice(None), *spot, filters)] += stamp
    return y


def _windows(x, size, stride, padding):
    """For every window position, the pixels it covers."""
    windows: dict = {}
    for place, _, pixel in reads(x.shape[1:-1], size, stride, (1,) * len(size), padding):
        windows.setdefault(place, []).append(pixel)
    return windows


def taken(x, where, *, size, stride, padding):
    """x at the tap of every window that `where` names, 0 for one in the padding."""
    y = np.zeros(where.shape, x.dtype)
    for n, *place, c in np.ndindex(where.shape):
        tap = np.unravel_index(where[(n, *place, c)], size)
        pixel = [p * s + t - before for p, s, t, (before, _) in zip(place, stride, tap, padding)]
        if all(0 <= at < limit for at, limit in zip(pixel, x.shape[1:-1])):
            y[(n, *place, c)] = x[(n, *pixel, c)]
    return y


def pool(x, *, size, stride, padding, reduction):
    """np.max or np.mean over the real pixels of every window."""
    outputs = output_sizes(x.shape[1:-1], size, stride, (1,) * len(size), padding)
    y = np.zeros((x.shape[0], *outputs, x.shape[-1]), x.dtype)
    for place, pixels in _windows(x, size, stride, padding).items():
        y[(slice(None), *place)] = reduction([x[(slice(None), *pixel)] for pixel in pixels], axis=0)
    return y
