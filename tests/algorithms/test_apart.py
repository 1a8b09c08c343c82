"""Stages that move a part of a player: what stands still keeps all that it had."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from toy import player, squared, stream

from tl_jax.algorithms import algorithm, current, descend, replan, sequence
from tl_jax.algorithms.repeated import repeated
from tl_jax.tree import NoMatch, flatten

KEY = jax.random.key(0)
TX = optax.sgd(0.1, momentum=0.9)
HEAD = "head/.*"
BODY = r"(?!head/).*"


def objective(params_of, memory, batch, key):
    own = player(TX).model
    outputs, _ = own.apply(params_of["net"], {}, batch["train"]["inputs"])
    value = squared(outputs, batch["train"]).mean()
    return value, (memory, {"loss": value})


def built(*rules, apart=HEAD, times=1, tx=TX):
    players = {"net": player(tx)}
    stages = [
        repeated(
            descend(players, objective, only={} if rule is None else {"net": rule}),
            times,
        )
        for rule in rules
    ]
    own = {} if apart is None else {"net": apart}
    made = algorithm(players, sequence(*stages), lambda *_: None, own)
    return made, players, *made.init(KEY, players)


def by_hand(params, momentum, chosen):
    """One step of momentum of the leaves whose path begins with `chosen`."""
    grads = jax.grad(lambda p: objective({"net": p}, {}, {"train": stream()}, KEY)[0])(
        params
    )
    new, kept = dict(params), dict(momentum)
    for site in chosen:
        kept[site] = jax.tree.map(lambda m, g: 0.9 * m + g, momentum[site], grads[site])
        new[site] = jax.tree.map(lambda p, m: p - 0.1 * m, params[site], kept[site])
    return new, kept


def test_parts_move_in_turn_with_momenta_of_their_own():
    made, players, state, frozen = built(HEAD, BODY, None)
    step = jax.jit(made.step)
    params = players["net"].plan.params
    momentum = jax.tree.map(jnp.zeros_like, params)
    for _ in range(3):
        state, _ = step(state, frozen, {"train": stream()}, KEY)
        for chosen in (("head",), ("body",), ("head", "body")):
            params, momentum = by_hand(params, momentum, chosen)
    chex.assert_trees_all_close(state.train["net"], params, rtol=1e-5)


def test_what_stands_still_keeps_every_bit():
    made, _, state, frozen = built(HEAD)
    after, _ = made.step(state, frozen, {"train": stream()}, KEY)
    chex.assert_trees_all_equal(after.train["net"]["body"], state.train["net"]["body"])
    groups = {group.paths: group for group in after.opt["net"].values()}
    (body,) = (g for paths, g in groups.items() if "body/kernel" in paths)
    assert not any(leaf.any() for leaf in jax.tree.leaves(body.state))
    changed = (
        after.train["net"]["head"]["kernel"] != state.train["net"]["head"]["kernel"]
    )
    assert changed.all()


def test_repeating_is_several_stages():
    made, _, state, frozen = built(None, times=3)
    again, _, begun, _ = built(None, None, None)
    one, told = made.step(state, frozen, {"train": stream()}, KEY)
    two, wanted = again.step(begun, frozen, {"train": stream()}, KEY)
    chex.assert_trees_all_close(one.train, two.train, rtol=1e-6)
    chex.assert_trees_all_close(told, wanted, rtol=1e-6)
    with pytest.raises(ValueError, match="0 times, expected at least 1"):
        repeated(descend({"net": player(TX)}, objective), 0)


def test_a_later_phase_takes_groups_apart_and_keeps_their_momenta():
    made, players, state, frozen = built(None, apart=None)
    state, _ = made.step(state, frozen, {"train": stream()}, KEY)
    (before,) = state.opt["net"].values()
    now = {"net": current(players["net"], "net", state, frozen)}
    parted = algorithm(
        now, sequence(descend(now, objective)), lambda *_: None, {"net": HEAD}
    )
    after, _ = replan(parted, KEY, now, state)
    kept = {paths for g in after.opt["net"].values() for paths in [g.paths]}
    assert kept == {("body/bias", "body/kernel"), ("head/kernel",)}
    momenta = flatten([g.state for g in after.opt["net"].values()])
    whole = flatten([before.state])
    assert sum(leaf.size for leaf in momenta.values()) >= sum(
        leaf.size for leaf in whole.values()
    )
    for path, leaf in whole.items():
        found = [
            x for p, x in momenta.items() if p.split("/")[1:] == path.split("/")[1:]
        ]
        assert any(x.shape == leaf.shape and (x == leaf).all() for x in found), path


def test_parts_that_were_not_taken_apart_are_named():
    made, _, state, frozen = built(HEAD, apart=None)
    with pytest.raises(ValueError, match=r"'net'.*'head/\.\*'.*expected them `apart`"):
        made.step(state, frozen, {"train": stream()}, KEY)
    with pytest.raises(NoMatch, match=r"moving leaves 'heads/.*head/kernel"):
        built(None, apart="heads/.*")
