"""Low-rank patches at single layers: dropout, folding, stacks, batches, bad input."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.nn.dense import dropout
from tl_jax.transfer import (
    adalora,
    chain,
    context,
    dora,
    fold,
    foldable,
    freeze,
    full,
    loha,
    lokr,
    lora,
    pissa,
    rank_budget,
    stack_layers,
    trainable,
    vera,
)
from tl_jax.transfer.low_rank.lokr import factorised
from tl_jax.tree import NoMatch, flatten, node, stable_key

KEY = jax.random.key(0)
DENSE = {
    "lora": lora(2, ".*/lin"),
    "dora": dora(2, ".*/lin"),
    "adalora": adalora(2, ".*/lin"),
    "vera": vera(3, ".*/lin"),
    "loha": loha(2, ".*/lin"),
    "lokr": lokr(1, ".*/lin"),
    "lokr of both": lokr(1, ".*/lin", both=True),
    "lokr whole": lokr(9, ".*/lin"),
    "three": chain(loha(1, ".*/lin"), dora(2, ".*/lin"), lora(1, ".*/lin")),
}
CONVOLUTIONS = {
    "lora": lora(2, "conv"),
    "dora": dora(2, "conv"),
    "loha": loha(2, "conv"),
    "loha of cores": loha(2, "conv", effective=True),
    "lokr": lokr(1, "conv", factor=2),
    "lokr of cores": lokr(1, "conv", effective=True),
    "two": chain(lora(1, "conv"), dora(1, "conv")),
}


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def dense_site(seed=0):
    return {"kernel": drawn(6, 8, seed=seed), "bias": drawn(8, seed=seed + 1)}


def moved(params, seed=9):
    """Values that no initialiser makes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda x: x + 0.3 * rng.standard_normal(x.shape, np.float32), params
    )


def near(found, expected, tolerance=1e-5):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def layer_of(plan, x):
    """What `blocks/0/lin` makes of x."""
    return nn.dense(nn.expand(plan.params)["blocks"]["0"]["lin"], x)


@pytest.mark.parametrize("method", DENSE.values(), ids=DENSE)
def test_a_dense_fold_is_exact(method):
    plan = method(KEY, full({"blocks": {"0": {"lin": dense_site()}}}))
    x = drawn(2, 5, 6, seed=3)
    near(layer_of(plan, x), nn.dense(dense_site(), x))
    plan = plan._replace(params=moved(plan.params))
    want = layer_of(plan, x)
    near(jax.jit(layer_of)(plan, x), want)
    assert foldable(plan.params)
    folded = fold(plan)
    assert set(flatten(folded.params)) == {f"blocks/0/lin/{n}" for n in dense_site()}
    assert set(flatten(folded.rates)) == set(flatten(folded.params))
    near(layer_of(folded, x), want)
    changed = np.abs(layer_of(folded, x) - nn.dense(dense_site(), x)).max()
    assert changed > 0.1


@pytest.mark.parametrize("method", DENSE.values(), ids=DENSE)
def test_stacked_layers_fold_as_single_ones(method):
    blocks = {str(i): {"lin": dense_site(i)} for i in range(3)}
    plan = method(KEY, full({"blocks": blocks}))
    plan = plan._replace(params=moved(plan.params))
    wanted = flatten(fold(plan).params)
    found = flatten(fold(stack_layers(plan)).params)
    assert set(found) == {"blocks/0-2/lin/kernel", "blocks/0-2/lin/bias"}
    for name in ("kernel", "bias"):
        each = np.stack([wanted[f"blocks/{i}/lin/{name}"] for i in range(3)])
        near(found[f"blocks/0-2/lin/{name}"], each)


