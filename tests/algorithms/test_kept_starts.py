"""What penalties keep of a start: which leaves, over phases, with statistics."""

import jax
import jax.numpy as jnp
import numpy as np
from penalised import HEAD, KEY, go_on, make, run

from tl_jax.algorithms import START, bss, delta, l2_sp
from tl_jax.models import resnet
from tl_jax.optim import sgd
from tl_jax.transfer import chain, freeze, full, lora, rate, top
from tl_jax.tree import flatten, paths

OPEN = rate(".*", 1.0)


def test_only_what_moves_has_a_start(model, base):
    plan = chain(HEAD, lora(2, ".*/query"))(KEY, base)
    _, _, state, _ = make(model, plan, {"sp": l2_sp(), "delta": delta()})
    moving = {path for path, rate in flatten(plan.rates).items() if rate}
    assert set(flatten(state.memory[START]["model"]["params"])) == moving
    for penalties in ({}, {"bss": bss()}):
        _, _, state, _ = make(model, plan, penalties)
        assert START not in state.memory


def test_a_start_outlives_phases_and_what_opens_begins_where_it_stands(
    model, base, batch
):
    penalties = {"sp": l2_sp()}
    made, players, state, frozen = make(model, HEAD(KEY, base), penalties)
    state, _ = run(made, state, frozen, batch, 2)
    made, players, state, frozen = go_on(players, state, frozen, top(1), penalties)
    state, _ = run(made, state, frozen, batch, 2)
    _, _, state, _ = go_on(players, state, frozen, OPEN, penalties)
    start = flatten(state.memory[START]["model"]["params"])
    assert set(start) == set(paths(base.params))
    now = flatten(state.train["model"])
    for path, leaf in flatten(base.params).items():
        np.testing.assert_array_equal(start[path], leaf, err_msg=path)
    assert np.abs(now["blocks/1/mlp/up/kernel"] - start["blocks/1/mlp/up/kernel"]).max()


def test_delta_remembers_the_statistics_of_the_start():
    """Compared with moved ones it would not be 0 where nothing else had moved."""
    net = resnet(kind="basic", stages=(1,), widths=(4,), stem_width=4, classes=3)
    plan = full(*net.init(KEY))
    image = jax.random.normal(KEY, (4, 8, 8, 3))
    stream = {"inputs": {"image": image}, "labels": jnp.arange(4) % 3}
    batch = {"train": stream | {"weight": jnp.ones(4)}}
    made, players, state, frozen = make(net, plan, {"delta": delta(1.0, 0.0)}, sgd(0.0))
    state, first = run(made, state, frozen, batch, 1)
    state, later = run(made, state, frozen, batch, 5)
    was, now = plan.stats["embed/norm"], state.memory["stats"]["model"]["embed/norm"]
    assert np.abs(was.mean - now.mean).max() > 1e-3
    np.testing.assert_array_equal(first["penalty/delta"], later["penalty/delta"])
    _, _, state, _ = go_on(
        players, state, frozen, freeze("embed/.*"), {"delta": delta()}
    )
    kept = state.memory[START]["model"]["stats"]["embed/norm"]
    np.testing.assert_array_equal(kept.mean, was.mean)
