"""Layers of Linen one by one, against einsum and against modules by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from linen_modules import Feed, Pictures, images, perturbed

from tests.interop.patches import beside, times
from tl_jax.interop import branch_adapter, linen, over_layers
from tl_jax.nn import Fixed, Running
from tl_jax.transfer import (
    chain,
    freeze,
    full,
    lora,
    merge,
    new_head,
    partition,
    rate,
    trainable,
)
from tl_jax.tree import NoMatch, flatten
from tl_jax.types import Outputs


def close(got, want, most=1e-6):
    np.testing.assert_allclose(got, want, atol=most * np.abs(want).max(), rtol=0)


class Layers(nn.Module):
    """One layer of each kind that has a kernel."""

    kind: str

    @nn.compact
    def __call__(self, x):
        make, *settings = {
            "dense": (nn.Dense, 4),
            "no bias": (nn.Dense, 4, False),
            "heads": (nn.DenseGeneral, (2, 3)),
            "rows": (nn.DenseGeneral, 5, (1, 2)),
            "first": (nn.DenseGeneral, (2, 2), 1),
        }[self.kind]
        return make(*settings, name="own")(x)


@pytest.mark.parametrize("kind", ["dense", "no bias", "heads", "rows", "first"])
def test_points_of_dense_layers_by_einsum(kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 4, 5)).astype(np.float32)
    foreign = linen(Layers(kind), {"x": x})
    points = ("kernel", "input", "product", "output")
    own = [times("own", p, name=p) for p in points]
    plan = chain(*own, foreign.check)(
        jax.random.key(1), full(*foreign.model.init(jax.random.key(0)))
    )
    params = perturbed(plan.params)
    site = params["own"]
    by = {p: np.asarray(site["patch"][p].by) for p in points}
    low = {"rows": x.reshape(3, 20), "first": x.swapaxes(1, 2)}.get(kind, x)
    y = (low * by["input"]) @ (np.asarray(site["kernel"]) * by["kernel"])
    y = (y * by["product"] + site.get("bias", 0)) * by["output"]
    got = foreign.model.apply(params, {}, {"x": x})[0].logits
    close(got.reshape(y.shape), y, 1e-5)


class Tied(nn.Module):
    """An embedding that is also the output layer, and a convolution between."""

    @nn.compact
    def __call__(self, ids):
        table = nn.Embed(7, 6, name="table")
        h = nn.Conv(6, (3,), name="conv")(table(ids))
        return table.attend(h)


def test_points_of_embeddings_and_convolutions():
    ids = jnp.asarray([[1, 2, 5, 0]])
    foreign = linen(Tied(), {"ids": ids})
    start = full(*foreign.model.init(jax.random.key(0)))
    plan = chain(
        times("table", "kernel", "embedding"),
        times("table", "output", "embedding", name="after"),
        times("conv", "kernel"),
        times("conv", "input", name="before"),
        foreign.check,
    )(jax.random.key(1), start)
    params = perturbed(plan.params)
    table, conv = (params[n] for n in ("table", "conv"))
    rows = np.asarray(table["embedding"] * table["patch"]["times"].by)
    x = rows[ids[0]] * table["patch"]["after"].by
    # A convolution's factor at its input has its kernel's first axis, the window's.
    conv["patch"]["before"] = type(conv["patch"]["before"])(jnp.arange(6.0), "input")
    x = np.pad(x * np.arange(6.0), ((1, 1), (0, 0)))
    kernel = conv["kernel"] * conv["patch"]["times"].by
    h = sum(x[i : i + 4] @ kernel[i] for i in range(3)) + conv["bias"]
    got = foreign.model.apply(params, {}, {"ids": ids})[0].logits
    close(got[0], h @ rows.T, 1e-5)


class Keyless(nn.Module):
    """A scan that hands no key down."""

    @nn.compact
    def __call__(self, x):
        step = nn.scan(
            Step, variable_axes={"params": 0}, split_rngs={"params": True}, length=2
        )
        return step(name="steps")(x, None)[0]


class Step(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.Dense(x.shape[-1], name="own")(x), None


def test_dropout_without_a_key_raises_with_the_site():
    x = {"x": jnp.ones((1, 4))}
    foreign = linen(Keyless(), x)
    own = over_layers("steps", lora(2, "steps/own", rate=0.1))
    plan = own(jax.random.key(0), full(*foreign.model.init(jax.random.key(0))))
    with pytest.raises(ValueError, match="steps/own/patch/lora has dropout.*split_rng"):
        foreign.model.apply(plan.params, {}, x, key=jax.random.key(1))


class Adapted(nn.Module):
    """What `Feed` with an adapter is, written by hand: a user's rewritten module."""

    reads: str

    @nn.compact
    def __call__(self, x):
        y = Feed(8, 0.0, name="feed")(x, False)
        low = nn.relu(nn.Dense(2, name="low")(y if self.reads == "branch" else x))
        return y + 0.5 * nn.Dense(4, name="up")(low)