@pytest.mark.parametrize("method", DENSE.values(), ids=DENSE)
def test_stacked_layers_scan_and_adapters_stack(method):
    """A scan over stacked sites, and vmap over adapters of one base, equal loops."""
    blocks = {str(i): {"lin": dense_site(i)} for i in range(2)}
    plan = method(KEY, full({"blocks": blocks}))
    plan = plan._replace(params=moved(plan.params))
    x = drawn(2, 5, 6, seed=3)
    single = nn.expand(plan.params)["blocks"]
    many = nn.expand(stack_layers(plan).params)["blocks"]["0-1"]
    each = jnp.stack([nn.dense(single[name]["lin"], x) for name in "01"])
    _, found = jax.lax.scan(lambda c, site: (c, nn.dense(site["lin"], x)), 0, many)
    near(found, each)
    patches = [moved(single["0"]["lin"]["patch"], seed=i) for i in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *patches)

    def run(patch):
        return nn.dense(dense_site() | {"patch": patch}, x)

    near(jax.vmap(run)(stacked), jnp.stack([run(patch) for patch in patches]))


@pytest.mark.parametrize("method", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution_s_fold_is_exact(method):
    site = {"kernel": drawn(3, 3, 4, 6), "bias": drawn(6)}
    plan = method(KEY, full({"conv": site}))
    x = drawn(2, 7, 8, 4, seed=3)

    def run(plan):
        return nn.conv(plan.params["conv"], x, stride=2)

    near(run(plan), nn.conv(site, x, stride=2))
    plan = plan._replace(params=moved(plan.params))
    folded = fold(plan)
    assert set(folded.params["conv"]) == {"kernel", "bias"}
    near(run(folded), run(plan))


def test_a_convolution_s_lora_is_a_convolution_and_a_product():
    plan = lora(2, "conv", 3.0)(KEY, full({"conv": {"kernel": drawn(3, 3, 4, 6)}}))
    site = moved(plan.params)["conv"]
    own, x = site["patch"]["lora"], drawn(2, 7, 8, 4, seed=3)
    low = nn.conv({"kernel": own.a}, x, stride=2)
    want = nn.conv({"kernel": site["kernel"]}, x, stride=2)
    near(nn.conv(site, x, stride=2), want + own.scale * (low @ own.b))


@pytest.mark.parametrize("tied", [False, True])
def test_a_table_s_lora_adds_rows(tied):
    plan = lora(2, "words", 3.0, leaf="embedding", tied=tied)(
        KEY, full({"words": {"embedding": drawn(7, 4)}})
    )
    own, ids = plan.params["words"]["patch"]["lora"], jnp.array([[0, 3], [6, 3]])
    assert not np.any(own.a)
    assert np.all(own.b != 0)
    site = moved(plan.params)["words"]
    own = site["patch"]["lora"]
    table = site["embedding"] + own.scale * (own.a @ own.b)
    near(nn.embed(site, ids), table[ids])
    # a tied output layer reads the table: it sees what stands in it, and only that
    seen = nn.weight(site, "embedding")
    near(seen, table if tied else site["embedding"])
    folded = fold(full({"words": site})).params["words"]
    near(nn.embed(folded, ids), table[ids])


@pytest.mark.parametrize(
    ("method", "name"),
    [
        (lora(2, "lin", rate=0.5), "lora"),
        (adalora(2, "lin", rate=0.5), "adalora"),
        (vera(3, "lin", rate=0.5), "vera"),
    ],
)
def test_dropout_acts_on_the_branch_alone(method, name):
    """Dropped before the base's product, x W itself would change: it must not."""
    plan = method(KEY, full({"lin": dense_site()}))
    x, key = drawn(4, 5, 6, seed=3), jax.random.key(7)
    plain = nn.dense(dense_site(), x)
    site = nn.expand(plan.params)["lin"]
    near(nn.dense(site, x, key=key), plain, 1e-6)  # the branch is zero at the start
    site = nn.expand(moved(plan.params))["lin"]
    base = {n: site[n] for n in ("kernel", "bias")}
    dropped = dropout(x, 0.5, stable_key(key, name))
    branch = nn.dense(site, dropped) - nn.dense(base, dropped)
    near(nn.dense(site, x, key=key), nn.dense(base, x) + branch)
    assert np.abs(nn.dense(site, x, key=key) - nn.dense(site, x)).max() > 0.1


def test_dora_s_dropout_is_peft_s():
    """x W + (g - 1) x' W + g s x' a b with x' the dropped input."""
    plan = dora(2, "lin", rate=0.5)(KEY, full({"lin": dense_site()}))
    site, x, key = moved(plan.params)["lin"], drawn(4, 5, 6, seed=3), jax.random.key(7)
    own, kernel = site["patch"]["dora"], np.asarray(site["kernel"])
    delta = np.asarray(own.scale * own.a @ own.b)
    gain = np.asarray(own.magnitude) / np.linalg.norm(kernel + delta, axis=0)
    dropped = np.asarray(dropout(x, 0.5, stable_key(key, "dora")))
    added = (gain - 1) * (dropped @ kernel) + gain * (dropped @ delta)
    near(nn.dense(site, x, key=key), x @ kernel + added + site["bias"])


def test_dora_s_norm_has_no_gradient():
    """By hand: with the norm held still, and not as the whole derivative has it."""
    plan = dora(2, "lin")(KEY, full({"lin": dense_site()}))
    site, x = moved(plan.params)["lin"], drawn(5, 6, seed=3)
    own, target = site["patch"]["dora"], drawn(5, 8, seed=4)
    held = jnp.linalg.norm(site["kernel"] + own.scale * own.a @ own.b, axis=0)

    def by_hand(a, held):
        kernel = site["kernel"] + own.scale * a @ own.b
        norm = jnp.linalg.norm(kernel, axis=0) if held is None else held
        return ((own.magnitude / norm) * (x @ kernel) * target).sum()

    def ours(a):
        patch = {"dora": type(own)(a, own.b, own.magnitude, own.scale)}
        return (nn.dense(site | {"patch": patch}, x) * target).sum()

    found = jax.grad(ours)(own.a)
    near(found, jax.grad(by_hand)(own.a, held))
    whole = jax.grad(by_hand)(own.a, None)
    assert np.abs(found - whole).max() > 0.1 * np.abs(whole).max()


def test_a_zero_column_stays_zero():
    kernel = drawn(6, 8).at[:, 2].set(0)
    plan = dora(2, "lin")(KEY, full({"lin": {"kernel": kernel}}))
    y = nn.dense(plan.params["lin"], drawn(3, 6))
    assert not np.any(y[:, 2])
    assert np.all(np.isfinite(y))


@pytest.mark.parametrize("method", DENSE.values(), ids=DENSE)
def test_only_factors_move(method):
    plan = chain(freeze(".*"), method)(
        KEY, full({"blocks": {"0": {"lin": dense_site()}}})
    )
    x = drawn(2, 6, seed=3)
    grads = flatten(
        jax.grad(lambda p: layer_of(plan._replace(params=p), x).sum())(
            moved(plan.params)
        )
    )
    for path, moves in flatten(trainable(plan.rates)).items():
        leaf = path.split("/patch/")[-1].split("/")[-1]
        root = path.startswith("patch/")
        assert moves == ("/patch/" in path and leaf != "scale" and not root), path
        assert np.any(grads[path] != 0), path


@node
class Square:
    """y^2: what no kernel absorbs."""

    point: ClassVar[str] = "product"
    rates: ClassVar[dict[str, float]] = {}
    one: jax.Array

    def __call__(self, site, value, *, x=None, key=None):
        return self.one * value**2


def test_what_comes_behind_an_unfoldable_patch_stays():
    plan = chain(lora(1, "lin", name="z"), vera(2, "lin"))(
        KEY, full({"lin": dense_site()})
    )
    plan = plan._replace(params=moved(plan.params))
    plan.params["lin"]["patch"]["a"] = Square(jnp.ones(()))
    plan.rates["lin"]["patch"]["a"] = Square(1.0)
    folded, x = fold(plan), drawn(3, 6, seed=3)
    assert set(folded.params["lin"]["patch"]) == {"a", "vera", "z"}
    assert set(folded.params["patch"]) == {"vera"}
    near(
        nn.dense(nn.expand(folded.params)["lin"], x),
        nn.dense(nn.expand(plan.params)["lin"], x),
    )


def test_sides_are_split_into_the_nearest_factors():
    found = [factorised(n) for n in (256, 128, 127, 1, 12)]
    assert found == [(16, 16), (8, 16), (1, 127), (1, 1), (3, 4)]
    assert factorised(128, 4) == (4, 32)
    assert factorised(4, 4) == (4, 1)
    assert factorised(10, 4) == (2, 5)


@pytest.mark.parity
def test_sides_are_split_as_peft_splits_them():
    peft = pytest.importorskip("peft.tuners.lokr.layer")
    for size in range(1, 200):
        for factor in (-1, *range(1, 20)):
            assert factorised(size, factor) == peft.factorization(size, factor)


class Quantised:
    """A kernel of a type of its own."""

    def dequantise(self):
        return drawn(6, 8)


jax.tree_util.register_pytree_node(
    Quantised, lambda _: ((), None), lambda *_: Quantised()
)


def test_a_typed_kernel_is_read_and_folded_as_an_array():
    site = {"kernel": Quantised(), "bias": drawn(8)}
    for method in (lora(2, "lin"), dora(2, "lin"), loha(2, "lin"), vera(2, "lin")):
        plan = method(KEY, full({"lin": site}))
        plan = plan._replace(params=moved(plan.params))
        x = drawn(3, 6, seed=3)
        want = nn.dense(nn.expand(plan.params)["lin"], x)
        near(nn.dense(fold(plan).params["lin"], x), want)
    with pytest.raises(TypeError, match="quantised: do this first"):
        pissa(2, "lin")(KEY, full({"lin": site}))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lora(0, "lin"), "lora: rank is 0, expected at least 1"),
        (lambda: lora(7, "lin"), r"rank 7 does not fit .*\(6, 8\); expected at most 6"),
        (lambda: dora(0, "lin"), "dora: rank is 0"),
        (lambda: lora(2, "conv", rate=0.1), "lora: dropout 0.1 beside a convolution"),
        (lambda: dora(2, "conv", rate=0.1), "dora: dropout 0.1 beside a convolution"),
        (lambda: pissa(2, "conv"), r"four|4 axes, expected two \(dense\)"),
        (lambda: vera(2, "conv"), r"4 axes, expected two \(dense\)"),
        (lambda: adalora(2, "odd"), "3 axes, expected two"),
        (lambda: lokr(2, "lin", factor=0), "lokr: factor is 0"),
        (lambda: chain(vera(2, "lin"), vera(2, "lin")), "'lin/patch/vera' is taken"),
        (
            lambda: chain(context(2, "lin"), dora(2, "lin")),
            r"'dora' \(DoRA\) and 'context' \(Context\) .* DoRA must be the first",
        ),
        (
            lambda: chain(dora(2, "lin"), lora(2, "lin", name="a")),
            r"'a' \(LoRA\) and 'dora' \(DoRA\) .* DoRA must be the first",
        ),
        (lambda: rank_budget(None, 0, 10), "target 0"),
        (lambda: rank_budget(None, 2, 10, start=6, end=4), "expected target and"),
    ],
)
def test_bad_input_raises_at_once(make, message):
    kernels = {"lin": (6, 8), "conv": (3, 3, 4, 6), "odd": (2, 6, 8)}
    plan = full({name: {"kernel": drawn(*shape)} for name, shape in kernels.items()})
    with pytest.raises(ValueError, match=message):
        make()(KEY, plan)


def test_a_leaf_that_is_no_leaf_names_the_nearest():
    with pytest.raises(NoMatch, match="leaf 'embeddings' .* nearest: embedding"):
        lora(2, "words", leaf="embeddings")
    plan = full({"words": {"embedding": drawn(7, 4)}})
    with pytest.raises(NoMatch, match="lora: where 'words'"):
        lora(2, "words")(KEY, plan)
