import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tl_jax import optim, tree

TRAIN = {
    "body": {"kernel": jnp.array([1.0, -2.0]), "bias": None},
    "norm": {"scale": jnp.array([3.0]), "bias": jnp.array([0.5])},
    "head": {"kernel": jnp.array([[2.0], [4.0]])},
}
RATES = {
    "body": {"kernel": 0.5, "bias": 0.0},
    "norm": {"scale": 0.1, "bias": 1.0},
    "head": {"kernel": 0.0},
}


def ones_like(train):
    return jax.tree.map(jnp.ones_like, train)


def close(a, b, rtol=1e-6):
    assert tree.paths(a) == tree.paths(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol), a, b)


def test_by_rate_scales_each_leaf_exactly():
    tx = optim.by_rate(RATES)
    grads = jax.tree.map(lambda p: p * 3, TRAIN)
    updates, _ = tx.update(grads, tx.init(TRAIN))
    for path, update in tree.flatten(updates).items():
        want = tree.flatten(grads)[path] * tree.flatten(RATES)[path]
        np.testing.assert_array_equal(update, want)
    assert updates["norm"]["bias"] is grads["norm"]["bias"]
    assert updates["body"]["bias"] is None


def test_by_rate_keeps_the_dtype():
    tx = optim.by_rate({"a": 0.5})
    params = {"a": jnp.ones(2, jnp.bfloat16)}
    assert tx.update(params, tx.init(params))[0]["a"].dtype == jnp.bfloat16


def test_by_rate_takes_holes_on_either_side():
    holes = {"body": {"kernel": 0.5, "bias": None}, "norm": RATES["norm"]}
    holes["head"] = {"kernel": None}
    train = tree.put(TRAIN, "head/kernel", None)
    optim.by_rate(holes).init(train)
    optim.by_rate(RATES).init(train)
    with pytest.raises(ValueError, match=r"without a rate: head/kernel; .*nothing: no"):
        optim.by_rate(holes).init(TRAIN)


def test_by_rate_names_the_paths_of_another_structure():
    with pytest.raises(ValueError, match=r"rates of nothing: neck/kernel"):
        optim.by_rate(RATES | {"neck": {"kernel": 1.0}}).init(TRAIN)
    with pytest.raises(TypeError, match=r"'body/kernel' is a \w+, expected a Python"):
        optim.by_rate(tree.put(RATES, "body/kernel", jnp.ones(()))).init(TRAIN)


def test_by_schedule_reads_the_global_step():
    tx = optim.by_schedule(lambda step: 0.1 * step)
    updates, state = tx.update(ones_like(TRAIN), tx.init(TRAIN), TRAIN, step=3)
    close(updates, jax.tree.map(lambda p: jnp.full_like(p, -0.3), TRAIN))
    assert not jax.tree.leaves(state)
    with pytest.raises(TypeError, match="step=step"):
        tx.update(ones_like(TRAIN), state, TRAIN)


def test_a_constant_rate_needs_no_step():
    tx = optim.by_schedule(0.5)
    updates, _ = tx.update(ones_like(TRAIN), tx.init(TRAIN))
    close(updates, jax.tree.map(lambda p: jnp.full_like(p, -0.5), TRAIN))


def test_chain_passes_the_step_and_ignores_what_it_does_not_know():
    tx = optax.chain(
        optax.clip(1.0), optim.sgd(lambda step: step), optim.by_rate(RATES)
    )
    updates, _ = tx.update(
        ones_like(TRAIN),
        tx.init(TRAIN),
        TRAIN,
        step=2,
        value=1.0,
        grad=ones_like(TRAIN),
        value_fn=None,
    )
    assert updates["norm"]["scale"][0] == pytest.approx(-0.2)


