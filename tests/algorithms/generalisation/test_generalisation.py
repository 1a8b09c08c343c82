"""IRM, V-REx, GroupDRO and Mixup: DomainBed's values, loops, padding, resume."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from three_domains import (
    CLASSES,
    DOMAINS,
    KEY,
    batch,
    linear,
    loss,
    mean_loss,
    network,
    player,
    risks,
    step,
)

from tl_jax.algorithms.adaptation import adapted
from tl_jax.algorithms.generalisation import group_dro, irm, mixup_domains, vrex
from tl_jax.algorithms.generalisation.mixup import (
    mixed,
    next_domains,
    partners_across,
)
from tl_jax.algorithms.generalisation.risks import rows_of
from tl_jax.algorithms.supervised import weight_of
from tl_jax.tree import NoMatch


@pytest.fixture(scope="module")
def theirs(golden):
    with np.load(golden / "generalisation.npz") as file:
        return dict(file)


def recorded(theirs):
    """(players, batch) of the recorded head and rows, domains one after another."""
    head = {n: jnp.asarray(theirs[n]) for n in ("kernel", "bias")}
    x, y = theirs["x"], theirs["y"]
    given = batch(domain=np.repeat(np.arange(DOMAINS), x.shape[1]))["source"]
    inputs = given["inputs"] | {"features": jnp.asarray(x.reshape(-1, 4))}
    given |= {"inputs": inputs, "labels": jnp.asarray(y.reshape(-1))}
    return player(linear(), {"head": head}), {"source": given}


@pytest.mark.parametrize(
    "name, term",
    [
        ("irm", irm(loss, DOMAINS, 7.0, begin=0)),
        ("vrex", vrex(loss, DOMAINS, 5.0, begin=0)),
        ("group_dro", group_dro(loss, DOMAINS, 0.5)),
    ],
)
def test_values_and_slopes_are_domainbeds(name, term, theirs):
    before, after, metrics = step(term, *recorded(theirs))
    np.testing.assert_allclose(metrics["loss"], theirs[f"{name}/loss"], rtol=1e-5)
    for leaf, value in after.train["model"]["head"].items():
        slope = before.train["model"]["head"][leaf] - value
        np.testing.assert_allclose(
            slope, theirs[f"{name}/{leaf}"], rtol=1e-4, atol=1e-5
        )


def test_weights_of_domains_are_domainbeds(theirs):
    """Its weights of the head stood still; here a rate of 0 of the loss does that."""
    players, given = recorded(theirs)
    still = jax.tree.map(lambda _: 0.0, players["model"].plan.rates)
    plan = players["model"].plan._replace(rates=still)
    players = {"model": players["model"]._replace(plan=plan)}
    for count, q in enumerate(theirs["group_dro/q"], 1):
        _, state, _ = step(group_dro(loss, DOMAINS, 0.5), players, given, count=count)
        np.testing.assert_allclose(state.memory["terms"]["it"]["q"], q, rtol=1e-5)


def test_mixup_is_domainbeds(theirs):
    players, given = recorded(theirs)
    stream = given["source"]
    own = stream["inputs"]["domain"]
    rows = rows_of(stream, DOMAINS, weight_of, "")
    partner = partners_across(rows.weight, own, jnp.asarray(theirs["mixup/next"]))
    share = jnp.asarray(theirs["mixup/share"], jnp.float32)[own]
    made = mixed(stream, partner, share, CLASSES)

    def value(params):
        outputs, _ = linear().apply(params, {}, made["inputs"])
        return loss(outputs, made).mean()

    got, slope = jax.value_and_grad(value)(players["model"].plan.params)
    np.testing.assert_allclose(got, theirs["mixup/loss"], rtol=1e-5)
    for leaf, found in slope["head"].items():
        np.testing.assert_allclose(found, theirs[f"mixup/{leaf}"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("progress", ["before", "after"])
def test_penalties_are_loops(padding, progress):
    given = batch(padding=padding)
    params = player()["model"].plan.params
    found = risks(params, network(), given)
    each = [mean_loss(rows) for rows in found.values()]
    begin = 0.5 if progress == "before" else 0.0
    strength = 1.0 if progress == "before" else 3.0
    mean = sum(each) / DOMAINS
    spread = sum((r - mean) ** 2 for r in each) / DOMAINS
    _, _, metrics = step(vrex(loss, DOMAINS, 3.0, begin=begin), player(), given)
    np.testing.assert_allclose(metrics["loss"], mean + strength * spread, rtol=1e-5)
    tiny, square, product = 1e-5, 0.0, 0.0
    for rows in found.values():

        def slope(part):
            up, down = (mean_loss(part, 1 + s * tiny) for s in (1, -1))
            return (up - down) / (2 * tiny)

        square += slope(rows) ** 2 / DOMAINS
        if len(rows) > 1:
            product += slope(rows[::2]) * slope(rows[1::2]) / DOMAINS
    for halves, penalty in ((False, square), (True, product)):
        term = irm(loss, DOMAINS, 3.0, begin=begin, halves=halves)
        _, _, metrics = step(term, player(), given)
        want = mean + strength * penalty
        np.testing.assert_allclose(metrics["loss"], want, rtol=1e-4)


def test_domains_that_are_not_there_are_left_out():
    given = batch(domain=(0, 0, 2, 2, 0, 2))
    found = risks(player()["model"].plan.params, network(), given)
    each = [mean_loss(found[e]) for e in (0, 2)]
    mean = sum(each) / 2
    spread = sum((r - mean) ** 2 for r in each) / 2
    _, _, metrics = step(vrex(loss, DOMAINS, 3.0, begin=0), player(), given)
    np.testing.assert_allclose(metrics["loss"], mean + 3 * spread, rtol=1e-5)
    _, state, metrics = step(group_dro(loss, DOMAINS, 2.0), player(), given)
    q = np.exp([2 * each[0], 0, 2 * each[1]])
    q /= q.sum()
    np.testing.assert_allclose(state.memory["terms"]["it"]["q"], q, rtol=1e-5)
    want = q[0] * each[0] + q[2] * each[1]
    np.testing.assert_allclose(metrics["loss"], want, rtol=1e-5)
    np.testing.assert_allclose(metrics["it/worst"], max(each), rtol=1e-5)


def test_a_circle_passes_through_the_domains_that_are_there():
    there = jnp.asarray([True, False, True, True])
    shown = set()
    for key in jax.random.split(KEY, 20):
        following = np.asarray(next_domains(key, there))
        assert following[1] == 1
        assert sorted(following[[0, 2, 3]]) == [0, 2, 3]
        assert (following[[0, 2, 3]] != [0, 2, 3]).all()
        shown.add(tuple(following))
    assert shown == {(2, 1, 3, 0), (3, 1, 0, 2)}
    alone = next_domains(KEY, jnp.asarray([False, True]))
    np.testing.assert_array_equal(alone, [0, 1])


def test_partners_are_a_loop():
    given = batch(padding=2)["source"]
    domain = np.asarray(given["inputs"]["domain"])
    rows = rows_of(given, DOMAINS, weight_of, "")
    following = np.array([1, 2, 0])
    got = partners_across(rows.weight, given["inputs"]["domain"], following)
    places = {e: [i for i in range(6) if domain[i] == e] for e in range(DOMAINS)}
    for i in range(8):
        want = i
        if i < 6:
            others = places[following[domain[i]]]
            want = others[places[domain[i]].index(i) % len(others)]
        assert got[i] == want


def test_mixup_changes_the_source_before_the_forward_pass():
    term = mixup_domains(DOMAINS, CLASSES)
    given = batch(padding=2)
    players = player()
    _, state, metrics = step(term, players, given)
    _, _, without = step(vrex(loss, DOMAINS, 0.0, begin=0), players, given)
    assert abs(metrics["loss"] - without["loss"]) > 1e-4
    assert metrics["loss"] == metrics["supervised"]
    assert np.isfinite(metrics["loss"])
    far = batch(padding=2)
    far["source"]["inputs"]["features"] = (
        far["source"]["inputs"]["features"].at[6:].set(-7.0)
    )
    _, again, _ = step(term, players, far)
    chex.assert_trees_all_close(again.train, state.train, rtol=1e-6)


def test_pictures_are_mixed_and_words_are_not():
    stream = batch()["source"]
    grey = jnp.full((8, 2, 2, 1), 100, jnp.uint8).at[0].set(200)
    partner, share = jnp.arange(8)[::-1], jnp.full(8, 0.25)
    pictured = stream | {"inputs": {"image": grey, "domain": jnp.zeros(8, int)}}
    made = mixed(pictured, partner, share, None)
    np.testing.assert_allclose(made["inputs"]["image"][0], 125.0)
    np.testing.assert_array_equal(made["inputs"]["domain"], np.zeros(8))
    want = 0.25 * stream["labels"] + 0.75 * stream["labels"][::-1]
    np.testing.assert_allclose(made["labels"], want)
    words = stream | {"inputs": {"tokens": jnp.zeros((8, 3), int)}}
    with pytest.raises(ValueError, match=r"'tokens' is int32 \[8, 3\]"):
        mixed(words, partner, share, 3)


def test_weights_of_domains_go_on_bit_by_bit_and_alike_everywhere():
    players = player()
    built = adapted(players, loss, {"dro": group_dro(loss, DOMAINS)}, steps=9)
    state, frozen = built.init(KEY, players)
    run = jax.jit(built.step)

    def after(state, seeds):
        for seed in seeds:
            state, _ = run(state, frozen, batch(seed), KEY)
        return state

    leaves, shape = jax.tree.flatten(after(state, range(2)))
    half = jax.tree.unflatten(shape, [jnp.asarray(np.asarray(x)) for x in leaves])
    chex.assert_trees_all_equal(after(half, range(2, 5)), after(state, range(5)))
    eager, _ = built.step(state, frozen, batch(), KEY)
    two = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), state)
    many, _ = jax.vmap(built.step, (0, None, None, None))(two, frozen, batch(), KEY)
    got = jax.tree.map(lambda leaf: leaf[1], many.train)
    chex.assert_trees_all_close(got, eager.train, rtol=1e-4, atol=1e-6)


def test_opened_labels_keep_their_share_of_the_loss():
    """Two rows of ten: 8/10 of the domains' objective and 2/10 of theirs."""
    given, players = batch(), player()
    few = jax.tree.map(lambda leaf: leaf[:2], batch(5)["source"])
    term = group_dro(loss, DOMAINS, 0.5)
    _, _, alone = step(term, players, given)
    built = adapted(players, loss, {"it": term}, steps=9, labelled=True)
    state, frozen = built.init(KEY, players)
    _, both = built.step(state, frozen, given | {"target_labelled": few}, KEY)
    outputs, _ = network().apply(players["model"].plan.params, {}, few["inputs"])
    want = 0.8 * alone["loss"] + 0.2 * loss(outputs, few).mean()
    np.testing.assert_allclose(both["loss"], want, rtol=1e-5)


def test_mistakes_are_told():
    for make, words in (
        (lambda: irm(loss, 1), "irm: domains is 1, expected at least 2"),
        (lambda: vrex(loss, 3, -1.0), "vrex: strength is -1"),
        (lambda: irm(loss, 3, begin=2.0), "irm: begin is 2.0, expected 0..1"),
        (lambda: group_dro(loss, 3, -0.1), "group_dro: rate is -0.1"),
        (lambda: mixup_domains(3, 2, 0.0), "alpha is 0.0, expected more than 0"),
    ):
        with pytest.raises(ValueError, match=words):
            make()
    given = batch()
    bare = {"features": given["source"]["inputs"]["features"]}
    given["source"]["inputs"] = bare
    for term in (irm(loss, 3), mixup_domains(3, 3)):
        with pytest.raises(NoMatch, match="input 'domain' matches nothing"):
            step(term, player(), given)
    with pytest.raises(ValueError, match="vrex: the batch has no stream 'source'"):
        step(vrex(loss, 3), player(), {"target": _unlabelled()})


def _unlabelled():
    return {n: leaf for n, leaf in batch()["source"].items() if n != "labels"}
