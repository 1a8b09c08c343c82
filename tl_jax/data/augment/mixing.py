"""Augmentations that mix the pictures and labels of a batch.

Labels become [B C] floats. Real rows (weight above 0) are mixed among themselves,
padding stays as it is, weights stay with their rows.
"""

import jax
import jax.numpy as jnp

from tl_jax.data.augment.base import check_size, pictures, whole, with_pictures
from tl_jax.types import Array, Augment, Key, Stream


def soft_labels(labels: Array, classes: int) -> Array:
    """Labels as shares of classes. [B] int or [B C] -> [B C] float32.

    NaN where a label is outside 0..C-1. Raises ValueError for other labels.
    """
    labels = jnp.asarray(labels)
    if labels.ndim == 1 and jnp.issubdtype(labels.dtype, jnp.integer):
        known = (labels >= 0) & (labels < classes)
        shares = jax.nn.one_hot(labels, classes, dtype=jnp.float32)
        return jnp.where(known[:, None], shares, jnp.nan)
    if labels.ndim != 2 or labels.shape[1] != classes:
        raise ValueError(
            f"labels are {labels.dtype} {list(labels.shape)}, expected int [B] or "
            f"[B {classes}]"
        )
    return labels.astype(jnp.float32)


def partners(key: Key, weight: Array) -> Array:
    """A random permutation of the real rows; padding is its own partner.

    weight [B] -> [B] int.
    """
    real, rows = weight > 0, jnp.arange(len(weight))
    draws = jax.random.uniform(key, weight.shape)
    order = jnp.argsort(jnp.where(real, draws, 2.0))
    return jnp.where(real, order[jnp.cumsum(real) - 1], rows)


def mix(stream: Stream, partner: Array, share: float | Array, classes: int) -> Stream:
    """share x + (1 - share) x[partner], of pictures and labels. partner [B]."""

    def mixed(x: Array) -> Array:
        return x + (1 - share) * (x[partner] - x)

    labels = mixed(soft_labels(stream["labels"], classes))
    return with_pictures(stream, mixed(pictures(stream))) | {"labels": labels}


def paste(stream: Stream, partner: Array, box: Array, classes: int) -> Stream:
    """The box of a partner's picture over one's own; labels mixed by area.

    partner [B], box (left, top, right, bottom) [4] int, within the pictures.
    """
    image = pictures(stream)
    height, width = image.shape[1:3]
    left, top, right, bottom = box
    y, x = jnp.arange(height)[:, None], jnp.arange(width)
    inside = (y >= top) & (y < bottom) & (x >= left) & (x < right)
    pasted = jnp.where(inside[..., None], image[partner], image)
    labels = soft_labels(stream["labels"], classes)
    other = (bottom - top) * (right - left) / (height * width)
    labels = labels + other * (labels[partner] - labels)
    return with_pictures(stream, pasted) | {"labels": labels}


def _share(key: Key, alpha: float) -> Array:
    """One's own share of a batch's mixtures: Beta(alpha, alpha), 1 for alpha = 0."""
    return jax.random.beta(key, alpha, alpha) if alpha else jnp.ones(())


def _check(alpha: float, classes: int) -> None:
    if not alpha >= 0:
        raise ValueError(f"alpha is {alpha}, expected at least 0")
    check_size("classes", classes, 1)


def mixup(alpha: float, classes: int) -> Augment:
    """Pictures and labels mixed with another row's (Zhang et al., 2018).

    l x_i + (1 - l) x_j, one l ~ Beta(alpha, alpha) a batch; alpha = 0 mixes nothing.
    """
    _check(alpha, classes)

    def apply(key: Key, stream: Stream) -> Stream:
        rows, shares = jax.random.split(key)
        partner = partners(rows, stream["weight"])
        return mix(stream, partner, _share(shares, alpha), classes)

    return apply


def cut_box(key: Key, share: float | Array, size: tuple[int, int]) -> Array:
    """A box of 1 - share of the area about a random pixel, cut at the edges.

    -> (left, top, right, bottom) [4] int32.
    """
    limits = jnp.asarray(size)
    sides = jnp.floor(limits * jnp.sqrt(1 - share)).astype(jnp.int32)
    middle = whole(jax.random.uniform(key, (2,)), limits)
    (top, left), (bottom, right) = (
        jnp.clip(middle + sign * (sides // 2), 0, limits) for sign in (-1, 1)
    )
    return jnp.stack([left, top, right, bottom])


def cutmix(alpha: float, classes: int) -> Augment:
    """A box of another row's picture pasted in (Yun et al., 2019).

    Of 1 - l of the area, one l ~ Beta(alpha, alpha) and one box a batch; alpha = 0
    pastes nothing. Labels are mixed by the area that was pasted.
    """
    _check(alpha, classes)

    def apply(key: Key, stream: Stream) -> Stream:
        rows, shares, places = jax.random.split(key, 3)
        partner = partners(rows, stream["weight"])
        size = pictures(stream).shape[1:3]
        box = cut_box(places, _share(shares, alpha), size)
        return paste(stream, partner, box, classes)

    return apply
