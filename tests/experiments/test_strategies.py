"""Strategies: phases, shares of steps, optimisers and presets."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_study import strategies

from configs import finetune
from experiments.strategies import make_strategy
from tl_jax.models import bert
from tl_jax.transfer import adalora, full, top
from tl_jax.tree import flatten, matches, paths

KEY = jax.random.key(0)
PRESETS = tuple(finetune.get_config().strategies)
EVERYTHING = ("full", "lp_ft", "gradual", "plateau", "l2_sp", "delta", "bss")


def config(**named):
    made = strategies(finetune.get_config(), **named)
    made.steps = 10
    return made


def plans(strategy, params):
    """The rates [path -> float] of each phase in turn."""
    plan, found = full(params), []
    for phase in strategy.phases:
        plan = phase.transfer(jax.random.key(0), plan)
        found.append(flatten(plan.rates))
    return found


def moving(rates):
    return {path for path, rate in rates.items() if rate}


@pytest.fixture(scope="module")
def params(tiny_bert):
    head = {"kernel": np.zeros((16, 3)), "bias": np.zeros(3)}
    return tiny_bert.params | {"head": head}


@pytest.fixture(scope="module")
def larger():
    """Blocks enough for adapters to drop, channels for Compacter's parts."""
    sizes = dict(vocabulary=40, width=64, depth=4, heads=4, hidden=128, positions=12)
    head = {"kernel": np.zeros((64, 3)), "bias": np.zeros(3)}
    return bert(**sizes).init(jax.random.key(0))[0] | {"head": head}


@pytest.fixture
def in_files(larger, tmp_path, monkeypatch):
    """What `experiments.measure` would have found, where presets look for it."""
    rng = np.random.default_rng(0)
    flat = {path: np.asarray(leaf) for path, leaf in flatten(larger).items()}
    sites = [f"blocks/{i}/attention/{n}" for i in range(4) for n in ("query", "value")]
    rows = rng.normal(size=(80, 65)).astype("f")
    found = {
        "fisher": {path: rng.random(leaf.shape) for path, leaf in flat.items()},
        "moments": {site: rows.T @ rows + 80 * np.eye(65) for site in sites},
        "features": {"features": rows[:, :64], "labels": np.arange(80) % 3},
    }
    folder = tmp_path / "runs" / "measured"
    folder.mkdir(parents=True)
    for what, arrays in found.items():
        save_file(arrays, folder / f"{what}.safetensors", {"what": what})
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name, larger, in_files):
    own = finetune.get_config(name)
    own.steps = 100
    strategy = make_strategy(name, own)
    everything, last = set(paths(larger)), moving(plans(strategy, larger)[-1])
    if name in EVERYTHING:
        assert last == everything
    else:
        assert last < everything | {p for p in last if "patch/" in p}
    if name == "bias":
        assert all(path.endswith("bias") or path == "head/kernel" for path in last)


def test_a_budget_wraps_the_optimiser_and_is_checked_at_once():
    own = finetune.get_config("adalora")
    own.steps = 10
    (phase,) = make_strategy("adalora", own).phases
    plan = adalora(12, "head")(KEY, full({"head": {"kernel": np.ones((16, 16))}}))
    state = phase.tx(0).init(plan.params)
    assert state.kept["head.patch.adalora"].shape == (12,)
    assert list(phase.added.penalties) == ["orthogonal"]
    own.strategies.adalora.budget = {"target": 8, "strat": 1}
    with pytest.raises(ValueError, match=r"adalora.*budget: .*'strat'.*nearest: start"):
        make_strategy("adalora", own)
    own.strategies.adalora.budget = {"target": 8, "start": 10}
    with pytest.raises(ValueError, match="start 10|and 10 at the start"):
        make_strategy("adalora", own)


def test_gradual_unfreezing_opens_from_the_top(params):
    own = finetune.get_config("gradual")
    own.steps = 100
    strategy = make_strategy("gradual", own)
    assert [phase.steps for phase in strategy.phases] == [25] * 4
    found = [moving(rates) for rates in plans(strategy, params)]
    assert found[0] == {"head/kernel", "head/bias"}
    assert found[1] == found[0] | set(matches("blocks/1/.*", paths(params)))
    assert found[2] == {p for p in paths(params) if not p.startswith("embed/")}
    assert found[3] == set(paths(params))


def test_top_leaves_patches_alone(params):
    from tl_jax.transfer import chain, freeze, lora

    change = chain(
        freeze(".*"), lora(2, ".*/query"), freeze(".*/patch/.*"), top(1, 0.5)
    )
    rates = flatten(change(jax.random.key(0), full(params)).rates)
    assert {r for p, r in rates.items() if "/patch/" in p} == {0.0}
    assert rates["blocks/1/attention/query/kernel"] == 0.5
    assert rates["head/bias"] == 0.5
    assert rates["blocks/0/mlp/up/bias"] == 0


def test_phases_inherit_what_they_do_not_say():
    made = config(
        two={
            "rate": 0.5,
            "average": 0.9,
            "optimiser": "sgd",
            "phases": {"1_a": {"rate": 0.1, "steps": 3}, "2_b": {"steps": 0.5}},
        }
    )
    strategy = make_strategy("two", made)
    assert [p.steps for p in strategy.phases] == [3, 5]
    assert strategy.average == 0.9


@pytest.mark.parametrize("warmup, steps", [(0.2, 2), (4.0, 4)])
def test_warm_up_starts_with_the_phase(warmup, steps):
    """At step t of a phase the rate is peak t / w, whatever the global step is."""
    made = config(one={"rate": 0.5, "optimiser": "sgd"})
    made.optimiser.momentum, made.optimiser.warmup = 0.0, warmup
    tx = make_strategy("one", made).phases[0].tx(100)
    gradient = {"w": np.ones(1, np.float32)}
    for t in range(10):
        update, _ = tx.update(gradient, tx.init(gradient), gradient, step=100 + t)
        rate = 0.5 * (t / steps if t < steps else (10 - t) / (10 - steps))
        np.testing.assert_allclose(-update["w"], rate, rtol=1e-5)


def test_a_fit_takes_no_steps_unless_told():
    """A share counts as one, and a warm-up in steps is no matter of a mere fit."""
    fit = {"fit": "linear_probe", "rate": 0.1}
    made = config(alone=fit, more=fit | {"steps": 0.5})
    made.optimiser.warmup = 4.0
    assert make_strategy("alone", made).phases[0].steps == 0
    assert make_strategy("more", made).phases[0].steps == 5


def test_a_line_search_gets_the_whole_gradient():
    made = config(one={"rate": 0.1}, two={"optimiser": "lbfgs"})
    assert make_strategy("one", made).phases[0].clip == 1.0
    phase = make_strategy("two", made).phases[0]
    assert (phase.clip, phase.search) == (None, True)
