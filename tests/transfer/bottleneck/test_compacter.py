"""Compacter: Kronecker products by hand, AdapterHub's record, shared rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.transfer import peers
from tests.transfer.bottleneck import hub
from tl_jax import pretrained
from tl_jax.transfer import chain, compacter, stack_layers
from tl_jax.transfer.bottleneck.compacter import kronecker
from tl_jax.tree import count, flatten, get

KEY = jax.random.key(0)


@pytest.mark.parametrize("case, plus", [("compacter", False), ("compacter++", True)])
def test_it_is_what_adapterhub_recorded(golden, case, plus):
    base = pretrained.load(golden / "bert" / "bert_sequence")
    values = peers.recorded(golden / "adapters.npz", f"{case}/")
    peers.agrees(base, compacter(2, plus=plus), values, hub.ours("compacter"))


def test_a_kernel_is_a_sum_of_kronecker_products():
    rng = np.random.default_rng(0)
    rule, left, right = (rng.normal(size=s) for s in ((2, 2, 2), (2, 3, 1), (2, 1, 4)))
    want = sum(np.kron(rule[n], left[n] @ right[n]) for n in range(2))
    found = kronecker(jnp.asarray(rule), {"left": left, "right": right})
    np.testing.assert_allclose(found, want, rtol=1e-5)


def test_the_rule_is_one_for_all_and_moves(tiny_bert, tokens):
    plan = peers.grafted(tiny_bert, compacter(2))
    rules = [p for p in flatten(plan.params) if p.endswith("rule")]
    assert rules == ["patch/compacter/rule"]
    rates = flatten(plan.rates)
    assert all((r == 1) == ("patch/" in p) for p, r in rates.items())
    own = count(get(plan.params, "blocks/0")["patch"])
    # down: 4 parts of 4 + 2 and a bias of 8; up: 4 of 2 + 4 and 16; two adapters.
    assert own == 2 * (4 * 6 + 8 + 4 * 6 + 16)


def test_two_of_them_have_rules_of_their_own_and_stack(tiny_bert, tokens):
    both = chain(compacter(2), compacter(4, parts=2, name="compacter_2"))
    plan = peers.grafted(tiny_bert, both)
    noise = lambda w: w + 0.3 * jax.random.normal(KEY, w.shape)  # noqa: E731
    moved = plan._replace(params=jax.tree.map(noise, plan.params))
    run = jax.jit(lambda params: tiny_bert.model.apply(params, {}, tokens)[0].features)
    whole = run(moved.params)
    for name in ("compacter", "compacter_2"):
        less = moved.params["patch"] | {
            name: jax.tree.map(jnp.zeros_like, moved.params["patch"][name])
        }
        assert peers.far(run(moved.params | {"patch": less}), whole) > 1e-3
    stacked = stack_layers(moved).params
    assert list(stacked["blocks"]) == ["0-1"]
    np.testing.assert_allclose(run(stacked), whole, rtol=2e-5, atol=2e-5)


def test_sizes_that_do_not_divide_raise(tiny_bert):
    with pytest.raises(ValueError, match="16 and 8 channels, expected multiples .* 3"):
        peers.grafted(tiny_bert, compacter(2, parts=3))
    with pytest.raises(ValueError, match="16 and 1 channels"):
        peers.grafted(tiny_bert, compacter(32))
    with pytest.raises(ValueError, match="rank 0, expected 1 or more"):
        compacter(2, rank=0)