class Feeding(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Feed(8, 0.0, name="feed")(x, False)


@pytest.mark.parametrize("reads", ["branch", "stream"])
def test_an_adapter_is_the_module_rewritten_by_hand(reads):
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    foreign = linen(Feeding(), {"x": x})
    start = full(*foreign.model.init(jax.random.key(0)))
    own = branch_adapter("feed", 4, width=2, reads=reads, scale=0.5, init="zero")
    plan = chain(freeze(".*"), own, foreign.check)(jax.random.key(1), start)
    run = jax.jit(lambda params: foreign.model.apply(params, {}, {"x": x})[0].logits)
    close(run(plan.params), run(start.params))
    moving = {p for p, rate in flatten(plan.rates).items() if rate}
    leaves = {f"{part}/{n}" for part in ("down", "up") for n in ("kernel", "bias")}
    assert moving == {f"feed/patch/adapter/adapter/{leaf}" for leaf in leaves}
    train, frozen = partition(plan.params, trainable(plan.rates))
    train = perturbed(train)

    def loss(train):
        return run(merge(train, frozen)).var()

    def by_hand(part):
        variables = {"params": {"feed": base, "low": part.down, "up": part.up}}
        return Adapted(reads).apply(variables, x).var()

    base = {n: v for n, v in plan.params["feed"].items() if n != "patch"}
    node = train["feed"]["patch"]["adapter"].adapter
    want, grads = jax.value_and_grad(by_hand)(node)
    got, own_grads = jax.value_and_grad(loss)(train)
    close(got, want)
    own_grads = own_grads["feed"]["patch"]["adapter"].adapter
    for path, leaf in flatten(grads).items():
        close(flatten(own_grads)[path], leaf, 1e-5)
    with pytest.raises(NoMatch, match="reads 'sum' matches nothing; nearest"):
        branch_adapter("feed", 4, reads="sum")


def test_batch_norms_go_by_the_plan():
    module = Pictures()
    x = images()
    variables = module.init(jax.random.key(0), x["image"])
    foreign = linen(module, x)
    params, stats = foreign.load(variables)
    assert stats.keys() == {"norm_0", "norm_1"}
    apply = foreign.model.apply
    want = module.apply(variables, x["image"])
    close(apply(params, stats, x)[0].logits, want)
    want, moved = module.apply(variables, x["image"], True, mutable=["batch_stats"])
    got, new = apply(params, stats, x, norm="batch")
    close(got.logits, want)
    assert (
        flatten(foreign.dump(params, new)["batch_stats"]).keys()
        == flatten(moved["batch_stats"]).keys()
    )
    for name, own in moved["batch_stats"].items():
        close(new[name].mean, own["mean"])
        close(new[name].var, own["var"])
    _, own = apply(params, stats, x, norm="own")
    again = apply(params, own, x)[0].logits
    close(again, got.logits, 1e-4)
    plan = freeze("norm_0/.*")(jax.random.key(0), full(params, stats))
    _, new = apply(plan.params, plan.stats, x, norm="batch")
    assert isinstance(new["norm_0"], Fixed)
    assert isinstance(new["norm_1"], Running)
    assert (new["norm_0"].mean == stats["norm_0"].mean).all()
    assert np.abs(new["norm_1"].mean - stats["norm_1"].mean).max() > 1e-4


class Normed(nn.Module):
    """A batch norm inside a lifted `jit`, whose traces Flax may keep."""

    @nn.compact
    def __call__(self, x):
        return nn.jit(Norm)(name="own")(x)


class Norm(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=True, name="norm")(x)


def test_no_trace_of_evaluation_serves_training():
    x = {"x": jnp.asarray([[1.0], [3.0]])}
    foreign = linen(Normed(), x)
    params, stats = foreign.model.init(jax.random.key(0))
    for norm, want in (("running", 1.0), ("batch", -1.0), ("running", 1.0)):
        got = foreign.model.apply(params, stats, x, norm=norm)[0].logits
        np.testing.assert_allclose(got[0, 0], want, rtol=1e-4)


class Encoder(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(6, name="up")(x), nn.LayerNorm(name="norm")(x)


def test_a_head_is_added_to_a_module_without_one():
    x = {"x": jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)), jnp.float32)}
    with pytest.raises(TypeError, match="expected one array"):
        linen(Encoder(), x)
    foreign = linen(Encoder(), x, read=lambda result: Outputs(result[0]))
    assert foreign.model.width == 6
    start = full(*foreign.model.init(jax.random.key(0)))
    head = new_head(2, 6)
    plan = chain(head, freeze(".*"), rate("head/.*", 1.0), lora(1, "head"))(
        jax.random.key(1), start
    )
    params = perturbed(plan.params)
    out = foreign.model.apply(params, {}, x)[0]
    site, patch = params["head"], params["head"]["patch"]["lora"]
    kernel = site["kernel"] + patch.scale * patch.a @ patch.b
    close(out.logits, out.features @ kernel + site["bias"], 1e-5)


