"""Fourier domain adaptation: the target's colours and light, the source's content."""

import jax
import jax.numpy as jnp

from tl_jax.algorithms.adaptation.seen import Before, Seen, Term
from tl_jax.algorithms.adaptation.streams import SOURCE, TARGET
from tl_jax.types import Array, Batch


def fourier(beta: float = 1) -> Term:
    """Each source picture takes the low amplitudes of a random target picture.

    (Yang and Soatto, 2020), before the model sees it; see `low_amplitudes`. The
    partner is drawn anew in every step from target rows of weight above 0. The term
    itself adds 0 to the loss.
    """

    def prepare(before: Before, batch: Batch) -> Batch:
        source, target = batch[SOURCE], batch[TARGET]
        image, other = (s["inputs"]["image"] for s in (source, target))
        odds = jnp.log((target["weight"] > 0).astype(jnp.float32))
        partner = jax.random.categorical(before.key, odds, shape=(len(image),))
        mixed = low_amplitudes(image, other[partner], beta)
        inputs = {**source["inputs"], "image": mixed}
        return {**batch, SOURCE: {**source, "inputs": inputs}}

    return Term(_zero, prepare=prepare)


def low_amplitudes(source: Array, target: Array, beta: float = 1) -> Array:
    """Source pictures with the target's amplitudes up to frequency `beta`.

    F^-1([M |F(t)| + (1 - M) |F(s)|, phase of F(s)]), M the frequencies of at most
    `beta` in both directions. A whole `beta` counts frequencies, as in TLlib: 0 is the
    mean alone; below 1 it is the paper's share, floor(beta * shorter side) of them.
    Pictures [B H W C] in 0..255 -> float32 [B H W C], clipped to 0..255, where TLlib
    also cuts to whole numbers.

    Raises ValueError for shapes that differ and a `beta` below 0 or that half the
    shorter side does not hold.
    """
    if source.shape != target.shape:
        raise ValueError(
            f"source pictures are {list(source.shape)}, target pictures "
            f"{list(target.shape)}; expected one shape"
        )
    tall, broad = source.shape[1:3]
    reach = reach_of(beta, min(tall, broad))
    axes = (1, 2)
    source, target = source.astype(jnp.float32), target.astype(jnp.float32)
    own, other = (jnp.fft.rfft2(image, axes=axes) for image in (source, target))
    rows = jnp.minimum(jnp.arange(tall), tall - jnp.arange(tall)) <= reach
    low = rows[:, None] & (jnp.arange(own.shape[2]) <= reach)
    size = jnp.abs(own)
    phase = jnp.where(size > 0, own / jnp.where(size > 0, size, 1.0), 1.0)
    mixed = jnp.where(low[..., None], jnp.abs(other) * phase, own)
    made = jnp.fft.irfft2(mixed, (tall, broad), axes=axes)
    return jnp.clip(made, 0.0, 255.0)


def reach_of(beta: float, side: int) -> int:
    """The largest frequency that is exchanged in pictures of a shorter side."""
    whole = beta >= 1 or beta == 0
    reach = int(beta) if whole else int(beta * side)
    if beta < 0 or (whole and reach != beta) or 2 * reach + 1 > side:
        raise ValueError(
            f"beta={beta}, expected a whole number from 0 to {(side - 1) // 2}, or a "
            f"share below 0.5, for pictures of {side} pixels"
        )
    return reach


def _zero(seen: Seen) -> Array:
    return jnp.float32(0)
