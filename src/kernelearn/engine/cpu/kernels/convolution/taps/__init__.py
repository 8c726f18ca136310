"""Convolution and its input gradient: one emitter for both, for all strides, dilations and dimensions.

    y[n, p, f] = sum over taps and c of x[n, p * step + d(tap), c] * w[tap, c, f]

The forward pass is one such sum. The input gradient with stride s is s (in 2D: s * s) of them, one for every
residue of the pixel's position, because only every s-th tap reaches a pixel; each writes every s-th pixel.

From the outside in: `lowering` makes the calls, `tasks` are their kernels, `rows` cuts the rows of a `part`
into tiles. A `register_tile` holds R rows x P pixels x V vectors of output channels; `tap_rows` finds the
rows of taps that meet it, and `input_rows` has the inner loop, over the input channels.
"""