def test_a_graft_at_a_module_of_two_arrays_raises():
    x = {"x": jnp.ones((1, 4))}
    foreign = linen(Encoder(), x, read=lambda result: Outputs(result[0]))
    base = full(*foreign.model.init(jax.random.key(0)))
    plan = beside("", 4)(jax.random.key(0), base)
    with pytest.raises(TypeError, match="graft them at a module that returns one"):
        foreign.model.apply(plan.params, {}, x)


class Ensemble(nn.Module):
    """Three layers over one input, lifted by `nn.vmap`."""

    @nn.compact
    def __call__(self, x):
        three = nn.vmap(
            nn.Dense,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            in_axes=None,
            axis_size=3,
        )
        return three(4, name="members")(x).sum(0)


def test_members_of_a_lifted_vmap_have_adapters_of_their_own():
    x = {"x": jnp.asarray(np.random.default_rng(0).normal(size=(2, 5)), jnp.float32)}
    foreign = linen(Ensemble(), x)
    start = full(*foreign.model.init(jax.random.key(0)))
    own = over_layers("members", lora(2, "members"))
    plan = chain(own, foreign.check)(jax.random.key(1), start)
    site = perturbed(plan.params)["members"]
    patch = site["patch"]["lora"]
    assert patch.a.shape == (3, 5, 2)
    assert np.abs(patch.a[0] - patch.a[1]).max() > 0.1
    got = foreign.model.apply({"members": site}, {}, x)[0].logits
    kernel = site["kernel"] + patch.scale[:, None, None] * (patch.a @ patch.b)
    close(
        got, (jnp.einsum("bi,nio->nbo", x["x"], kernel) + site["bias"][:, None]).sum(0)
    )