def test_states_of_different_age_share_one_schedule():
    rate = optim.schedule("linear", 1.0, 10)
    tx = optim.adamw(rate, weight_decay=0.0)
    params = {"a": jnp.zeros(1)}
    grads = {"a": jnp.ones(1)}
    old = tx.init(params)
    for step in range(5):
        _, old = tx.update(grads, old, params, step=step)
    aged, _ = tx.update(grads, old, params, step=5)
    fresh, _ = tx.update(grads, tx.init(params), params, step=5)
    np.testing.assert_allclose(aged["a"], -0.5, rtol=1e-5)
    np.testing.assert_allclose(fresh["a"], -0.5, rtol=1e-5)


@pytest.mark.parametrize(
    "name, points",
    [
        ("constant", {0: 0.0, 1: 1.0, 2: 2.0, 6: 2.0, 10: 2.0, 99: 2.0}),
        ("linear", {0: 0.0, 1: 1.0, 2: 2.0, 6: 1.2, 10: 0.4, 99: 0.4}),
        ("cosine", {0: 0.0, 1: 1.0, 2: 2.0, 4: 0.4 + 0.8 * (1 + np.sqrt(0.5))}),
        ("cosine", {6: 1.2, 10: 0.4, 99: 0.4}),
    ],
)
def test_schedules_at_points_by_hand(name, points):
    for warmup in (2, 0.2):
        rate = optim.schedule(name, 2.0, 10, warmup, end=0.4)
        for step, want in points.items():
            np.testing.assert_allclose(rate(step), want, rtol=1e-6)
            np.testing.assert_allclose(jax.jit(rate)(step), want, rtol=1e-6)


def test_schedules_without_warmup_and_of_warmup_alone():
    assert optim.schedule("cosine", 2.0, 10)(0) == 2.0
    assert optim.schedule("linear", 2.0, 10)(0) == 2.0
    rising = optim.schedule("cosine", 2.0, 4, warmup=4)
    np.testing.assert_allclose([rising(s) for s in range(5)], [0, 0.5, 1, 1.5, 2])


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("cosin", 1.0, 10), "nearest: cosine"),
        (("linear", 1.0, 0), "steps is 0"),
        (("linear", 1.0, 10, 11), "warmup is 11"),
        (("linear", 1.0, 10, -1), "warmup is -1"),
        (("linear", 1.0, 10, 2.5), "warmup is 2.5"),
    ],
)
def test_bad_schedules_raise(arguments, message):
    with pytest.raises(ValueError, match=message):
        optim.schedule(*arguments)


def loop_adamw(p, grads, rates, decay, b1=0.9, b2=0.999, eps=1e-8):
    m = v = np.zeros_like(p)
    for t, (g, rate) in enumerate(zip(grads, rates, strict=True), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        step = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        p = p - rate * (step + decay * p)
    return p


def run(tx, train, grads, jit=False):
    def step(train, state, g, i):
        updates, state = tx.update(g, state, train, step=i)
        return optax.apply_updates(train, updates), state

    step = jax.jit(step) if jit else step
    state = tx.init(train)
    for i, g in enumerate(grads):
        train, state = step(train, state, g, i)
    return train


def random_grads(count):
    rng = np.random.default_rng(0)
    return [
        jax.tree.map(
            lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float32), TRAIN
        )
        for _ in range(count)
    ]


def test_adamw_equals_a_loop_and_spares_bias_and_scale():
    grads = random_grads(4)
    rate = optim.schedule("linear", 0.1, 4, warmup=1)
    tx = optim.adamw(rate, weight_decay=0.3)
    got = run(tx, TRAIN, grads)
    rates = [0.0, 0.1, 0.1 * 2 / 3, 0.1 / 3]
    for path, leaf in tree.flatten(TRAIN).items():
        decay = 0.3 if path.endswith("kernel") else 0.0
        mine = [np.float64(tree.flatten(g)[path]) for g in grads]
        want = loop_adamw(np.float64(leaf), mine, rates, decay)
        np.testing.assert_allclose(tree.flatten(got)[path], want, rtol=1e-5)
    close(run(tx, TRAIN, grads, jit=True), got)


