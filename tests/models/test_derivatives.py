"""Whole models by rules written by hand and by JAX's own derivatives."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.models import bert, conv4, llama, mlp, resnet, t5, vit
from tl_jax.models.inverted import Stage, inverted
from tl_jax.tree import NoMatch

SMALL = dict(width=8, depth=1, heads=2, hidden=12)
WORDS = SMALL | dict(vocabulary=11)
STAGES = (Stage(1, 3, 2, 2, 6),)
MODELS = {
    "bert": partial(bert, **WORDS, positions=6),
    "bert words": partial(bert, **WORDS, positions=6, over="vocabulary"),
    "vit": partial(vit, **SMALL, patch=4, size=8, features="pooler", classes=3),
    "llama": partial(llama, **WORDS, kv_heads=1, tied=True),
    "t5": partial(t5, **WORDS, buckets=4, most=6, gated=True, activation="gelu"),
    "resnet": partial(
        resnet, None, kind="basic", stages=(1,), widths=(6,), stem_width=4, classes=3
    ),
    "resnet taps": partial(
        resnet, None, kind="bottleneck", stages=(1,), widths=(8,), stem_width=4,
        stem="cifar", classes=3, form="taps"
    ),
    "inverted": partial(inverted, STAGES, stem=4, last=6, classes=3),
    "inverted taps": partial(inverted, STAGES, stem=4, last=6, classes=3, form="taps"),
    "conv4": partial(conv4, size=8, filters=3, depth=2, classes=3),
    "mlp": partial(mlp, 192, (5,), classes=3, activation="gelu", field="image"),
}  # fmt: skip
FAMILIES = [name for name in MODELS if not name.endswith(("words", "taps"))]
TOKENS = np.array([[1, 4, 7, 2, 9], [3, 5, 0, 0, 0]])
IMAGES = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
INPUTS = {"tokens": TOKENS, "mask": TOKENS > 0, "image": IMAGES}
INPUTS |= {"decoder_tokens": TOKENS[:, :3]}


def random_like(shapes, seed: int, scale: float = 0.3):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: scale * rng.normal(size=x.shape), shapes)


def params_of(name: str):
    """Every weight random, norms' scales about 1; stats as they begin."""
    params, stats = jax.eval_shape(MODELS[name]().init, jax.random.key(0))
    if name.startswith("bert"):
        width, classes = SMALL["width"], 3 if name == "bert" else WORDS["vocabulary"]
        shape = partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
        site = {"kernel": shape((width, width)), "bias": shape((width,))}
        params["head"] = {"hidden": site, "bias": shape((classes,))}
        if name == "bert":
            params["head"]["kernel"] = shape((width, classes))
        else:
            norm = {"scale": shape((width,)), "bias": shape((width,))}
            params["head"]["norm"] = norm

    def about(path, x):
        return x + 1 if path[-1].key == "scale" else x

    values = jax.tree_util.tree_map_with_path(about, random_like(params, 1))
    return values, jax.tree.map(jnp.zeros_like, stats)


def loss_of(name: str, **options):
    """(loss of the parameters, parameters): logits and features, seen unevenly."""
    params, stats = params_of(name)
    model = MODELS[name](**options)

    def loss(params):
        out, _ = model.apply(params, stats, INPUTS, norm="batch")
        both = (out.logits, out.features)
        return sum((jnp.sin(y + jnp.arange(y.shape[-1])) ** 2).mean() for y in both)

    return loss, params


def single(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), tree)


def curvature(loss, params, way):
    """H way, by reverse over reverse."""

    def slope(params):
        parts = jax.tree.map(jnp.vdot, jax.grad(loss)(params), way)
        return sum(jax.tree.leaves(parts))

    return jax.grad(slope)(params)


