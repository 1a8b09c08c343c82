"""Critics and second heads: values by loops, signs of gradients, laws of all."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from two_domains import (
    CLASSES,
    STEPS,
    WIDTH,
    batch,
    critic,
    loss,
    moved,
    network,
    player,
    started,
    stream,
)

from tl_jax import checkpoint
from tl_jax.algorithms.adaptation import (
    LeakedLabels,
    adapted,
    adda,
    cdan,
    dann,
    mcd,
    mdd,
    wdgrl,
)
from tl_jax.losses import adversarial as a
from tl_jax.models import mlp
from tl_jax.tree import NoMatch, flatten

KEY = jax.random.key(5)
MOMENTUM = optax.sgd(0.05, momentum=0.9)


def term(made, extra):
    def build(tx=MOMENTUM, **how):
        players = {"model": player(network(**how), tx)} | {
            name: player(model, tx, seed=1) for name, model in extra().items()
        }
        return adapted(players, loss, {"it": made}, steps=STEPS), players

    return build


def whole(method, extra, **own):
    def build(tx=MOMENTUM, **how):
        players = {"model": player(network(**how), tx)} | {
            name: player(model, tx, seed=1) for name, model in extra().items()
        }
        return method(players, loss, **own), players

    return build


def head():
    return critic(classes=CLASSES)


PAIRS = CLASSES * WIDTH
METHODS = {
    "dann": term(dann(), lambda: {"critic": critic()}),
    "dann of two logits": term(dann(), lambda: {"critic": critic(classes=2)}),
    "cdan": term(cdan(classes=CLASSES), lambda: {"critic": critic(PAIRS)}),
    "cdan+e": term(
        cdan(classes=CLASSES, entropy=True), lambda: {"critic": critic(PAIRS)}
    ),
    "cdan by chance": term(
        cdan(classes=CLASSES, size=11), lambda: {"critic": critic(11)}
    ),
    "mdd": term(mdd(), lambda: {"adversary": head()}),
    "mcd": whole(mcd, lambda: {"second": head()}, generator_steps=2),
    "adda": whole(adda, lambda: {"critic": critic()}),
    "wdgrl": whole(wdgrl, lambda: {"critic": critic()}, critic_steps=2),
}


STILL = {
    "adda": {"model/head/kernel", "model/head/bias"},
    "wdgrl": {"critic/head/bias"},
}
"""What gets no gradient: ADDA's classifier, and what cancels in a difference."""


@pytest.fixture(scope="module", params=METHODS)
def setting(request):
    """A method with dropout and momentum, its first state, and its compiled step."""
    built, players = METHODS[request.param](rate=0.2)
    return request.param, built, *started(built, players), jax.jit(built.step)


def run(step, state, frozen, first, last):
    for i in range(first, last):
        given = batch(seed=10 * i)
        state, _ = step(state, frozen, given, jax.random.fold_in(KEY, i))
    return state


def test_a_run_resumed_in_the_middle_ends_bit_identical(setting, tmp_path):
    _, _, state, frozen, step = setting
    end, half = (run(step, state, frozen, 0, last) for last in (6, 3))
    change = jax.tree.leaves(moved(half, end)["model"])
    assert any(leaf.any() for leaf in change)
    with checkpoint.open(tmp_path) as store:
        store.save(3, half, {})
        kept = store.restore(jax.tree.map(jnp.zeros_like, state)).tree
    chex.assert_trees_all_equal(run(step, kept, frozen, 3, 6), end)


def test_every_player_moves_where_it_has_a_gradient(setting):
    name, _, state, frozen, step = setting
    after = run(step, state, frozen, 0, 2)
    change = flatten(moved(state, after))
    assert all(np.isfinite(leaf).all() for leaf in change.values())
    still = {path for path, leaf in change.items() if not leaf.any()}
    assert still == STILL.get(name, set())


def test_compiled_steps_are_the_plain_ones_and_many_are_one_by_one(setting):
    _, built, state, frozen, step = setting
    keys = jax.random.split(KEY, 2)
    plain, _ = built.step(state, frozen, batch(), keys[0])
    both = [step(state, frozen, batch(), key)[0] for key in keys]
    chex.assert_trees_all_close(both[0], plain, rtol=1e-4, atol=1e-6)
    several = jax.jit(jax.vmap(built.step, (None, None, None, 0)))
    many, _ = several(state, frozen, batch(), keys)
    for i, one in enumerate(both):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], many.train)
        chex.assert_trees_all_close(own, one.train, rtol=1e-4, atol=1e-6)


