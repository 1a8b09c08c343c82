"""Visual prompts: tokens beside the patches of an image."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn import dropout
from tl_jax.transfer.graft import graft
from tl_jax.transfer.plan import chain
from tl_jax.transfer.prompts.encoders import check_part
from tl_jax.transfer.prompts.prompt import Prompt, check_length, check_rate
from tl_jax.tree import get, node, static
from tl_jax.types import Array, Key, Params, Plan, Transfer


@node
class DeepPrompt:
    """New tokens in the place of those in front. tokens [P D]."""

    point: ClassVar[str] = "tokens"
    rates: ClassVar[Mapping[str, float]] = {}
    tokens: Array
    rate: float = static(0.0)

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """value [B T D], its first P tokens replaced."""
        front = jnp.broadcast_to(self.tokens, (len(value), *self.tokens.shape))
        front = dropout(front, self.rate, key).astype(value.dtype)
        return jnp.concatenate([front, value[:, len(self.tokens) :]], axis=1)


def vpt(
    length: int, *, deep: bool = False, rate: float = 0.0, name: str = "vpt"
) -> Transfer:
    """`length` learned tokens beside the patches of an image (Jia et al., 2022).

    Shallow: in front of what the first block reads, behind the positions, which they
    have none of. `deep`: every later block reads tokens of its own in their place. All
    start uniform between -b and b, b = sqrt(6 / (I + D)), for patches of I numbers, and
    are dropped with `rate` where there is a key. Nobody returns them: heads read the
    class token or the mean of the patches, as before. The paper puts them behind the
    class token, which is the same to attention. The base's rates are untouched:
    `freeze` first.

    Raises ValueError for a length below 1, a rate that is no share, a model without
    patches, and where another patch puts tokens in front, which `deep` ones could not
    tell from their own.
    """
    check_length("vpt", length)
    check_rate("vpt", rate)

    def drawn(key: Key, patches: Params) -> Array:
        *sides, width = patches["kernel"].shape
        bound = (6 / (math.prod(sides) + width)) ** 0.5
        shape = (length, width)
        return jax.random.uniform(key, shape, jnp.float32, -bound, bound)

    def make(key: Key, site: Params) -> Prompt:
        check_part(name, "embed", site, "patches", "images")
        _check_alone(site, name)
        return Prompt(drawn(key, site["patches"]), "sequence", rate)

    def deeper(key: Key, plan: Plan) -> Plan:
        """Tokens for all blocks but the first."""
        patches = get(plan.params, "embed/patches")
        numbers = [int(name) for name in plan.params["blocks"]]
        later = "|".join(str(n) for n in numbers if n != min(numbers))
        if not later:
            return plan

        def make_deep(key: Key, site: Params) -> DeepPrompt:
            return DeepPrompt(drawn(key, patches), rate)

        return graft(f"blocks/({later})", name, make_deep)(key, plan)

    shallow = graft("embed", name, make)
    return chain(shallow, deeper) if deep else shallow


def _check_alone(site: Params, name: str) -> None:
    """Raise where the tokens in front of the row would not be known apart."""
    for other, patch in site.get("patch", {}).items():
        if other != name and patch.point == "sequence":
            raise ValueError(
                f"{name}: 'embed/patch/{other}' puts tokens in front, too, and deep "
                "ones replace what is there: expected one of them alone"
            )