def near(found, wanted, tolerance: float) -> None:
    """Largest difference, of a whole tree, against the largest value."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    apart = max(float(np.abs(a - b).max()) for a, b in pairs)
    largest = max(float(np.abs(x).max()) for x in jax.tree.leaves(wanted))
    assert apart <= tolerance * largest


@pytest.mark.parametrize("name", MODELS)
def test_rules_agree_in_value_and_two_derivatives(name):
    def three(loss, params, way):
        return jax.value_and_grad(loss)(params), curvature(loss, params, way)

    with jax.enable_x64(True):
        found = {}
        for rules in ("hand", "auto"):
            loss, params = loss_of(name, rules=rules, dtype=jnp.float64)
            params = jax.tree.map(jnp.asarray, params)
            way = random_like(params, 2)
            found[rules] = jax.jit(partial(three, loss))(params, way)
        for hand, auto in zip(found["hand"], found["auto"], strict=True):
            near(hand, auto, 1e-9)
            assert max(np.abs(x).max() for x in jax.tree.leaves(auto)) > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_auto_rules_know_forward_mode_and_a_hessian(name):
    loss, params = loss_of(name, rules="auto")
    params = single(params)
    ways = [single(random_like(params, seed, 1.0)) for seed in (3, 4)]

    def along(t):
        step = jax.tree.map(lambda x, a, b: x + t[0] * a + t[1] * b, params, *ways)
        return loss(step)

    def forward(at):
        return jax.jvp(along, (at,), (jnp.array([1.0, 0.0]),)), jax.hessian(along)(at)

    (value, slope), hessian = jax.jit(forward)(jnp.zeros(2))
    hand, _ = loss_of(name)
    want, grads = jax.jit(jax.value_and_grad(hand))(params)
    bent = jax.jit(partial(curvature, hand))(params, ways[0])

    def dot(a, b):
        return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, a, b)))

    chex.assert_trees_all_close(value, want, rtol=1e-5)
    size = np.sqrt(dot(grads, grads) * dot(ways[0], ways[0]))
    assert abs(slope - dot(grads, ways[0])) <= 1e-5 * size
    size = np.sqrt(dot(bent, bent) * dot(ways[0], ways[0]))
    for got, way in zip(hessian[0], ways, strict=True):
        assert abs(got - dot(bent, way)) <= 1e-4 * size


@pytest.mark.parametrize("name", FAMILIES)
def test_auto_rules_know_forward_mode_in_half_precision(name):
    params, stats = params_of(name)
    params, way = single(params), single(random_like(params, 3))

    def moved(params, way, **options):
        model = MODELS[name](**options)

        def outputs(params):
            out, _ = model.apply(params, stats, INPUTS, norm="batch")
            return out.logits, jnp.square(out.logits).mean()

        return jax.jvp(outputs, (params,), (way,))

    low = partial(moved, dtype=jnp.bfloat16)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jit(low).lower(params, way)
    got = jax.jit(partial(low, rules="auto"))(params, way)
    want = jax.jit(partial(moved, rules="auto"))(params, way)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert np.abs(a - b).max() <= 0.1 * np.abs(b).max()


def test_the_switch_takes_every_rule_out_of_a_program():
    own = ("gelu", "standard", "looked_up")
    for rules in ("hand", "auto"):
        loss, params = loss_of("bert words", rules=rules)
        text = str(jax.make_jaxpr(loss)(single(params)))
        assert [f"name={name}" in text for name in own] == [rules == "hand"] * 3


def test_exact_meta_gradients_are_one_by_either_rules():
    """Of the loss after one inner step of SGD: the second derivative takes part."""
    tasks = {}
    for rules in ("hand", "auto"):
        loss, params = loss_of("bert", rules=rules)

        def adapted(params, rate, loss=loss):
            grads = jax.grad(loss)(params)
            return loss(jax.tree.map(lambda x, g: x - rate * g, params, grads))

        tasks[rules] = jax.jit(jax.grad(adapted))(single(params), 0.5)
    near(tasks["hand"], tasks["auto"], 1e-4)

    grads = jax.grad(loss)(single(params))
    inner = jax.tree.map(lambda x, g: x - 0.5 * g, single(params), grads)
    first = jax.tree.leaves(jax.grad(loss)(inner))
    exact = jax.tree.leaves(tasks["hand"])
    apart = max(np.abs(a - b).max() for a, b in zip(first, exact, strict=True))
    assert apart > 0.05 * max(np.abs(x).max() for x in exact)


@pytest.mark.parametrize("name", MODELS)
def test_unknown_rules_are_told_at_once(name):
    with pytest.raises(NoMatch, match="rules 'hnad' matches nothing; nearest: hand"):
        MODELS[name](rules="hnad")


@pytest.mark.parametrize("make", [resnet, partial(inverted, STAGES, stem=4, last=6)])
def test_an_unknown_form_is_told_at_once(make):
    with pytest.raises(NoMatch, match="form 'tap' matches nothing; nearest: taps"):
        make(form="tap")
