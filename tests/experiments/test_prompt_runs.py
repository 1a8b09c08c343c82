"""Studies of prompts: a text for a start, networks that are dropped at the end."""

import json

import jax
import numpy as np
import pytest
from tiny_study import small, strategies, write

from configs.strategies import FREEZE, HEAD, P_TUNING, PREFIX, PROMPT, VPT
from experiments import launch, store
from experiments.backbone import load_base
from experiments.predict import main
from experiments.strategies import make_strategy, make_transfer
from tl_jax.distribute import layout
from tl_jax.models import vit
from tl_jax.transfer import full, new_head
from tl_jax.tree import flatten

TOLD = {"transform": "prompt", "length": 3, "init": "text", "text": "sun sea"}


def shorter(strategy: dict) -> dict:
    """The strategy with 3 tokens in place of many."""
    first, own, last = strategy["plan"]
    return {"rate": 1e-2, "plan": (first, own | {"length": 3, "hidden": 4}, last)}


@pytest.fixture(scope="module")
def config(tiny_model, tmp_path_factory):
    source = write(tmp_path_factory.mktemp("data"), "classification", ".csv")
    return strategies(
        small(tiny_model, source),
        told={"rate": 1e-2, "plan": (FREEZE, TOLD, HEAD)},
        projected=shorter(PREFIX),
        lstm=shorter(P_TUNING),
    )


@pytest.fixture(scope="module")
def study(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "runs"
    launch.study(config, folder, ["test"], lambda: False)
    return folder


def test_a_text_begins_as_its_words(config):
    base = load_base(config, layout(devices=jax.devices()[:1]))
    plan = new_head(3, base.model.width)(jax.random.key(0), full(base.params))
    made = make_strategy("told", config).phases[0].transfer(jax.random.key(0), plan)
    ids = [base.tokenizer.encoder.token_to_id(word) for word in ("sun", "sea", "sun")]
    np.testing.assert_array_equal(
        made.params["embed"]["patch"]["prompt"].tokens,
        base.params["embed"]["tokens"]["embedding"][np.asarray(ids)],
    )


def test_a_model_without_a_tokenizer_is_told(config):
    bare = config.copy_and_resolve_references()
    bare.model.spec = "shape:bert-small"
    transfer = make_strategy("told", bare).phases[0].transfer
    embed = {"tokens": {"embedding": np.zeros((4, 2))}}
    with pytest.raises(ValueError, match="config.model.spec, 'shape:bert-small', has"):
        transfer(jax.random.key(0), full({"embed": embed, "head": {"bias": 0.0}}))


@pytest.mark.parametrize("name", ["told", "projected", "lstm"])
def test_what_is_saved_answers_without_the_network(name, config, study, tmp_path):
    """Plain prefixes and prompts alone, and the run's own logits again."""
    arrays, _ = store.read_model(study / name / "0")
    own = {path for path in arrays if "patch/" in path}
    assert own
    assert not {path for path in own if path.startswith("patch/")}
    out = tmp_path / "out.jsonl"
    flags = [f"--workdir={study}", f"--input={config.data.source}"]
    assert main([*flags, f"--output={out}", f"--strategy={name}"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    saved = np.load(study / name / "0" / "predictions.npz")
    for index, logits in zip(saved["index"], saved["logits"], strict=True):
        found = list(rows[index]["probabilities"].values())
        np.testing.assert_allclose(found, jax.nn.softmax(logits), rtol=1e-4, atol=1e-5)


def test_presets_build(tiny_bert):
    """What moves: the preset's patches and the head."""
    head = {"kernel": np.zeros((16, 3)), "bias": np.zeros(3)}
    image = vit(patch=4, size=8, width=8, depth=2, heads=2, hidden=12, classes=3)
    words = full(tiny_bert.params | {"head": head})
    pictures = full(*image.init(jax.random.key(1)))
    presets = ((PROMPT, words), (PREFIX, words), (P_TUNING, words), (VPT, pictures))
    for strategy, base in presets:
        plan = make_transfer(strategy["plan"], "plan")(jax.random.key(0), base)
        moving = {path for path, rate in flatten(plan.rates).items() if rate}
        added = set(flatten(plan.params)) - set(flatten(base.params))
        assert added
        assert moving == added | {"head/kernel", "head/bias"}