def decayed_by(**arguments):
    """Paths that a step without any gradient moves."""
    tx = optim.adamw(1.0, weight_decay=0.5, **arguments)
    zero = jax.tree.map(jnp.zeros_like, TRAIN)
    updates, _ = tx.update(zero, tx.init(TRAIN), TRAIN)
    return [path for path, u in tree.flatten(updates).items() if np.any(u != 0)]


def test_the_decay_rule_is_the_callers():
    assert decayed_by() == ["body/kernel", "head/kernel"]
    assert decayed_by(decay="norm/.*") == ["norm/bias", "norm/scale"]
    assert decayed_by(decay="body/bias") == []
    with pytest.raises(tree.NoMatch, match=r"nearest: .*head/kernel"):
        decayed_by(decay="heads/kernel")
    with pytest.raises(ValueError, match="no regular expression"):
        optim.adamw(0.1, decay="(")


def test_names_that_merely_contain_bias_decay():
    tx = optim.adamw(1.0, weight_decay=0.5)
    params = {"bias_net": {"kernel": jnp.ones(1)}, "final_bias": jnp.ones(1)}
    zero = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zero, tx.init(params), params)
    assert updates["bias_net"]["kernel"][0] == -0.5
    assert updates["final_bias"][0] == 0


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_with_momentum_equals_a_loop(nesterov):
    grads = random_grads(3)
    tx = optim.sgd(lambda step: 0.1 / (1.0 + step), momentum=0.9, nesterov=nesterov)
    got = run(tx, TRAIN, grads)
    p = np.float64(TRAIN["head"]["kernel"])
    v = np.zeros_like(p)
    for i, grad in enumerate(grads):
        g = np.float64(grad["head"]["kernel"])
        v = 0.9 * v + g
        p = p - 0.1 / (1 + i) * (g + 0.9 * v if nesterov else v)
    np.testing.assert_allclose(got["head"]["kernel"], p, rtol=1e-5)
    with pytest.raises(ValueError, match="momentum"):
        optim.sgd(0.1, nesterov=True)


def test_lbfgs_solves_a_quadratic_with_holes_beside_a_step():
    goal = jax.tree.map(lambda p: p * 2 + 1, TRAIN)

    def value_fn(train):
        gaps = jax.tree.map(lambda p, q: (p - q) ** 2, train, goal)
        sums = [leaf.sum() * (i + 1) for i, leaf in enumerate(jax.tree.leaves(gaps))]
        return sum(sums)

    tx = optax.chain(optim.lbfgs(), optim.by_rate(jax.tree.map(lambda p: 1.0, TRAIN)))

    @jax.jit
    def step(train, state, i):
        value, grad = jax.value_and_grad(value_fn)(train)
        extra = {"value": value, "grad": grad, "value_fn": value_fn, "step": i}
        updates, state = tx.update(grad, state, train, **extra)
        return optax.apply_updates(train, updates), state

    train, state = TRAIN, tx.init(TRAIN)
    for i in range(12):
        train, state = step(train, state, i)
    close(train, goal, rtol=1e-4)


def test_a_factor_in_the_state_is_a_rate():
    params, grads = {"w": jnp.asarray([1.0, -2.0])}, {"w": jnp.asarray([0.5, 3.0])}
    plain = optim.adamw(lambda step: 0.3 * (step + 1), weight_decay=0.1)
    curve = optim.adamw(lambda step: 0.1 * (step + 1), weight_decay=0.1)
    found = []
    for tx in (plain, optax.chain(curve, optim.by_factor(3.0))):
        updates, _ = tx.update(grads, tx.init(params), params, step=jnp.asarray(2))
        found.append(np.asarray(updates["w"]))
    np.testing.assert_allclose(*found, rtol=1e-6)
