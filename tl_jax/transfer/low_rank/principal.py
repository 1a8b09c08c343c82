"""Low-rank adaptation that starts from a part of the kernel itself."""

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp

from tl_jax.nn import base_weight
from tl_jax.transfer.graft import graft
from tl_jax.transfer.low_rank.factors import (
    check_fit,
    check_rank,
    fresh,
    low_rank,
    scale_of,
    shape_of,
    spread,
    under,
)
from tl_jax.transfer.low_rank.lora import LoRA
from tl_jax.tree import get, no_match, put, sites
from tl_jax.types import Array, Key, Params, Plan, Transfer

Split = Callable[[Array, int, Array], tuple[Array, Array]]
"""`(kernel [I O], rank, scale []) -> (a [I r], b [r O])`."""


def pissa(
    rank: int,
    where: str,
    alpha: float = 8.0,
    *,
    rate: float = 0.0,
    stable: bool = False,
    name: str = "lora",
) -> Transfer:
    """LoRA that begins with the kernel's principal part (Meng et al., 2024).

    W = U S V^T: a = U_r sqrt(S_r / s), b = sqrt(S_r / s) V_r^T, and the kernel beside
    becomes the rest, W - s a b, so that the function is unchanged. The kernel's bytes
    thus differ from the base's, and a checkpoint of what differs holds them. `as_lora`
    makes an ordinary LoRA of twice the rank of it.

    `where` matches dense sites. Raises ValueError for a rank that the kernel can't
    have, TypeError for a quantised kernel: quantise what is left of it afterwards.
    """
    return _beginning_with(_singular, rank, where, alpha, rate, stable, name)


def olora(
    rank: int,
    where: str,
    alpha: float = 8.0,
    *,
    rate: float = 0.0,
    stable: bool = False,
    name: str = "lora",
) -> Transfer:
    """LoRA that begins with the kernel's first orthonormal directions.

    W^T = Q R: b = Q_r^T, a = R_r^T, and the kernel beside becomes W - s a b, so that
    the function is unchanged (Buyukakyuz, 2024). As `pissa` in all else.
    """
    return _beginning_with(_orthonormal, rank, where, alpha, rate, stable, name)


def _singular(kernel: Array, rank: int, scale: Array) -> tuple[Array, Array]:
    """The best product of a rank, its singular values shared evenly."""
    u, s, vt = jnp.linalg.svd(kernel, full_matrices=False)
    root = jnp.sqrt(s[..., :rank] / spread(scale, s))
    return u[..., :rank] * root[..., None, :], root[..., None] * vt[..., :rank, :]


def _orthonormal(kernel: Array, rank: int, scale: Array) -> tuple[Array, Array]:
    q, r = jnp.linalg.qr(kernel.T)
    return r[:rank].T, q[:, :rank].T


def _beginning_with(
    split: Split, rank, where, alpha, rate, stable: bool, name: str
) -> Transfer:
    """LoRA from a split of the kernel, and the kernel without that part."""
    check_rank(name, rank)

    def make(key: Key, site: Params) -> LoRA:
        if hasattr(site["kernel"], "dequantise"):
            raise TypeError(
                f"{name}: a part is taken out of the kernel, which is quantised: "
                "do this first, then quantise what is left"
            )
        check_fit(name, rank, shape_of(site), (2,))
        scale = scale_of(alpha, rank, stable)
        parts = split(site["kernel"].astype(jnp.float32), rank, scale)
        return LoRA(*parts, scale, rate, True)

    grafted = graft(where, name, make, has=("kernel",))

    def transfer(key: Key, plan: Plan) -> Plan:
        new = grafted(key, plan)
        params = new.params
        for path in fresh(plan.params, params, name):
            kernel, own = get(params, path)["kernel"], get(params, path)["patch"][name]
            rest = kernel - low_rank(own.a, own.b, own.scale)
            params = put(params, under(path, "kernel"), rest.astype(kernel.dtype))
        return new._replace(params=params)

    return transfer


def as_lora(plan: Plan, base: Params) -> Plan:
    """The same function as an ordinary LoRA, of twice the rank, beside the base.

    What PiSSA or OLoRA took out of the kernel W is s a0 b0 = W - W', found again from
    the two; W' + s a b = W + s [a a0] [b; -b0], as PEFT's conversion has it. To be
    called before such patches are written to a file that others read beside the base.

    base: the parameters as they were before `pissa` or `olora`. Sites without such a
    patch keep what they have. Raises `NoMatch` for a site that the base has not.
    """
    params, known = plan.params, sites(base)
    for path, site in sites(params).items():
        for name, own in site.get("patch", {}).items():
            if not (isinstance(own, LoRA) and own.residual):
                continue
            if path not in known:
                raise no_match("as_lora: the base's site", path, known)
            kernel = base_weight(known[path])
            gone = kernel.astype(jnp.float32) - site["kernel"]
            a0, b0 = _singular(gone, own.a.shape[-1], own.scale)
            a = jnp.concatenate([own.a, a0], -1)
            b = jnp.concatenate([own.b, -b0], -2)
            made = dataclasses.replace(own, a=a, b=b, residual=False)
            params = put(params, under(path, "kernel"), kernel)
            params = put(params, under(path, f"patch/{name}"), made)
    return plan._replace(params=params, rates=_ordinary(plan.rates))


def _ordinary(rates: Params) -> Params:
    """Rates in step with patches that are ordinary LoRAs."""
    for path, site in sites(rates).items():
        for name, own in site.get("patch", {}).items():
            if isinstance(own, LoRA) and own.residual:
                plain = dataclasses.replace(own, residual=False)
                rates = put(rates, under(path, f"patch/{name}"), plain)
    return rates