def test_rows_without_weight_change_nothing(setting):
    _, _, state, frozen, step = setting
    padded, other = batch(padding=2), batch(padding=2)
    for side in other.values():
        x = side["inputs"]["features"]
        side["inputs"] = {"features": x.at[-2:].set(-700.0)}
    one, two = (step(state, frozen, given, KEY)[0] for given in (padded, other))
    chex.assert_trees_all_close(one.train, two.train, rtol=1e-5, atol=1e-6)


def test_labels_of_the_target_raise(setting):
    _, built, state, frozen, _ = setting
    leaked = batch() | {"target": stream(1, 8)}
    with pytest.raises(LeakedLabels, match="'target' brings labels"):
        built.step(state, frozen, leaked, KEY)


def domain_value(params, players, given):
    """The plain domain loss of a model and a critic, without a reversal."""
    sides = []
    for name in ("source", "target"):
        features = (
            players["model"]
            .model.apply(params["model"], {}, given[name]["inputs"])[0]
            .features
        )
        rows = {"features": features}
        sides.append(players["critic"].model.apply(params["critic"], {}, rows)[0])
    return a.domain_loss(*(side.logits for side in sides))


@pytest.mark.parametrize("steepness", [10.0, None])
def test_danns_critic_descends_where_the_features_climb(steepness):
    """By the gradients of two functions without any reversal."""
    players = {
        "model": player(network(), optax.sgd(1.0)),
        "critic": player(critic(), optax.sgd(1.0), seed=1),
    }
    terms = {"dann": dann(0.7, steepness=steepness)}
    built = adapted(players, loss, terms, steps=STEPS)
    state, frozen = started(built, players)
    done = jnp.int32(5)
    state = state._replace(memory=state.memory | {"adaptation": done})
    given = batch()
    after, metrics = jax.jit(built.step)(state, frozen, given, KEY)
    params = {name: player.plan.params for name, player in players.items()}
    value, grads = jax.value_and_grad(domain_value)(params, players, given)

    def own(model):
        outputs = players["model"].model.apply(model, {}, given["source"]["inputs"])[0]
        return loss(outputs, given["source"]).mean()

    base = jax.grad(own)(params["model"])
    turned = 1.0 if steepness is None else 2 / (1 + np.exp(-10 * 5 / STEPS)) - 1
    change = moved(state, after)
    wanted = jax.tree.map(lambda b, g: -(b - 0.7 * turned * g), base, grads["model"])
    chex.assert_trees_all_close(change["model"], wanted, rtol=1e-4, atol=1e-6)
    wanted = jax.tree.map(lambda g: -0.7 * g, grads["critic"])
    chex.assert_trees_all_close(change["critic"], wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(metrics["term/dann"], 0.7 * value, rtol=1e-5)
    np.testing.assert_allclose(metrics["dann/strength"], turned, rtol=1e-5)


def outputs_of(players, given, name):
    found = players["model"].model.apply(
        players["model"].plan.params, {}, given[name]["inputs"]
    )[0]
    return np.float64(found.features), np.float64(found.logits)


def softmax(rows):
    parts = np.exp(rows - rows.max(1, keepdims=True))
    return parts / parts.sum(1, keepdims=True)


@pytest.mark.parametrize("entropy", [False, True])
def test_cdans_value_is_that_of_a_loop(entropy):
    made = cdan(0.3, classes=CLASSES, entropy=entropy)
    build = term(made, lambda: {"critic": critic(PAIRS)})
    built, players = build()
    state, frozen = started(built, players)
    given = batch()
    _, metrics = built.step(state, frozen, given, KEY)
    judge, total, weights = players["critic"], [], []
    for name in ("source", "target"):
        features, logits = outputs_of(players, given, name)
        costs, sure = [], []
        for f, p in zip(features, softmax(logits), strict=True):
            pair = np.array([p[c] * f[d] for c in range(CLASSES) for d in range(WIDTH)])
            rows = {"features": jnp.float32(pair[None])}
            odds = float(judge.model.apply(judge.plan.params, {}, rows)[0].logits[0, 0])
            real = 1 / (1 + np.exp(-odds))
            costs.append(-np.log(real if name == "source" else 1 - real))
            sure.append(1 + np.exp(sum(q * np.log(q) for q in p)) if entropy else 1.0)
        total.append(np.mean(np.array(sure) * costs))
        weights.append(np.mean(sure))
    wanted = 0.3 * sum(total) / sum(weights)
    np.testing.assert_allclose(metrics["term/it"], wanted, rtol=1e-5)


def test_cdans_random_maps_are_kept_and_never_move():
    built, players = METHODS["cdan by chance"]()
    state, frozen = started(built, players)
    after = run(jax.jit(built.step), state, frozen, 0, 2)
    maps = state.memory["terms"]["it"]
    assert [leaf.shape for leaf in maps] == [(WIDTH, 11), (CLASSES, 11)]
    chex.assert_trees_all_equal(after.memory["terms"]["it"], maps)
    other, _ = started(built, players, seed=1)
    assert (other.memory["terms"]["it"][0] != maps[0]).any()


def test_cdan_gives_the_classifier_no_gradient():
    """The softmax is detached: the head moves as without the term."""
    given = batch()
    heads = []
    for strength in (0.0, 5.0):
        made = cdan(strength, classes=CLASSES, entropy=True, steepness=None)
        built, players = term(made, lambda: {"critic": critic(PAIRS)})(optax.sgd(1.0))
        state, frozen = started(built, players)
        after, _ = built.step(state, frozen, given, KEY)
        heads.append(after.train["model"])
    chex.assert_trees_all_close(heads[0]["head"], heads[1]["head"], atol=1e-6)
    other = [x["blocks"]["1"]["kernel"] for x in heads]
    assert jnp.abs(other[0] - other[1]).max() > 1e-3


def test_mdds_value_is_that_of_a_loop():
    built, players = term(mdd(0.3, gamma=2.0), lambda: {"adversary": head()})()
    state, frozen = started(built, players)
    given = batch()
    _, metrics = built.step(state, frozen, given, KEY)
    other, found = players["adversary"], {}
    for name in ("source", "target"):
        features, logits = outputs_of(players, given, name)
        rows = {"features": jnp.float32(features)}
        shares = softmax(
            np.float64(other.model.apply(other.plan.params, {}, rows)[0].logits)
        )
        said = [q[y] for q, y in zip(shares, logits.argmax(1), strict=True)]
        each = [-np.log(q if name == "source" else 1 - q) for q in said]
        found[name] = np.mean(each)
    wanted = 0.3 * (2 * found["source"] + found["target"])
    np.testing.assert_allclose(metrics["term/it"], wanted, rtol=1e-5)


def test_players_that_do_not_fit_raise_before_any_step():
    model = player(network())

    def built(made, **players):
        return adapted({"model": model} | players, loss, {"it": made}, steps=1)

    with pytest.raises(NoMatch, match=r"player 'critic' matches nothing; .*criticc"):
        built(dann(), criticc=player(critic()))
    with pytest.raises(ValueError, match=r"'critic'.*\[B 5\].*\[B 1 or 2\].*'B', 3"):
        built(dann(), critic=player(critic(classes=3)))
    with pytest.raises(ValueError, match=r"'critic'.*\[B 15\]"):
        built(cdan(classes=CLASSES), critic=player(critic()))
    with pytest.raises(ValueError, match=r"'critic'.*\[B 5\]"):
        built(dann(), critic=player(mlp(WIDTH, (4,), classes=1, field="rows")))
    with pytest.raises(ValueError, match=r"\[B C\], found none"):
        built(mdd(), adversary=player(mlp(WIDTH, (4,))))
    with pytest.raises(ValueError, match="size is 0"):
        cdan(classes=3, size=0)
    with pytest.raises(NoMatch, match="second"):
        mcd({"model": model}, loss)
    with pytest.raises(ValueError, match=r"\[B 1\], found"):
        wdgrl({"model": model, "critic": player(critic(classes=2))}, loss)
