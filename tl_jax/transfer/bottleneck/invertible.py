"""Invertible adapters behind the embeddings."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from tl_jax.nn.activations import ACTIVATIONS, activate
from tl_jax.transfer.bottleneck.adapter import Activation, affine
from tl_jax.transfer.bottleneck.initial import Init, check_init, drawn
from tl_jax.transfer.graft import graft
from tl_jax.tree import get, matches, node, one_of, put, sites, static
from tl_jax.types import Array, Key, Params, Transfer


@node
class Coupling:
    """y1 = x1 + f(x2), y2 = x2 + g(y1), x1 and x2 the halves; or back to x."""

    rates: ClassVar[Mapping[str, float]] = {}
    f: Params
    g: Params
    point: str = static("sequence")
    activation: Activation = static("relu")

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        """There at the embeddings, back where a norm's result is scored."""
        if self.point == "output":
            return self.back(value)
        tokens, mask, at = value
        return self.there(tokens), mask, at

    def there(self, x: Array) -> Array:
        """x [B T D] -> y."""
        first, second = halves(x)
        first = first + self._net(self.f, second)
        return jnp.concatenate([first, second + self._net(self.g, first)], -1)

    def back(self, y: Array) -> Array:
        """y [B T D] -> x."""
        first, second = halves(y)
        second = second - self._net(self.g, first)
        return jnp.concatenate([first - self._net(self.f, second), second], -1)

    def _net(self, part: Params, x: Array) -> Array:
        low, own = affine(part["down"], x), self.activation
        low = activate(own, low) if isinstance(own, str) else own(low)
        return affine(part["up"], low)


@node
class Invertible:
    """A coupling at the embeddings and its inverse before the tied output layer."""

    point: ClassVar[str] = "root"
    rates: ClassVar[Mapping[str, float]] = {}
    f: Params
    g: Params
    name: str = static("invertible")
    inverse: str = static("")
    activation: Activation = static("relu")

    def __call__(self, site: Params, value: Any, *, x: Any = None, key: Any = None):
        """A node at the root is expanded; no layer has its point."""
        raise TypeError("an invertible adapter acts through expand(params)")

    def expand(self, params: Params) -> Params:
        """The same weights at both places."""
        places = (("embed", "sequence"), (self.inverse, "output"))
        for path, point in places:
            if path:
                own = Coupling(self.f, self.g, point, self.activation)
                params = put(params, f"{path}/patch/{self.name}", own)
        return params


def halves(x: Array) -> tuple[Array, Array]:
    """x [... D] as D // 2 channels and the rest."""
    first = x.shape[-1] // 2
    return x[..., :first], x[..., first:]


def invertible(
    reduction: float = 2.0,
    *,
    inverse: str | None = None,
    activation: Activation = "relu",
    init: Init = "bert",
    name: str = "invertible",
) -> Transfer:
    """A language's own embeddings by a map that can be undone (Pfeiffer et al., 2020).

    MAD-X's, by NICE's coupling (Dinh et al., 2015): of the embedding's halves
    y1 = x1 + f(x2), y2 = x2 + g(y1), behind its norm and dropout, f and g of a
    bottleneck each, D / 2 // `reduction` wide. The vocabulary's scores are products
    with the same embedding, so that the inverse stands before them: `inverse` is the
    norm whose result they read, by default `head/norm` where there is one (BERT; for
    a tied Llama say "norm"), `""` for none, as classifiers do. `init` is that of
    `adapter`; AdapterHub's is "bert".

    Raises `NoMatch` for an unknown norm, activation or `init`, ValueError for a
    reduction below 0, a taken name and for a second one, whose inverse would stand in
    the wrong order.
    """
    check_init(init)
    if not reduction > 0:
        raise ValueError(f"{name}: reduction is {reduction}, expected more than 0")
    if isinstance(activation, str):
        one_of(f"{name}: activation", activation, ACTIVATIONS)

    def make(key: Key, params: Params) -> Invertible:
        check_alone(params, name)
        norms = [path for path, site in sites(params).items() if "scale" in site]
        at = (
            ("head/norm" if "head/norm" in norms else "")
            if inverse is None
            else inverse
        )
        if at:
            one_of(f"{name}: inverse", at, norms)
        size = embedding_width(params)
        first, second = size // 2, size - size // 2
        nets = []
        for k, (a, b) in zip(
            jax.random.split(key), ((second, first), (first, second)), strict=True
        ):
            small = max(int(a // reduction), 1)
            down, up = drawn(k, (a, small, b), init)
            nets.append({"down": down, "up": up})
        return Invertible(*nets, name, at, activation)

    return graft("", name, make)


def check_alone(params: Params, name: str) -> None:
    """Raise where another stands at the root, or the embedding's name is taken."""
    for other, own in params.get("patch", {}).items():
        if isinstance(own, Invertible):
            raise ValueError(
                f"{name!r} and {other!r} are both invertible adapters: inverses of two "
                "would stand in the wrong order, drop one"
            )
    if name in params.get("embed", {}).get("patch", {}):
        raise ValueError(f"patch 'embed/patch/{name}' is taken: give another name")


def embedding_width(params: Params) -> int:
    """D of what the embedding gives; raises `NoMatch` for a model without tokens."""
    matches("embed/tokens", sites(params), "invertible: the model's site")
    return get(params, "embed/tokens")["embedding"].shape[-1]
