"""How a Flax Linen module meets the patches of its sites: one interceptor."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from tl_jax.interop.foreign import branch, has_point
from tl_jax.nn.patches import patched, weight
from tl_jax.tree import SEPARATOR, node, static
from tl_jax.types import Array, Key, Params

MARK = "tl_jax"
"""Where each sub-dict of the parameters says by whose call it is traced."""
LAYER = ("kernel", "input", "product", "output", "branch")
TABLE = ("kernel", "output", "branch")
OTHER = ("output", "branch")


@node
class Mark:
    """No array, only structure: traces that Flax keeps are shared by equal ones.

    Without it a lifted `nn.jit` that was traced for evaluation would serve training.
    """

    how: Any = static()


class Site(NamedTuple):
    """What one trace of the module found at a path."""

    points: tuple[str, ...]
    ins: tuple[int, ...] = ()
    """Sizes of the axes that a dense layer contracts."""
    outs: tuple[int, ...] = ()
    """Sizes of those that it makes."""


class How(NamedTuple):
    """What is static of one call."""

    draws: bool
    norm: str
    fixed: frozenset[str]
    """Sites whose statistics nobody moves."""
    stream: str


def interceptor(
    table: Mapping[str, Site], how: How, record: dict[str, Site] | None = None
) -> Callable:
    """For `nn.intercept_methods`: serves every patch that stands in the parameters.

    It reads them where Flax hands the parameters to the module, so that what `scan`,
    `remat`, `vmap` or `jit` made of them is what is applied, and holds no array
    itself. `record` notes what there is to be served, by path.
    """
    import flax.linen as nn

    serving: list[Any] = []  # a layer's call of super() is not another layer

    def around(next_fun: Callable, args: tuple, kwargs: dict, context: Any) -> Any:
        module, method = context.module, context.method_name
        if method not in ("__call__", "attend") or module.scope is None:
            return next_fun(*args, **kwargs)
        if isinstance(module, nn.Dropout) and not how.draws:
            return args[0] if args else kwargs["inputs"]
        marked = module.has_variable("params", MARK)
        if not marked or any(module is other for other in serving):
            return next_fun(*args, **kwargs)
        path = SEPARATOR.join(map(str, module.path))
        if record is not None:
            record[path] = found(module)
        serving.append(module)
        try:
            call = Call(module, path, table.get(path), how, next_fun, method)
            return call.serve(args, kwargs)
        finally:
            serving.pop()

    return around


def found(module: Any) -> Site:
    """What a module can serve; raises nothing."""
    import flax.linen as nn

    if isinstance(module, nn.DenseGeneral):
        shape = module.get_variable("params", "kernel").shape
        outs = _tuple(module.features)
        if _tuple(module.batch_dims):
            return Site(OTHER)
        return Site(LAYER, shape[: len(shape) - len(outs)], outs)
    if isinstance(module, nn.Dense | nn.Conv | nn.ConvTranspose):
        return Site(LAYER)
    return Site(TABLE if isinstance(module, nn.Embed) else OTHER)


class Call(NamedTuple):
    """One call of one module."""

    module: Any
    path: str
    found: Site | None
    how: How
    next_fun: Callable
    method: str

    def serve(self, args: tuple, kwargs: dict) -> Any:
        """The call with the site's patches around it."""
        import flax.linen as nn

        site = self.site()
        key = self.key(site)
        name, *rest = args or kwargs or ("",)
        x = args[0] if args else kwargs.get(name)

        def inner(x: Any) -> Any:
            if args:
                return self.next_fun(x, *rest, **kwargs)
            return self.next_fun(**(kwargs | {name: x} if name else {}))

        if self.method == "attend":
            return self.table(site, x, inner, key)
        if isinstance(self.module, nn.BatchNorm):
            y = self.batch_norm(site, x, kwargs)
        elif isinstance(self.module, nn.Embed):
            y = self.table(site, x, inner, key)
        elif self.found is not None and "product" in self.found.points:
            y = self.layer(site, x, inner, key)
        else:
            y = inner(x)
            if has_point(site, "output") and isinstance(y, jax.Array):
                y = patched("output", site, y, x=x, key=key).astype(y.dtype)
        return branch(site, y, x, key, self.path)

    def site(self) -> Params:
        """The module's own parameters as a patch reads them: kernels of two axes."""
        from flax.core import unfreeze

        site = unfreeze(self.module.variables["params"])
        del site[MARK]
        if self.found is not None and self.found.ins:
            site |= flat(site, self.found)
        return site

    def key(self, site: Params) -> Key | None:
        """A key for the patches, of the module's own stream.

        Raises ValueError for dropout where the module got no key for it.
        """
        patches = site.get("patch", {})
        if not self.how.draws or not patches:
            return None
        if self.module.has_rng(self.how.stream):
            return self.module.make_rng(self.how.stream)
        drops = [n for n, p in patches.items() if getattr(p, "rate", 0)]
        if drops:
            raise ValueError(
                f"{self.path}/patch/{drops[0]} has dropout, but a lifted module hands "
                f"no key of {self.how.stream!r} down to it: its split_rngs need one"
            )
        return None

    def layer(self, site: Params, x: Array, inner: Callable, key: Key | None) -> Array:
        """A product with a kernel, and its patches."""
        x, low = self.inputs(site, x, key)
        whole = not has_point(site, "kernel", "product") and _plain(site)
        if whole:
            y = inner(x)
            if not has_point(site, "output"):
                return y
        else:
            kernel = weight(site, key=key)
            if self.found.ins:
                kernel = kernel.reshape(*self.found.ins, *self.found.outs)
            y = self.apart({"kernel": kernel}, use_bias=False)(x)
        dtype, shape = y.dtype, y.shape
        low = low.astype(dtype)
        y = y.reshape(*shape[: y.ndim - (len(self.found.outs) or 1)], -1)
        if not whole:
            y = patched("product", site, y, x=low, key=key)
            if "bias" in site:
                y = y + site["bias"].astype(dtype)
        y = patched("output", site, y, x=low, key=key)
        return y.reshape(shape).astype(dtype)

    def inputs(self, site: Params, x: Array, key: Key | None) -> tuple[Array, Array]:
        """(x as the module reads it, x as patches do [... I]), patched at `input`."""
        if not self.found.ins:
            x = patched("input", site, x, key=key)
            return x, x
        axes = [axis % x.ndim for axis in _tuple(self.module.axis)]
        last = range(x.ndim - len(axes), x.ndim)
        low = jnp.moveaxis(x, axes, last)
        shape = low.shape
        low = low.reshape(*shape[: x.ndim - len(axes)], -1)
        new = patched("input", site, low, key=key)
        return (x if new is low else jnp.moveaxis(new.reshape(shape), last, axes)), new

    def table(self, site: Params, x: Array, inner: Callable, key: Key | None) -> Array:
        """An embedding, either way, and its patches."""
        if has_point(site, "kernel") or not _plain(site, "embedding"):
            leaves = {"embedding": weight(site, "embedding", key=key)}
            y = self.apart(leaves)(x, method=self.method)
        else:
            y = inner(x)
        if self.method == "attend":
            return y
        return patched("output", site, y, x=x, key=key).astype(y.dtype)

    def batch_norm(self, site: Params, x: Array, kwargs: dict) -> Array:
        """A batch norm by the statistics that the call asks for."""
        how, module = self.how, self.module
        kept = how.norm == "running" or self.path in how.fixed
        settings: dict = {"use_running_average": kept}
        if how.norm == "own":
            settings["momentum"] = 0.0
        leaves = {n: site[n] for n in ("scale", "bias") if n in site}
        old = {n: module.get_variable("batch_stats", n) for n in ("mean", "var")}
        run = self.apart(leaves, batch_stats=old, **settings)
        mask = {n: v for n, v in kwargs.items() if n == "mask"}
        y, moved = run(x, mutable=["batch_stats"], **mask)
        if not kept:
            for name, value in moved["batch_stats"].items():
                module.put_variable("batch_stats", name, value)
        return patched("output", site, y, x=x).astype(y.dtype)

    def apart(self, leaves: Params, batch_stats: Any = None, **changes: Any) -> Any:
        """The layer as a function, with leaves and settings of our own.

        Raises ValueError for one that keeps variables of other kinds.
        """
        odd = set(self.module.variables) - {"params", "batch_stats"}
        if odd:
            raise ValueError(
                f"{self.path!r} keeps {', '.join(sorted(odd))}: patches at its kernel "
                "or product are not served"
            )
        own = self.module.clone(parent=None, name=None, **changes)
        stats = {} if batch_stats is None else {"batch_stats": batch_stats}

        def run(x: Array, **settings: Any) -> Any:
            return own.apply({"params": leaves, **stats}, x, **settings)

        return run


def flat(site: Params, found: Site) -> Params:
    """Kernel [... I O] and bias [... O] of a dense layer of several axes."""
    one = (math.prod(found.ins),), (math.prod(found.outs),)
    return _shaped(site, (found.ins, found.outs), one)


def unflat(site: Params, found: Site) -> Params:
    """The inverse of `flat`."""
    one = (math.prod(found.ins),), (math.prod(found.outs),)
    return _shaped(site, one, (found.ins, found.outs))


def _shaped(site: Params, old: tuple[tuple, tuple], new: tuple[tuple, tuple]) -> Params:
    """Kernel and bias with other last axes; what stands before them stays."""
    own = {}
    for name, first in (("kernel", 0), ("bias", 1)):
        if hasattr(site.get(name), "reshape"):
            lead = site[name].ndim - len(sum(old[first:], ()))
            own[name] = site[name].reshape(
                *site[name].shape[:lead], *sum(new[first:], ())
            )
    return own


def _plain(site: Params, leaf: str = "kernel") -> bool:
    """True for a kernel that is an array."""
    return not hasattr(site[leaf], "dequantise")


def _tuple(value: Any) -> tuple:
    return tuple(value) if hasattr(value, "__iter__") else (value,)
