"""Images made larger: at their edges, and between their pixels."""

import jax.numpy as jnp
from jax import lax

from tl_jax.types import Array


def reflected(x: Array, pad: int) -> Array:
    """Edges continued by their mirror image, the edge itself once.

    x [B H W C] -> [B H+2pad W+2pad C]. Raises ValueError for an image of at most `pad`
    pixels.
    """
    if min(x.shape[1:3]) <= pad:
        raise ValueError(
            f"an image of {x.shape[1]} by {x.shape[2]} has no {pad} pixels to reflect; "
            f"expected {pad + 1} or more a side"
        )
    return jnp.pad(x, [(0, 0), (pad, pad), (pad, pad), (0, 0)], mode="reflect")


def interleaved(x: Array) -> Array:
    """Zeros behind every pixel: x [B H W C] -> [B 2H 2W C].

    A 3x3 convolution of it with padding 1 is the transposed convolution of stride 2
    (torch's `padding=1, output_padding=1`, its kernel turned by 180 degrees), as an
    ordinary site whose patches need not know.
    """
    zero = jnp.zeros((), x.dtype)
    return lax.pad(x, zero, [(0, 0, 0), (0, 1, 1), (0, 1, 1), (0, 0, 0)])
