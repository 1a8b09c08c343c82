"""One patch of every point, for laws of writing with a cache."""

import jax
import jax.numpy as jnp

from tl_jax import transfer as t
from tl_jax.tree import node, put
from tl_jax.types import Array

VALUES = r"blocks/\d+/attention/(key|value)"


@node
class Scale:
    """y * scale."""

    point = "output"
    rates = {}  # noqa: RUF012
    scale: Array

    def __call__(self, site, value, *, x=None, key=None):
        return value * self.scale


@node
class Times(Scale):
    """x * scale, before the product."""

    point = "input"


@node
class Bent(Scale):
    """The kernel times a scale of its columns."""

    point = "kernel"


@node
class Bottleneck:
    """y + tanh(x a) b, x the residual stream behind a norm (Pfeiffer et al., 2021)."""

    point = "mlp_sum"
    rates = {}  # noqa: RUF012
    a: Array
    b: Array

    def __call__(self, site, value, *, x=None, key=None):
        stream, norm = x
        return value + jnp.tanh(norm(stream + value) @ self.a) @ self.b


@node
class Parallel(Bottleneck):
    """y + tanh(x a) b, x what the branch read."""

    point = "branch"

    def __call__(self, site, value, *, x=None, key=None):
        return value + jnp.tanh(x @ self.a) @ self.b


@node
class Everywhere:
    """One scale of all keys, which lives at the root."""

    point = "root"
    rates = {}  # noqa: RUF012
    scale: Array

    def expand(self, params):
        for i in params["blocks"]:
            path = f"blocks/{i}/attention/key/patch/shared"
            params = put(params, path, Scale(self.scale))
        return params


def ones_like(seed, size):
    return 1 + 0.5 * jax.random.normal(jax.random.key(seed), (size,))


def scaled(kind, where):
    def make(key, site):
        leaf = site["kernel"].shape[0 if kind is Times else 1]
        return kind(1 + 0.5 * jax.random.normal(key, (leaf,)))

    return t.graft(where, kind.__name__, make, has=("kernel",))


def bottleneck(kind, where, has):
    def make(key, site):
        a, b = 0.3 * jax.random.normal(key, (2, 16, 16))
        return kind(a, b)

    return t.graft(where, kind.__name__, make, has=has)


def moved(transfer):
    """The transform with patches that do something: noise on every new leaf."""

    def transform(key, plan):
        made = transfer(key, plan)
        rng = jax.random.split(key, 200)
        held = set(map(id, jax.tree.leaves(plan.params)))
        number = iter(range(200))

        def shaken(leaf):
            if id(leaf) in held:
                return leaf
            own = rng[next(number)]
            return leaf + 0.3 * jax.random.normal(own, leaf.shape)

        return made._replace(params=jax.tree.map(shaken, made.params))

    return transform


def deep(key, plan):
    """Two tokens in front, and others in their place at the second block."""
    from tl_jax.transfer.prompts import DeepPrompt

    tokens = jax.random.normal(key, (2, 16))
    plan = t.prompt(2, std=1.0)(key, plan)
    own = t.graft("blocks/1", "deep", lambda key, site: DeepPrompt(tokens))
    return own(key, plan)


PATCHES = {
    "none": lambda key, plan: plan,
    "lora": moved(t.lora(2, r"blocks/\d+/(attention|mlp)/.*")),
    "ia3": scaled(Scale, VALUES),
    "ia3_down": scaled(Times, r"blocks/\d+/mlp/down"),
    "kernel": scaled(Bent, r"blocks/\d+/attention/.*"),
    "prefix": t.prefix(3, std=1.0),
    "prefix_network": t.prefix(3, hidden=4, shift=True, std=1.0),
    "prompt": t.prompt(3, std=1.0),
    "p_tuning": moved(t.p_tuning(3, hidden=8)),
    "deep_prompt": deep,
    "pfeiffer": bottleneck(Bottleneck, r"blocks/\d+", ("mlp",)),
    "parallel": bottleneck(Parallel, r"blocks/\d+/attention", ("query",)),
    "root": t.graft("", "all", lambda key, site: Everywhere(ones_like(0, 8))),
    "chain": t.chain(
        moved(t.lora(2, r"blocks/\d+/attention/query")),
        t.prefix(2, std=1.0),
        t.prompt(2, std=1.0),
        scaled(Scale, VALUES),
    ),
}
