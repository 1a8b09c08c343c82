"""3x3 convolutions at a stride of 1 with 2.25 times fewer multiplications.

Winograd's F(2x2, 3x3) (Lavin and Gray, 2016): each tile of 2x2 results comes of 4x4
places of the image, Y = A^T [(G g G^T) * (B^T d B)] A, where * is a product over
channels at each of the 16 places:

    B^T = 1  0 -1  0     G = 1   0   0     A^T = 1  1  1  0
          0  1  1  0        .5  .5  .5           0  1 -1 -1
          0 -1  1  0        .5 -.5  .5
          0  1  0 -1         0   0   1

In float32 results are within some 1e-6 of the largest.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from tl_jax.nn.windows import Pads
from tl_jax.types import Array

Size = tuple[int, int]
WIDE = 128
"""Channels from which a kernel gradient pays: of fewer its products are small matrices
of many rows, which take up to twice the time of rows of shifted inputs."""


def fits(x: Array, width: int, size: Size, stride: Size, pads: Pads) -> bool:
    """True where this form can compute x [B H W I] with a kernel [*size I width].

    A few channels are no work for products of matrices.
    """
    small = size == (3, 3) and stride == (1, 1) and min(x.shape[3], width) >= 16
    return small and all(n in (0, 1, 2) for pair in pads for n in pair)


def pays(x: Array, width: int, pads: Pads) -> bool:
    """True where there are enough tiles: else a kernel's transform is most of the work.

    A kernel gradient does not transform kernels, but once at its end.
    """
    *_, tall, broad = _sizes(x, pads)
    return len(x) * tall * broad >= 2 * max(x.shape[3], width)


def winograd(x: Array, kernel: Array, pads: Pads, back: bool = False) -> Array:
    """x [B H W I] with kernel [3 3 I O], both of one dtype -> [B H' W' O].

    `back` turns the kernel about, and takes x [B H W O] to [B H' W' I]: the gradient of
    the input, where x is the result's and `pads` are 2 less those of the forward way.
    """
    high, wide, tall, broad = _sizes(x, pads)
    turned = _kernels(jnp.flip(kernel, (0, 1)) if back else kernel)
    made = _tiles(_padded(x, pads, tall, broad), tall, broad)
    products = [_product(a, k, int(back)) for a, k in zip(made, turned, strict=True)]
    return _images(products)[:, :high, :wide]


def kernel_gradient(x: Array, dy: Array, pads: Pads) -> Array:
    """The transpose of `winograd` in its kernel: dK [3 3 I O] of dy [B H' W' O].

    G^T [sum over tiles of (B^T d B) (A dY A^T)] G.
    """
    high, wide, tall, broad = _sizes(x, pads)
    x = _padded(x, pads, tall, broad)
    ends = [(0, 0, 0), (0, 2 * tall - high, 0), (0, 2 * broad - wide, 0), (0, 0, 0)]
    dy = lax.pad(dy, jnp.zeros((), dy.dtype), ends)
    both = (_tiles(x, tall, broad), _spread(dy))
    rows = (jnp.stack([a.reshape(-1, a.shape[3]) for a in made]) for made in both)
    total = jnp.einsum("tni,tno->tio", *rows)
    columns = [_met(total[u::4]) for u in range(4)]
    rows = [_met([column[a] for column in columns]) for a in range(3)]
    return jnp.stack([jnp.stack(row) for row in rows])


def _sizes(x: Array, pads: Pads) -> tuple[int, int, int, int]:
    """Height and width of the result, and how many tiles cover them."""
    high, wide = (n + sum(p) - 2 for n, p in zip(x.shape[1:3], pads, strict=True))
    return high, wide, -(-high // 2), -(-wide // 2)


def _padded(x: Array, pads: Pads, tall: int, broad: int) -> Array:
    """Zeros around, and at the end what the last tiles lack."""
    edges = [
        (low, 2 * count + 2 - n - low, 0)
        for n, (low, _), count in zip(x.shape[1:3], pads, (tall, broad), strict=True)
    ]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *edges, (0, 0, 0)])


def _product(x: Array, kernel: Array, axis: int) -> Array:
    """x [B P Q I] with an axis of a matrix, as one product of two matrices."""
    flat = x.reshape(-1, x.shape[3])
    y = lax.dot_general(flat, kernel, (((1,), (axis,)), ((), ())))
    return y.reshape(*x.shape[:3], -1)


def _kernels(kernel: Array) -> list[Array]:
    """G g G^T: [3 3 I O] -> 16 matrices [I O]."""
    return [
        made for row in _parted(kernel) for made in _parted([row[0], row[1], row[2]])
    ]


def _parted(g: Sequence[Array] | Array) -> list[Array]:
    both = (g[0] + g[2]) / 2
    return [g[0], both + g[1] / 2, both - g[1] / 2, g[2]]


def _met(m: Sequence[Array] | Array) -> list[Array]:
    """The transpose of `_parted`."""
    both = (m[1] + m[2]) / 2
    return [m[0] + both, (m[1] - m[2]) / 2, both + m[3]]


def _tiles(x: Array, tall: int, broad: int) -> list[Array]:
    """B^T d B of all tiles: 16 arrays [B P Q I] of a padded x."""
    return [
        tile
        for row in _turned(_every_second(x, 1, tall))
        for tile in _turned(_every_second(row, 2, broad))
    ]


def _every_second(x: Array, axis: int, count: int) -> list[Array]:
    """The first, second, third and fourth place of each tile along an axis."""
    ends = (lax.slice_in_dim(x, k, k + 2 * count - 1, 2, axis) for k in range(4))
    return list(ends)


def _turned(d: Sequence[Array]) -> list[Array]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _images(m: Sequence[Array]) -> Array:
    """A^T M A of all tiles, put together: 16 arrays [B P Q O] -> [B 2P 2Q O]."""
    rows = [_folded(m[4 * u : 4 * u + 4]) for u in range(4)]
    columns = [_folded([row[j] for row in rows]) for j in range(2)]
    batch, tall, broad, width = m[0].shape
    lines = [jnp.stack([column[i] for column in columns], 3) for i in range(2)]
    return jnp.stack(lines, 2).reshape(batch, 2 * tall, 2 * broad, width)


def _folded(m: Sequence[Array]) -> list[Array]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _spread(dy: Array) -> list[Array]:
    """A dY A^T of all tiles: [B 2P 2Q O] -> 16 arrays [B P Q O]."""
    places = [[dy[:, i::2, j::2] for i in range(2)] for j in range(2)]
    columns = [_unfolded(*column) for column in places]
    return [tile for row in zip(*columns, strict=True) for tile in _unfolded(*row)]


def _unfolded(a: Array, b: Array) -> list[Array]:
    return [a, a + b, a - b, -b]
