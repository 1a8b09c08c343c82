"""Self-training on two small domains: values by hand, who learns, what is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from self_terms import EXAMPLES, KEY, STRONG, TERMS, built, go, one_step, outputs
from two_domains import CLASSES, batch, network, player

from tl_jax.algorithms.adaptation import (
    LABELLED,
    LeakedLabels,
    adapted,
    bnm,
    dropped,
    entropy_minimisation,
    fixmatch,
    flexmatch,
    hidden_tokens,
    information_maximisation,
    mcc,
    noisy,
    pseudo_labels,
)
from tl_jax.algorithms.adaptation.views import view
from tl_jax.losses import class_confusion, information_loss, nuclear_norm
from tl_jax.losses.consistency import class_thresholds
from tl_jax.tree import NoMatch, stable_key

PARAMS = player(network()).plan.params


def target_logits(given=None):
    given = batch() if given is None else given
    return np.float64(outputs(PARAMS, given["target"]["inputs"]["features"]).logits)


def shares(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize(
    ("term", "loss"),
    [
        (mcc(0.7, 1.5), lambda x: 0.7 * class_confusion(x, temperature=1.5)),
        (bnm(0.3), lambda x: 0.3 * nuclear_norm(x)),
        (information_maximisation(0.2), lambda x: 0.2 * information_loss(x)),
        (
            entropy_minimisation(0.5),
            lambda x: -0.5 * (shares(x) * np.log(shares(x))).sum(1).mean(),
        ),
    ],
)
def test_terms_of_logits_are_their_losses_of_the_target_alone(term, loss):
    _, _, metrics = one_step({"own": term})
    np.testing.assert_allclose(metrics["term/own"], loss(target_logits()), rtol=1e-5)
    _, _, padded = one_step({"own": term}, batch(padding=2))
    given = batch()
    cut = given["target"]["inputs"]["features"][:6]
    wanted = loss(np.float64(outputs(PARAMS, cut).logits))
    np.testing.assert_allclose(padded["term/own"], wanted, rtol=1e-5, atol=1e-6)


def test_pseudo_labels_are_divided_by_the_whole_batch():
    _, _, metrics = one_step({"own": pseudo_labels(2.0, 0.5)})
    p = shares(target_logits())
    sure = p.max(1) >= 0.5
    wanted = -2.0 * np.log(p.max(1))[sure].sum() / len(p)
    np.testing.assert_allclose(metrics["term/own"], wanted, rtol=1e-5)
    np.testing.assert_allclose(metrics["own/believed"], sure.mean(), rtol=1e-6)
    assert 0 < sure.sum() < len(p)


def test_pseudo_labels_wait_for_their_time():
    term = pseudo_labels(1.0, 0.0, begin=0.1, end=0.2)  # steps 2 to 4 of 20
    made, _, state, frozen = built({"own": term})
    shown = []
    for i in range(5):
        state, metrics = go(made, state, frozen, i, 1)
        shown.append(float(metrics["term/own"]))
    assert shown[:3] == [0, 0, 0]
    assert shown[3] > 0


def strong_of(seed_name="strong", name="own"):
    """The strong view of the first step, drawn by hand."""
    one, _ = jax.random.split(stable_key(stable_key(base(), "term", name), seed_name))
    stream = batch()["target"]
    return STRONG(one, stream)["inputs"]["features"]


def base():
    """The key of the descent within a step."""
    return stable_key(KEY, "0")


def test_fixmatch_is_that_of_a_loop():
    _, _, metrics = one_step({"own": fixmatch(STRONG, strength=0.5, threshold=0.5)})
    q, p = shares(target_logits()), shares(outputs_of(strong_of()))
    wanted = [-np.log(p[i][q[i].argmax()]) for i in range(8) if q[i].max() >= 0.5]
    np.testing.assert_allclose(metrics["term/own"], 0.5 * sum(wanted) / 8, rtol=1e-5)
    assert 0 < len(wanted) < 8


def outputs_of(x):
    return np.float64(outputs(PARAMS, x).logits)


def test_a_weak_view_labels_and_learns_nothing():
    """Its pass has no gradient: that of the term is of the strong view alone."""

    def run(params, weak):
        seen = Looked(params)
        return fixmatch(STRONG, weak=weak, threshold=0.0).value(seen).value

    grad = jax.grad(run)(PARAMS, noisy(0.0))
    plain = jax.grad(run)(PARAMS, None)
    for one, other in zip(jax.tree.leaves(grad), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
    assert any((leaf != 0).any() for leaf in jax.tree.leaves(grad))


class Looked:
    """What a term sees, of the network without dropout."""

    def __init__(self, params):
        from tl_jax.algorithms.adaptation import Side

        self.key, self.params, self.progress = KEY, {"model": params}, jnp.float32(0)
        stream = batch()["target"]
        self.target = Side(outputs(params, stream["inputs"]["features"]), stream)

    def run(self, name, inputs, *, key=None, norm="batch", params=None, stats=None):
        own = self.params[name] if params is None else params
        return network().apply(own, {}, inputs, key=key, norm=norm)


def test_views_have_keys_of_their_own():
    seen = Looked(PARAMS)
    seen.run = lambda name, inputs, key, **how: (jax.random.key_data(key), None)
    weak, strong = (view(seen, noisy(0.0), name, "model") for name in ("weak", "own"))
    assert (weak != strong).any()


def test_flexmatch_keeps_labels_and_thresholds_follow_them():
    """Three steps by hand: thresholds before the step, labels after it."""
    made, _, state, frozen = built({"own": flexmatch(STRONG, EXAMPLES, threshold=0.6)})
    labels = np.full(EXAMPLES, -1)
    for i in range(3):
        given = batch(i)
        logits = np.float64(
            outputs(state.train["model"], given["target"]["inputs"]["features"]).logits
        )
        least = np.asarray(class_thresholds(labels, CLASSES, 0.6))
        state, metrics = go(made, state, frozen, i, 1)
        np.testing.assert_allclose(metrics["own/threshold"], least.mean(), rtol=1e-5)
        p = shares(logits)
        believed = p.max(1) >= least[p.argmax(1)]
        np.testing.assert_allclose(metrics["own/believed"], believed.mean(), rtol=1e-5)
        for j in range(8):
            if p[j].max() >= 0.6:
                labels[j] = p[j].argmax()
        np.testing.assert_array_equal(
            state.memory["terms"]["own"]["labels"], labels, strict=False
        )
    assert (labels >= 0).any()
    assert least.max() > 0


def test_flexmatch_tells_of_rows_that_it_has_no_place_for():
    _, _, metrics = one_step({"own": flexmatch(STRONG, 5)})
    assert np.isnan(metrics["loss"])
    given = batch(padding=3)  # those beyond are padding
    _, _, metrics = one_step({"own": flexmatch(STRONG, 5)}, given)
    assert np.isfinite(metrics["loss"])


@pytest.mark.parametrize("name", TERMS)
def test_padding_moves_nothing(name):
    """A step on padded streams is finite, and so are the parameters after it."""
    given = batch(padding=2, labelled=name == "ccsa")
    how = dict(labelled=name == "ccsa")
    _, after, metrics = one_step({"own": TERMS[name]()}, given, **how)
    wild = jax.tree.map(lambda leaf: leaf, given)
    for side in ("source", "target"):
        x = wild[side]["inputs"]["features"].at[-2:].set(-77.0)
        wild[side] = {**wild[side], "inputs": {"features": x}}
    _, other, told = one_step({"own": TERMS[name]()}, wild, **how)
    np.testing.assert_allclose(metrics["loss"], told["loss"], rtol=1e-5)
    for one, two in zip(
        jax.tree.leaves(after.train), jax.tree.leaves(other.train), strict=True
    ):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", TERMS)
def test_labels_of_the_target_never_come_in(name):
    """They raise, and what has none is all that a step reads: compiled is eager."""
    given = batch(labelled=name == "ccsa")
    leaked = given | {
        "target": given["target"] | {"labels": jnp.zeros(8, jnp.int32)},
    }
    how = dict(labelled=name == "ccsa")
    with pytest.raises(LeakedLabels, match="'target' brings labels"):
        one_step({"own": TERMS[name]()}, leaked, **how)
    made, _, state, frozen = built({"own": TERMS[name]()}, **how)
    eager, told = made.step(state, frozen, given, KEY)
    compiled, metrics = jax.jit(made.step)(state, frozen, given, KEY)
    np.testing.assert_allclose(told["loss"], metrics["loss"], rtol=1e-5)
    for one, two in zip(
        jax.tree.leaves(eager.train), jax.tree.leaves(compiled.train), strict=True
    ):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_few_labels_must_be_opened():
    given = batch(labelled=True)
    with pytest.raises(LeakedLabels, match=LABELLED):
        one_step({"own": TERMS["mme"]()}, given)


@pytest.mark.parametrize("name", ["fixmatch", "flexmatch", "mean_teacher", "pada"])
def test_runs_in_one_step_are_runs_one_by_one(name):
    """vmap over two states of different weights."""
    made, _, state, frozen = built({"own": TERMS[name]()})
    other = made.init(jax.random.key(0), {"model": player(network(), seed=5)})[0]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), state, other)
    step = jax.jit(jax.vmap(made.step, (0, None, None, None)))
    together, metrics = step(both, frozen, batch(), KEY)
    for i, one in enumerate((state, other)):
        alone, told = jax.jit(made.step)(one, frozen, batch(), KEY)
        np.testing.assert_allclose(metrics["loss"][i], told["loss"], rtol=1e-5)
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6)


def test_views_change_what_they_say():
    stream = {"inputs": {"features": jnp.ones((4, 50)), "mask": jnp.ones((4, 9), int)}}
    x = dropped(0.5)(KEY, stream)["inputs"]["features"]
    assert set(np.unique(x)) == {0.0, 2.0}
    assert 0.3 < (x == 0).mean() < 0.7
    mask = hidden_tokens(0.9)(KEY, stream)["inputs"]["mask"]
    assert mask.dtype == stream["inputs"]["mask"].dtype
    assert (mask[:, 0] == 1).all()
    assert mask.sum() < 20
    with pytest.raises(NoMatch, match="featuers"):
        noisy(0.1, "featuers")(KEY, stream)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mcc(-1.0), "mcc: strength is -1"),
        (lambda: mcc(temperature=0.0), "mcc: temperature is 0"),
        (lambda: bnm(-1.0), "bnm: strength"),
        (lambda: entropy_minimisation(float("nan")), "strength is nan"),
        (lambda: pseudo_labels(threshold=95), "threshold is 95"),
        (lambda: pseudo_labels(begin=0.5, end=0.2), "begin <= end"),
        (lambda: fixmatch(STRONG, threshold=2), "fixmatch: threshold is 2"),
        (lambda: flexmatch(STRONG, 0), "examples is 0"),
        (lambda: flexmatch(STRONG, 5, mapping="convx"), "convex"),
        (lambda: noisy(-1), "noisy: std"),
        (lambda: dropped(2), "dropped: rate is 2"),
        (lambda: hidden_tokens(-1), "hidden_tokens: rate"),
    ],
)
def test_numbers_out_of_range_raise_at_once(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_models_and_batches_that_do_not_fit_raise():
    with pytest.raises(NoMatch, match=r"player 'modle'.*model"):
        built({"own": fixmatch(STRONG, player="modle")})
    with pytest.raises(ValueError, match="mcc: the batch has no stream 'target'"):
        one_step({"own": mcc()}, {"source": batch()["source"]})
    players = {"model": player(network()._replace(apply=bare))}
    made = adapted(players, lambda o, s: o.features[:, 0], {"own": mcc()}, steps=5)
    state, frozen = made.init(KEY, players)
    with pytest.raises(ValueError, match="mcc: the model gives no logits"):
        made.step(state, frozen, batch(), KEY)


def bare(params, stats, inputs, **how):
    made, stats = network().apply(params, stats, inputs, **how)
    return made._replace(logits=None), stats
