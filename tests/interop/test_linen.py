"""Linen modules that know nothing of patches, and what patches make of them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.interop.given import Feed, Pictures, Transformer, images, perturbed, tokens
from tests.interop.patches import beside, times
from tl_jax.algorithms import supervised
from tl_jax.interop import branch_adapter, linen, over_layers
from tl_jax.losses import cross_entropy
from tl_jax.nn import Fixed, Running
from tl_jax.optim import sgd
from tl_jax.transfer import (
    chain,
    fold,
    freeze,
    full,
    ia3,
    lora,
    merge,
    new_head,
    partition,
    prefix,
    rate,
    trainable,
)
from tl_jax.tree import NoMatch, flatten
from tl_jax.types import Outputs, Player

LAYERS = "attention/(query|value|out)|mlp/(up|down)"
KINDS = ("plain", "remat", "jit", "scan")


def lora_of(kind: str, **settings):
    """LoRA beside every layer but one of a transformer's blocks."""
    if kind == "scan":
        own = lora(2, f"layers/block/({LAYERS})", **settings)
        return over_layers("layers", own)
    return lora(2, f"blocks_./({LAYERS})", **settings)


def wrapped(kind: str = "plain", rate: float = 0.0):
    """(module, its Foreign, its own variables)."""
    module = Transformer(kind, rate)
    variables = module.init(jax.random.key(0), tokens()["tokens"])
    return module, linen(module, tokens()), variables


