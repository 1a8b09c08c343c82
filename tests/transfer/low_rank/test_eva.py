"""LoRA that begins with the principal directions of each layer's inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax import nn
from tl_jax.models import bert
from tl_jax.transfer import chain, eva, freeze, full, input_moments, stack_layers
from tl_jax.transfer.low_rank.eva import shared
from tl_jax.tree import NoMatch, flatten
from tl_jax.types import Model, Outputs

KEY = jax.random.key(0)
WHERE = "first|second"


def drawn(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def apply(params, stats, inputs, *, key=None, norm="running"):
    x = jnp.tanh(nn.dense(params["first"], inputs["x"]))
    y = nn.dense(params["second"], x)
    return Outputs(y.mean(1), tokens=y), stats


MODEL = Model(None, apply, 5)


@pytest.fixture
def base():
    sizes = {"first": (6, 8), "second": (8, 5), "unread": (4, 4)}
    return {name: {"kernel": drawn(*size)} for name, size in sizes.items()}


@pytest.fixture
def batches():
    made = []
    for i in range(3):
        x = drawn(4, 7, 6, seed=10 + i) * jnp.array([5, 3, 1, 0.5, 0.1, 0.1]) + 2
        mask = np.ones((4, 7), bool)
        mask[0, 3:] = False
        made.append({"x": x, "mask": mask})
    return made


def read(base, batches):
    """What both layers read, padding left out, centred."""
    first = np.concatenate([np.asarray(b["x"])[b["mask"]] for b in batches])
    second = np.tanh(first @ np.asarray(base["first"]["kernel"]))
    return {n: x - x.mean(0) for n, x in (("first", first), ("second", second))}


def test_a_is_the_principal_directions_of_what_was_read(base, batches):
    plan = eva(MODEL, batches, 2, WHERE, 3.0, spare=1.0)(KEY, full(base))
    for name, x in read(base, batches).items():
        own = plan.params[name]["patch"]["lora"]
        directions = np.linalg.svd(x, full_matrices=False)[2][:2]
        aligned = np.abs((directions @ own.a).diagonal())
        np.testing.assert_allclose(aligned, 1, atol=1e-3)
        np.testing.assert_allclose(own.a.T @ own.a, np.eye(2), atol=1e-5)
        assert own.scale == 1.5
        assert not np.any(own.b)
    before = apply(base, {}, batches[0])[0].tokens
    after = apply(plan.params, {}, batches[0])[0].tokens
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_ranks_go_where_most_variance_is_explained(base, batches):
    plan = eva(MODEL, batches, 3, WHERE)(KEY, full(base))
    every = []
    for name, x in read(base, batches).items():
        squares = np.linalg.svd(x, compute_uv=False) ** 2
        every += [(share, name) for share in (squares / squares.sum())[:6]]
    chosen = [name for _, name in sorted(every)[::-1][:6]]
    found = {n: plan.params[n]["patch"]["lora"].a.shape[1] for n in set(chosen)}
    assert found == {n: chosen.count(n) for n in set(chosen)}
    assert sum(found.values()) == 6
    assert len(set(found.values())) == 2
    assert "patch" not in plan.params["unread"]


def test_a_site_may_get_no_rank():
    shares = {"a": np.array([0.6, 0.4]), "b": np.array([0.1] * 10)}
    assert shared(shares, 1, 2.0) == {"a": 2, "b": 0}
    assert shared(shares, 1, 1.0) == {"a": 1, "b": 1}
    same = {"a": np.array([0.5, 0.5]), "b": np.array([0.5, 0.5])}
    assert shared(same, 1, 2.0) == {"a": 2, "b": 0}


def test_moments_sum_over_batches_compiled_and_under_a_scan(batches):
    model = bert(vocabulary=20, width=8, depth=3, heads=2, hidden=8, positions=9)
    params, stats = model.init(KEY)
    inputs = {"tokens": np.arange(14).reshape(2, 7), "mask": np.ones((2, 7), int)}
    inputs["mask"][1, 4:] = 0
    where = "blocks/.*/query"

    @jax.jit
    def moments(params, inputs):
        return input_moments(model, params, stats, inputs, where)

    found = moments(params, inputs)
    assert set(found) == {f"blocks/{i}/attention/query" for i in range(3)}
    hidden = model.apply(params, stats, inputs)[0].hidden
    for i in range(3):
        x = np.asarray(hidden[i])[inputs["mask"].astype(bool)]
        x = np.concatenate([x, np.ones((11, 1))], 1)
        own = found[f"blocks/{i}/attention/query"]
        np.testing.assert_allclose(own, x.T @ x, rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="3 axes, expected two"):
        moments(stack_layers(full(params)).params, inputs)
    rank = eva(model, found, 2, where)
    plan = chain(freeze(".*"), rank)(KEY, full(params))
    sizes = [x.shape[1] for p, x in flatten(plan.params).items() if p.endswith("ra/a")]
    assert sum(sizes) == 6


def test_bad_input_raises(base, batches):
    with pytest.raises(ValueError, match="there is no batch"):
        eva(MODEL, [], 2, WHERE)(KEY, full(base))
    with pytest.raises(ValueError, match="spare is 0.5"):
        eva(MODEL, batches, 2, WHERE, spare=0.5)
    with pytest.raises(ValueError, match="'unread' read nothing"):
        eva(MODEL, batches, 2, ".*")(KEY, full(base))
    with pytest.raises(NoMatch, match="where 'frist'"):
        eva(MODEL, batches, 2, "frist")(KEY, full(base))
    with pytest.raises(ValueError, match="rank 6 does not fit"):
        eva(MODEL, batches, 6, WHERE)(KEY, full(base))
    with pytest.raises(NoMatch, match="path 'x'"):
        eva(MODEL, batches[0], 2, WHERE)(KEY, full(base))
