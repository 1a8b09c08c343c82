"""Transforms that keep frozen kernels in few bits."""

from functools import partial
from typing import Literal, get_args

import jax

from tl_jax.nn import base_weight
from tl_jax.transfer.quantised.int8 import to_int8
from tl_jax.transfer.quantised.nf4 import to_nf4
from tl_jax.tree import get, matches, one_of, put, sites
from tl_jax.types import Key, Params, Plan, Transfer

Kind = Literal["int8", "nf4"]
LINEAR = r"(.*/)?blocks/.*/(query|key|value|output|up|down|gate)"
"""Every product of the blocks: what QLoRA quantises."""


def quantise(
    where: str = LINEAR, *, kind: Kind = "nf4", double: bool = True
) -> Transfer:
    """Keep the kernels [I O] of matching sites in 8 or 4 bits, frozen.

    "int8": a scale an output; "nf4": 4-bit NormalFloat with a scale for each 64
    values, which `double` quantises as well (Dettmers et al., 2022, 2023). The layer
    computes with the values that they stand for, made anew in each pass: nothing of
    full size is kept. With `lora` on top it is QLoRA. What `fold` absorbs into such a
    site makes its kernel float32 again.

    Raises `NoMatch` for an unknown kind or with the nearest sites, ValueError for a
    kernel of other axes than two and for one that is quantised.
    """
    one_of("quantise: kind", kind, get_args(Kind))
    make = to_int8 if kind == "int8" else partial(to_nf4, double=double)

    def transfer(key: Key, plan: Plan) -> Plan:
        params, rates = plan.params, plan.rates
        known = [path for path, site in sites(params).items() if "kernel" in site]
        for path in matches(where, known, "quantise: where"):
            own = get(params, path)["kernel"]
            if is_quantised(own):
                raise ValueError(
                    f"quantise: {path}/kernel is {type(own).__name__} already"
                )
            if own.ndim != 2:
                raise ValueError(
                    f"quantise: {path}/kernel is {list(own.shape)}, expected two axes; "
                    "quantise first, stack_layers then"
                )
            made = make(own)
            params = put(params, f"{path}/kernel", made)
            rates = put(rates, f"{path}/kernel", jax.tree.map(lambda _: 0.0, made))
        return plan._replace(params=params, rates=rates)

    return transfer


def dequantise(where: str = ".*") -> Transfer:
    """Kernels of matching sites as float32 arrays again, still frozen.

    Their values are those that the quantised ones stand for, not the original's.
    Raises `NoMatch` with the nearest quantised sites.
    """

    def transfer(key: Key, plan: Plan) -> Plan:
        params, rates = plan.params, plan.rates
        for path in matches(where, quantised(params), "dequantise: where"):
            made = base_weight(get(params, path))
            params = put(params, f"{path}/kernel", made)
            rates = put(rates, f"{path}/kernel", 0.0)
        return plan._replace(params=params, rates=rates)

    return transfer


def quantised(params: Params) -> list[str]:
    """Paths of the sites whose kernel is quantised."""
    return [p for p, site in sites(params).items() if is_quantised(site.get("kernel"))]


def is_quantised(kernel: object) -> bool:
    """True for a kernel that `dequantise` makes an array."""
    return hasattr(kernel, "dequantise")
