"""Context parameters: a small vector that says to a network which task it is in."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import jax
import jax.numpy as jnp

from tl_jax.transfer.graft import graft
from tl_jax.transfer.plan import chain, freeze, rate
from tl_jax.tree import (
    flatten,
    get,
    matches,
    node,
    one_of,
    put,
    sites,
    stable_key,
    static,
    unflatten,
)
from tl_jax.types import Array, Key, Params, Transfer

Form = Literal["add", "film"]


@node
class Context:
    """x W + c u, or FiLM: y (1 + c u_s) + c u_b. context [S], u [S O] or [S 2O]."""

    rates: ClassVar[Mapping[str, float]] = {"context": 0.0}
    context: Array
    u: Array
    point: str = static("product")

    def __call__(self, site: Params, value: Array, *, x: Any = None, key: Any = None):
        """Add at the product, scale and shift at the output."""
        scale, bias = self._parts()
        return value + bias if scale is None else value * (1 + scale) + bias

    def fold(self, site: Params) -> Params:
        """The site with the context in its bias, and in its kernel or scale."""
        scale, bias = self._parts()
        if scale is None:
            return site | {"bias": site.get("bias", 0.0) + bias}
        name = "kernel" if "kernel" in site else "scale"
        old = {name: site[name] * (1 + scale), "bias": site.get("bias", 0.0)}
        return site | old | {"bias": old["bias"] * (1 + scale) + bias}

    def _parts(self) -> tuple[Array | None, Array]:
        made = jnp.einsum("...s,...so->...o", self.context, self.u)
        if self.point == "product":
            return None, made
        scale, bias = jnp.split(made, 2, axis=-1)
        return scale, bias


@node
class SharedContext:
    """One context for several sites. context [S], u: site -> [S O] or [S 2O]."""

    point: ClassVar[str] = "root"
    rates: ClassVar[Mapping[str, float]] = {"context": 0.0}
    context: Array
    u: Params
    name: str = static("context")
    at: str = static("product")

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        """A node at the root is expanded; no layer has its point."""
        raise TypeError("a shared context acts through expand(params)")

    def expand(self, params: Params) -> Params:
        """Its context at each of the sites."""
        for path, u in flatten(self.u).items():
            own = Context(self.context, u, self.at)
            params = put(params, f"{path}/patch/{self.name}", own)
        return params


def context(
    size: int,
    where: str,
    *,
    form: Form = "add",
    shared: bool = False,
    name: str = "context",
) -> Transfer:
    """Condition layers on `size` numbers, which are all that a task moves.

    (Zintgraf et al., 2019.) "add": x W + b + c u at sites with a kernel, as further
    inputs of the layer would do. "film": y (1 + c u_s) + c u_b behind a layer or norm,
    as for convolutions. c begins at zero and the outer plan freezes it, so that the
    function is unchanged and each task starts there; u is random and moves outside
    alone: the inner plan is `context_only()`. `shared`: one c for all sites (CAVIA's),
    otherwise one each.

    Raises `NoMatch` for an unknown form or with the nearest sites, ValueError for a
    size below 1 and for a name that is taken.
    """
    one_of("form", form, get_args(Form))
    if size < 1:
        raise ValueError(f"context: size is {size}, expected 1 or more")
    film = form == "film"
    point = "output" if film else "product"

    def u_of(key: Key, site: Params) -> Array:
        leaf = next((n for n in ("kernel", "scale")[: 1 + film] if n in site), None)
        if leaf is None:
            raise ValueError(
                f"context: form {form!r} needs a kernel{' or a scale' if film else ''}"
                f", but a site that {where!r} matches has {sorted(site)}"
            )
        width = site[leaf].shape[-1]
        shape = (size, 2 * width if film else width)
        return jax.random.normal(key, shape) / size**0.5

    def make(key: Key, site: Params) -> Context:
        return Context(jnp.zeros(size), u_of(key, site), point)

    def make_shared(key: Key, params: Params) -> SharedContext:
        known = [p for p, site in sites(params).items() if film or "kernel" in site]
        found = matches(where, known, f"{name}: where")
        for path in found:
            if name in get(params, path).get("patch", {}):
                at = f"{path}/patch/{name}"
                raise ValueError(f"patch {at!r} is taken: give the second another name")
        u = {p: u_of(stable_key(key, p), get(params, p)) for p in found}
        return SharedContext(jnp.zeros(size), unflatten(u), name, point)

    if shared:
        return graft("", name, make_shared)
    return graft(where, name, make, has=() if film else ("kernel",))


def context_only(name: str = "context") -> Transfer:
    """The inner plan of CAVIA: a task moves its context and nothing else."""
    return chain(freeze(".*"), rate(rf"(.*/)?patch/{name}/context", 1.0))
