"""LoRA that begins with a part of the kernel, and its way back to an ordinary one."""

import dataclasses

import jax
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.transfer import (
    as_lora,
    chain,
    diff,
    fold,
    freeze,
    full,
    olora,
    pissa,
    rslora,
    stack_layers,
)
from tl_jax.tree import NoMatch, flatten, put

KEY = jax.random.key(0)
METHODS = {
    "pissa": pissa(2, ".*/lin", 3.0),
    "pissa, stable": pissa(2, ".*/lin", 3.0, stable=True),
    "olora": olora(2, ".*/lin", 3.0),
}


def drawn(*shape, seed=0):
    return jax.numpy.asarray(
        np.random.default_rng(seed).standard_normal(shape, np.float32)
    )


@pytest.fixture
def base():
    return {
        "blocks": {str(i): {"lin": {"kernel": drawn(6, 8, seed=int(i))}} for i in "01"}
    }


def tuned(method, base):
    """The plan after a and b have moved."""
    plan = chain(freeze(".*"), method)(KEY, full(base))
    params = plan.params
    for i in "01":
        at = f"blocks/{i}/lin/patch/lora"
        own = params["blocks"][i]["lin"]["patch"]["lora"]
        step = (0.3 * drawn(*x.shape, seed=5) for x in (own.a, own.b))
        a, b = (x + by for x, by in zip((own.a, own.b), step, strict=True))
        params = put(params, at, dataclasses.replace(own, a=a, b=b))
    return plan._replace(params=params)


def run(params, x):
    for i in "01":
        x = nn.dense(params["blocks"][i]["lin"], x)[:, :6]
    return x


def near(found, expected, tolerance=1e-5):
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_the_start_is_the_base_s_function(method, base):
    plan = method(KEY, full(base))
    near(run(plan.params, drawn(3, 6, seed=2)), run(base, drawn(3, 6, seed=2)))
    changed = np.abs(
        plan.params["blocks"]["0"]["lin"]["kernel"]
        - base["blocks"]["0"]["lin"]["kernel"]
    )
    assert changed.max() > 0.1


def test_pissa_takes_the_largest_singular_values(base):
    plan = METHODS["pissa"](KEY, full(base))
    kernel = np.asarray(base["blocks"]["0"]["lin"]["kernel"])
    u, s, vt = np.linalg.svd(kernel, full_matrices=False)
    site = plan.params["blocks"]["0"]["lin"]
    own = site["patch"]["lora"]
    near(own.scale * own.a @ own.b, (u[:, :2] * s[:2]) @ vt[:2])
    near(np.linalg.svd(site["kernel"])[1][:4], s[2:])
    near(np.linalg.norm(own.a, axis=0), np.linalg.norm(own.b, axis=1))


def test_olora_begins_with_orthonormal_rows(base):
    own = METHODS["olora"](KEY, full(base)).params["blocks"]["0"]["lin"]["patch"][
        "lora"
    ]
    near(own.b @ own.b.T, np.eye(2))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_checkpoint_of_what_differs_holds_the_kernels(method, base):
    plan = tuned(method, base)
    saved = diff(plan.params, base)
    assert {f"blocks/{i}/lin/kernel" for i in "01"} <= set(saved)
    again = chain(freeze(".*"), method)(KEY, full(base)).params
    leaves = [saved.get(path, leaf) for path, leaf in flatten(again).items()]
    again = jax.tree.unflatten(jax.tree.structure(again), leaves)
    x = drawn(3, 6, seed=2)
    np.testing.assert_array_equal(run(again, x), run(plan.params, x))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_as_lora_stands_beside_the_base_itself(method, base):
    plan, x = tuned(method, base), drawn(3, 6, seed=2)
    want = run(plan.params, x)
    plain = as_lora(plan, base)
    near(run(plain.params, x), want)
    own = plain.params["blocks"]["0"]["lin"]["patch"]["lora"]
    assert own.a.shape == (6, 4)
    assert own.b.shape == (4, 8)
    assert not own.residual
    assert not [p for p in diff(plain.params, base) if p.endswith("kernel")]
    assert jax.tree.structure(plain.params) == jax.tree.structure(plain.rates)
    near(run(fold(plain).params, x), want)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_unconverted_factors_mean_nothing_beside_the_base(method, base):
    """The trap: a and b alone, written beside the base's own kernels."""
    plan, x = tuned(method, base), drawn(3, 6, seed=2)
    wrong = plan.params
    for i in "01":
        wrong = put(wrong, f"blocks/{i}/lin/kernel", base["blocks"][i]["lin"]["kernel"])
    want = run(plan.params, x)
    assert np.abs(run(wrong, x) - want).max() > 0.1 * np.abs(want).max()
    assert plan.params["blocks"]["0"]["lin"]["patch"]["lora"].residual


def test_stacked_layers_convert_too(base):
    plan = tuned(METHODS["pissa"], base)
    found = as_lora(stack_layers(plan), stack_layers(full(base)).params)
    wanted = fold(stack_layers(plan)).params["blocks"]["0-1"]["lin"]["kernel"]
    near(fold(found).params["blocks"]["0-1"]["lin"]["kernel"], wanted)


def test_other_patches_and_bases(base):
    plan = rslora(2, ".*/lin")(KEY, full(base))
    assert as_lora(plan, base).params == plan.params
    plan = METHODS["pissa"](KEY, full(base))
    with pytest.raises(NoMatch, match="the base's site 'blocks/1/lin'"):
        as_lora(plan, {"blocks": {"0": base["blocks"]["0"]}})
