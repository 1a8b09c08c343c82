"""Invertible adapters: AdapterHub's record, the inverse, where they may stand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transfer import peers
from tests.transfer.bottleneck import hub
from tl_jax import pretrained
from tl_jax.models import llama
from tl_jax.models.mlp import mlp
from tl_jax.transfer import chain, full, invertible, pfeiffer
from tl_jax.transfer.bottleneck import Coupling
from tl_jax.tree import NoMatch, flatten, get

KEY = jax.random.key(0)


def test_it_is_what_adapterhub_recorded(golden):
    """MAD-X: both kinds of adapters under a masked language model's head."""
    base = pretrained.load(golden / "bert" / "bert_words")
    values = peers.recorded(golden / "adapters.npz", "invertible/")
    madx = chain(pfeiffer(2), invertible())
    peers.agrees(base, madx, values, hub.ours("pfeiffer"))


@pytest.mark.parametrize("width", [6, 7])
def test_there_and_back(width):
    plan = invertible(activation="tanh")(KEY, full(*words(width).init(KEY)))
    own = plan.params["patch"]["invertible"]
    assert own.f["up"]["kernel"].shape[1] == width // 2
    assert own.g["up"]["kernel"].shape[1] == width - width // 2
    random = lambda w: jax.random.normal(jax.random.key(w.size), w.shape)  # noqa: E731
    own = jax.tree.map(random, own)
    pair = Coupling(own.f, own.g, activation="tanh")
    x = jax.random.normal(KEY, (2, 3, width))
    there = pair.there(x)
    assert np.abs(there - x).min() > 1e-4
    np.testing.assert_allclose(pair.back(there), x, rtol=1e-4, atol=1e-5)


def words(width=8):
    sizes = dict(width=width, depth=1, heads=1, head_width=4, hidden=8)
    return llama(vocabulary=20, tied=True, **sizes)


def test_a_tied_llama_scores_behind_the_inverse():
    """The norm's result goes back through the coupling before it meets the table."""
    model = words()
    start = full(*model.init(KEY))
    plan = invertible(inverse="norm", init="bert")(KEY, start)
    noise = lambda w: w + 0.3 * jax.random.normal(KEY, w.shape)  # noqa: E731
    params = plan.params | {"patch": jax.tree.map(noise, plan.params["patch"])}
    inputs = {"tokens": jnp.arange(10).reshape(2, 5)}
    found = model.apply(params, {}, inputs)[0]
    table = params["embed"]["tokens"]["embedding"]
    np.testing.assert_allclose(found.logits, found.tokens @ table.T, atol=1e-5)
    own = params["patch"]["invertible"]
    front = Coupling(own.f, own.g)
    embedded = {"embedding": front.there(table[None])[0]}
    bare = start.params | {"embed": {"tokens": embedded}}
    last = model.apply(bare, {}, inputs)[0].tokens
    np.testing.assert_allclose(found.tokens, front.back(last), rtol=1e-4, atol=1e-5)


def test_a_classifier_has_no_inverse(tiny_bert):
    plan = peers.grafted(tiny_bert, invertible())
    assert plan.params["patch"]["invertible"].inverse == ""
    moving = {path for path, rate in flatten(plan.rates).items() if rate}
    assert moving == {p for p in flatten(plan.params) if p.startswith("patch/")}
    assert get(plan.params, "embed") is tiny_bert.params["embed"]


def test_bad_plans_raise(tiny_bert):
    with pytest.raises(ValueError, match="'b' and 'invertible' are both invertible"):
        peers.grafted(tiny_bert, chain(invertible(), invertible(name="b")))
    with pytest.raises(NoMatch, match="inverse 'head/nrm'"):
        peers.grafted(tiny_bert, invertible(inverse="head/nrm"))
    plain = full(*mlp(3, (4,), classes=2).init(KEY))
    with pytest.raises(NoMatch, match="embed/tokens"):
        invertible()(KEY, plain)
    with pytest.raises(ValueError, match="reduction is 0"):
        invertible(0)
