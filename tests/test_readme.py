"""What README shows works: its examples run, its commands are what CI runs."""

import doctest
import importlib
import re
import subprocess
import textwrap
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import settings
from tl_jax.algorithms import meta
from tl_jax.losses import cross_entropy
from tl_jax.models import mlp
from tl_jax.transfer import (
    chain,
    fold,
    foldable,
    freeze,
    full,
    lora,
    merge,
    partition,
    trainable,
)
from tl_jax.tree import flatten
from tl_jax.types import Player

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)


PYTHON = [block for block in blocks("python") if ">>>" not in block]
SHIFT, TERM, METHOD, CONFIG = PYTHON
SHELLS = [block for block in blocks("python") if ">>>" in block]


@contextmanager
def of_a_user(folder, name, words):
    """A module of these words, imported by name from the folder of a user."""
    (folder / f"{name}.py").write_text(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        # No helper of the tests may have the name: a worker imports it but once.
        yield importlib.import_module(name)


def test_the_algebra_runs():
    algebra, mixture, _ = SHELLS
    shown = algebra + mixture
    test = doctest.DocTestParser().get_doctest(shown, {}, "README", "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0
    assert 15 < len(test.examples) <= 20


def test_a_config_of_two_domains_is_sound(tmp_path):
    words = "from configs import base\n\nconfig = base.get_config()\n" + SHIFT
    with of_a_user(tmp_path, "config_of_a_user", words) as module:
        config = module.config
    config.run = "dann_lora"
    settings.check(config)


def test_the_term_draws_means_together(tmp_path):
    model = mlp(2, (3,), classes=2)
    player = Player(model, full(*model.init(jax.random.key(0))), optax.sgd(0.1))
    rng = np.random.default_rng(0)

    def side(shift):
        x = rng.normal(shift, size=(8, 2)).astype(np.float32)
        weight, index = np.ones(8, np.float32), np.arange(8)
        return {"inputs": {"features": x}, "weight": weight, "index": index}

    batch = {"source": side(0) | {"labels": np.arange(8) % 2}, "target": side(2)}

    def loss(out, stream):
        return cross_entropy(out.logits, stream["labels"])

    players, seen = {"model": player}, []
    words = textwrap.indent(TERM, "    ")
    words = f"def build(players, loss):\n{words}    return algorithm\n"
    with of_a_user(tmp_path, "term_of_a_user", words) as module:
        made = module.build(players, loss)
    state, frozen = made.init(jax.random.key(0), players)
    step = jax.jit(made.step)
    for _ in range(20):
        state, metrics = step(state, frozen, batch, jax.random.key(0))
        seen.append(float(metrics["term/apart"]))
    assert seen[-1] < seen[0] / 2


def test_the_learner_learns():
    """It is what its words say, and `episodic` descends on it."""
    found = {"jax": jax}
    test = doctest.DocTestParser().get_doctest(SHELLS[2], found, "README", None, 0)
    assert doctest.DocTestRunner().run(test, clear_globs=False).failed == 0
    model = mlp(2, (3,))
    player = Player(model, full(*model.init(jax.random.key(0))), optax.sgd(0.5))
    learner = test.globs["neighbours"](model, 3)
    rng = np.random.default_rng(0)

    def side(count):
        x = rng.normal(size=(1, count, 2)).astype(np.float32)
        labels = np.arange(count, dtype=np.int32)[None] % 3
        weight = np.ones((1, count), np.float32)
        weight[0, -1] = 0
        return {"inputs": {"features": x}, "labels": labels, "weight": weight}

    def loss(out, stream):
        return cross_entropy(out.logits, stream["labels"])

    batch = {"support": side(4), "query": side(5)}
    made = meta.episodic({"model": player}, learner, loss)
    state, frozen = made.init(jax.random.key(0), {"model": player})
    got = np.exp(made.predict(state, frozen, batch).logits[0])
    z = [
        model.apply(player.plan.params, {}, {"features": s["inputs"]["features"][0]})[0]
        for s in (batch["support"], batch["query"])
    ]
    for query, odds in zip(np.asarray(z[1].features), got, strict=True):
        near = np.exp(-((query - np.asarray(z[0].features)) ** 2).sum(-1))
        want = near[:3] / near.sum()  # the fourth is padding
        np.testing.assert_allclose(odds, want, rtol=1e-4)
    step, losses = jax.jit(made.step), []
    for _ in range(5):
        state, metrics = step(state, frozen, batch, jax.random.key(1))
        losses.append(float(metrics["loss"]))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_the_method_is_short():
    assert len(METHOD.splitlines()) < 30


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """The two blocks in one file, imported by name from the folder of a user."""
    folder = tmp_path_factory.mktemp("user")
    with of_a_user(folder, "scale_shift", METHOD + "\n\n" + CONFIG) as module:
        yield module


@pytest.fixture(scope="module")
def method(module):
    """By a study's config: everything frozen, the method, a head."""
    from experiments.transforms import make_transfer

    strategy = module.get_config().strategies.scale_shift
    return make_transfer(strategy.plan, "config.strategies.scale_shift.plan")


@pytest.fixture(scope="module")
def plan(method, tiny_bert):
    return method(jax.random.key(0), with_head(tiny_bert))


def with_head(base):
    head = {"kernel": jnp.ones((base.model.width, 3)), "bias": jnp.arange(3.0)}
    return full(base.params | {"head": head}, base.stats)


def logits(base, params, inputs):
    return np.asarray(base.model.apply(params, base.stats, inputs)[0].logits)


def test_a_fresh_graft_leaves_outputs_alone(plan, tiny_bert, tokens):
    before = logits(tiny_bert, with_head(tiny_bert).params, tokens)
    after = logits(tiny_bert, plan.params, tokens)
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert len(flatten(plan.params)) == len(flatten(with_head(tiny_bert).params)) + 24


def test_it_folds(plan, tiny_bert, tokens):
    rng = np.random.default_rng(0)
    moved = jax.tree.map(
        lambda x: x + 0.1 * rng.standard_normal(x.shape, np.float32), plan.params
    )
    patched = plan._replace(params=moved)
    assert foldable(moved)
    folded = fold(patched)
    plain = with_head(tiny_bert).params
    assert jax.tree.structure(folded.params) == jax.tree.structure(plain)
    want = logits(tiny_bert, moved, tokens)
    apart = np.abs(logits(tiny_bert, folded.params, tokens) - want).max()
    assert apart <= 1e-5 * np.abs(want).max()


def test_only_its_leaves_and_the_head_get_gradients(plan, tiny_bert, tokens):
    train, frozen = partition(plan.params, trainable(plan.rates))

    def loss(train):
        params = merge(train, frozen)
        out = tiny_bert.model.apply(params, tiny_bert.stats, tokens)[0]
        return jax.nn.logsumexp(out.logits, axis=-1).sum()

    slopes = flatten(jax.grad(loss)(train))
    own = {path for path in flatten(plan.params) if "/patch/scale_shift/" in path}
    assert set(slopes) == own | {"head/kernel", "head/bias"}
    shift = "blocks/1/mlp/down/patch/scale_shift/shift"
    assert all(np.abs(slopes[path]).max() > 0 for path in (shift, "head/kernel"))


def test_it_composes_with_others(module, tiny_bert, tokens):
    sites = r"blocks/\d+/attention/(query|value)"
    both = chain(freeze(".*"), lora(2, sites), module.scale_shift(sites))
    plan = both(jax.random.key(0), with_head(tiny_bert))
    names = plan.params["blocks"]["0"]["attention"]["query"]["patch"]
    assert sorted(names) == ["lora", "scale_shift"]
    before = logits(tiny_bert, with_head(tiny_bert).params, tokens)
    folded = fold(plan).params
    np.testing.assert_allclose(logits(tiny_bert, folded, tokens), before, atol=1e-5)


def test_it_is_a_strategy_of_the_study(module):
    from experiments.strategies import make_strategy

    config = module.get_config()
    assert config.run.endswith(",scale_shift")
    strategy = make_strategy("scale_shift", config)
    assert strategy.title == "SSF"
    assert [phase.steps for phase in strategy.phases] == [config.steps]


def test_commands_come_in_the_order_that_is_promised():
    main, tests, parity = blocks("bash")
    assert main.splitlines()[-2:] == [
        "pip install -c constraints.txt -e .",
        "python -m experiments.main --config configs/quickstart.py "
        "--workdir runs/quickstart",
    ]
    assert tests.splitlines()[-2:] == [
        "pip install -c constraints.txt -e '.[test]'",
        "python -m pytest -q",
    ]
    assert parity.splitlines()[0].startswith("pip install torch==")
    assert parity.splitlines()[-1] == "python -m pytest -q -m parity"


def test_ci_runs_what_readme_says():
    """Its way of cutting commands out of README finds all of them, and no more."""
    script = (ROOT / ".ci" / "run").read_text()
    cut = re.search(r"^commands\(\) \{\n.*?^\}$", script, re.M | re.S)[0]
    for number in (2, 3):
        args = dict(capture_output=True, text=True, check=True, cwd=ROOT)
        shell = ["bash", "-c", f"{cut}\ncommands {number}"]
        found = subprocess.run(shell, **args).stdout.splitlines()
        lines = blocks("bash")[number - 1].splitlines()
        assert found == [s for s in lines if s.startswith(("pip ", "python -m pytest"))]


def test_the_repository_map_and_the_methods_name_what_exists():
    paths = re.findall(r"`((?:tl_jax|experiments|configs|tests)/[\w/.]+)`", README)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []
    commands = re.findall(r"python -m (experiments\.\w+)", README)
    found = [ROOT / name.replace(".", "/") for name in commands]
    runs = {p: [p.with_suffix(".py"), p / "__main__.py"] for p in found}
    assert [p for p, files in runs.items() if not any(f.is_file() for f in files)] == []


def test_constraints_pin_what_setup_asks_for():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pins)
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins}
    assert not pinned & {"torch", "tensorflow", "transformers"}
    setup = (ROOT / "setup.py").read_text().split("EXTRAS")[0]
    wanted = re.findall(r'^    "([\w-]+)>=', setup, re.M)
    assert len(wanted) > 10
    assert {name.lower().replace("_", "-") for name in wanted} <= pinned
