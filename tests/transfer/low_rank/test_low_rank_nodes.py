"""Low-rank patches of dense layers: dropout, folding, stacks, batches, bad input."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from single_sites import dense_site, drawn, moved, near

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