def close(got, want, most=1e-6):
    np.testing.assert_allclose(got, want, atol=most * np.abs(want).max(), rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_transformer_with_lora_is_its_folded_self(kind):
    module, foreign, variables = wrapped(kind)
    params, stats = foreign.load(variables)
    x, run = tokens(), jax.jit(foreign.model.apply)
    raw = jax.jit(module.apply)
    want = raw(variables, x["tokens"])
    plan = chain(freeze(".*"), lora_of(kind), foreign.check)(
        jax.random.key(1), full(params, stats)
    )
    close(run(plan.params, stats, x)[0].logits, want)
    moved = plan._replace(params=perturbed(plan.params))
    got = run(moved.params, stats, x)[0].logits
    assert np.abs(got - want).max() > 0.1
    plain = foreign.dump(fold(moved).params, stats)
    close(got, raw(plain, x["tokens"]), 1e-5)
    if kind == "plain":
        close(foreign.model.apply(moved.params, stats, x)[0].logits, got, 1e-5)


def stepped(foreign, plan):
    """(plan's moving leaves, the same after a step of SGD at 0.1, frozen, labels)."""
    players = {"model": Player(foreign.model, plan, sgd(0.1))}

    def loss(outputs, stream):
        return cross_entropy(outputs.logits, stream["labels"])

    labels = jnp.asarray([0, 1, 2, 1])
    stream = {"inputs": tokens(), "labels": labels, "weight": jnp.ones(4)}
    made = supervised(players, loss)
    state, frozen = made.init(jax.random.key(2), players)
    new, _ = jax.jit(made.step)(state, frozen, {"train": stream}, jax.random.key(3))
    return state.train["model"], new.train["model"], frozen["model"], labels


METHODS = {
    "lora": lora(2, f"blocks_./({LAYERS})"),
    "ia3": ia3("blocks_./(attention/(key|value)|mlp/down)"),
    "lora in layers": over_layers("layers", lora(2, f"layers/block/({LAYERS})")),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_step_is_that_of_the_folded_module(method):
    module, foreign, variables = wrapped("scan" if "layers" in method else "plain")
    start = full(*foreign.load(variables))
    plan = chain(freeze(".*"), METHODS[method])(jax.random.key(1), start)
    plan = plan._replace(params=perturbed(plan.params))
    old, got, frozen, labels = stepped(foreign, plan)

    def by_hand(train):
        own = plan._replace(params=merge(train, frozen))
        logits = module.apply(foreign.dump(fold(own).params, {}), tokens()["tokens"])
        return -jax.nn.log_softmax(logits)[jnp.arange(4), labels].mean()

    grads = flatten(jax.jit(jax.grad(by_hand))(old))
    old, got = flatten(old), flatten(got)
    assert got.keys() == grads.keys()
    assert all("/patch/" in path for path in got)
    for path, leaf in got.items():
        assert np.abs(grads[path]).max() > 1e-4
        close(leaf, old[path] - 0.1 * grads[path], 1e-5)


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


def test_parameters_go_there_and_back():
    _, foreign, variables = wrapped()
    params, stats = foreign.load(variables)
    assert params["blocks_0"]["attention"]["query"]["kernel"].shape == (16, 16)
    back = flatten(foreign.dump(params, stats))
    want = flatten(variables)
    assert back.keys() == want.keys()
    assert all((back[p] == leaf).all() for p, leaf in want.items())
    fresh = flatten(foreign.model.init(jax.random.key(3))[0])
    assert fresh.keys() == flatten(params).keys()


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


@pytest.mark.parametrize("kind", ["plain", "scan"])
def test_a_branch_reads_the_input_of_its_module(kind):
    _, foreign, variables = wrapped(kind)
    x, params = tokens(), foreign.load(variables)[0]
    at = "layers/block" if kind == "scan" else "blocks_1"
    own = beside(f"{at}/mlp", 16)
    own = over_layers("layers", own) if kind == "scan" else own
    plan = chain(freeze(".*"), own, foreign.check)(jax.random.key(0), full(params))
    run = jax.jit(lambda p: foreign.model.apply(p, {}, x)[0].logits)
    close(run(plan.params), run(params))
    moved = perturbed(plan.params)
    assert np.abs(run(moved) - run(params)).max() > 0.1


def test_several_adapters_by_vmap():
    _, foreign, variables = wrapped()
    base = full(*foreign.load(variables))
    made = [lora_of("plain")(jax.random.key(i), base).params for i in range(3)]
    made = [perturbed(params, i) for i, params in enumerate(made)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)

    def run(params):
        return foreign.model.apply(params, {}, tokens())[0].logits

    for got, params in zip(jax.jit(jax.vmap(run))(stacked), made, strict=True):
        close(got, run(params), 1e-5)


def test_dropout_is_the_modules_own_and_the_branchs():
    module, foreign, variables = wrapped(rate=0.5)
    params, key, x = foreign.load(variables)[0], jax.random.key(5), tokens()
    rngs = {"dropout": key}
    want = jax.jit(lambda v: module.apply(v, x["tokens"], True, rngs=rngs))(variables)
    run = jax.jit(foreign.model.apply, static_argnames="norm")
    close(run(params, {}, x, key=key)[0].logits, want)
    still = run(params, {}, x, norm="batch")[0].logits
    close(still, jax.jit(module.apply)(variables, x["tokens"]))
    plan = lora(2, "blocks_1/mlp/up", rate=0.5)(jax.random.key(0), full(params))
    same = run(plan.params, {}, x, key=key)[0].logits
    close(same, want)  # b is zero, and the module's own draws are what they were


def test_dropout_of_a_branch_draws_in_each_layer():
    _, foreign, variables = wrapped("scan")
    base = full(*foreign.load(variables))
    plan = lora_of("scan", rate=0.5)(jax.random.key(1), base)
    params, x = perturbed(plan.params), tokens()
    run = jax.jit(lambda key: foreign.model.apply(params, {}, x, key=key)[0].logits)
    one, two = run(jax.random.key(0)), run(jax.random.key(1))
    assert np.abs(one - two).max() > 1e-2
    close(one, run(jax.random.key(0)))


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


def test_what_nobody_serves_raises_with_its_names():
    _, foreign, variables = wrapped()
    base = full(*foreign.load(variables))
    key = jax.random.key(0)
    kv = prefix(2, r"blocks_1/attention")
    with pytest.raises(ValueError, match="'blocks_1/attention/patch/prefix'.*'kv'"):
        chain(kv, foreign.check)(key, base)
    with pytest.raises(ValueError, match="serves output, branch there"):
        foreign.model.apply(kv(key, base).params, {}, tokens())
    wrong = times("head", "product")(key, base).params
    wrong = {"haed": wrong["head"]} | {n: v for n, v in wrong.items() if n != "head"}
    with pytest.raises(ValueError, match="calls no module at 'haed'; nearest: head"):
        foreign.model.apply(wrong, {}, tokens())
    with pytest.raises(ValueError, match="head/patch/times"):
        foreign.dump(times("head", "product")(key, base).params, {})
    with pytest.raises(NoMatch, match="field 'token' matches nothing; nearest: tokens"):
        linen(Transformer(), {"token": jnp.ones((1, 2), int), "train": jnp.ones(1)})


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
