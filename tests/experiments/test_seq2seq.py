"""Texts that answer texts: from a file to scores and answers of what is written."""

import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from rich.console import Console
from tiny_study import result, run, strategies

from configs import base as defaults
from configs import finetune_seq2seq
from configs.strategies import FREEZE
from experiments.abstract_batches import abstract_batch
from experiments.algorithms import SUPERVISED
from experiments.dry_run import dry_run
from experiments.paired import ROW_SCORES, compare
from experiments.predict import main
from experiments.problem import make_problem
from experiments.settings import check
from experiments.tasks import make_task
from tl_jax.pretrained.word_tokenizer import word_tokenizer
from tl_jax.types import Outputs

LORA = {"transform": "lora", "rank": 2, "where": "decoder/.*/cross/value"}
PROMPT = {"transform": "prompt", "length": 2}
WORDS = ("red", "blue", "green", "one", "two", "six", "sun", "sea")


def pairs(count: int = 60) -> list[dict]:
    """A text of two words and a number; its answer is the second word."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(count):
        a, b = rng.choice(WORDS, 2)
        rows.append({"long": f"{a} {b} x{i}", "short": str(b)})
    return rows


@pytest.fixture(scope="module")
def place(golden, tmp_path_factory):
    """A folder with a tiny random T5, its words, and a file of pairs."""
    folder = tmp_path_factory.mktemp("t5")
    shutil.copytree(golden / "t5" / "t5_gated", folder / "model")
    texts = [f"{row['long']} {row['short']}" for row in pairs(12)]
    encoder = word_tokenizer(texts, 30).encoder
    encoder.save(str(folder / "model" / "tokenizer.json"))
    lines = map(json.dumps, pairs())
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def config_of(place, **named) -> ConfigDict:
    config = defaults.get_config()
    config.task = "seq2seq"
    config.model.spec = str(place / "model")
    config.data.source = str(place / "pairs.jsonl")
    config.data.text, config.data.label = "long", "short"
    config.data.length, config.data.target_length = 8, 4
    config.data.buckets = (8,)
    config.steps, config.batch_size, config.eval_batch_size = 6, 8, 12
    config.every.evaluate = 3
    config.resamples = 10
    config.smoothing = 0.1
    table = {"rate": 1e-2, "plan": (FREEZE, LORA, PROMPT)}
    return strategies(config, **(named or {"lora": table}))


@pytest.fixture(scope="module")
def study(place):
    run(config_of(place), place / "runs")
    return place / "runs"


def test_a_study_scores_what_is_written(study):
    found = result(study, "lora")
    names = ["rougeL", "rouge1", "rouge2", "bleu", "exact", "intervals"]
    assert list(found["test"]) == names
    assert found["trainable"] == 2 * (16 + 24) * 2 + 2 * 16
    with np.load(study / "lora" / "0" / "predictions.npz") as kept:
        shapes = {name: kept[name].shape for name in kept}
    assert (12, 4) in shapes.values()
    assert (study / "report.html").is_file()


def test_new_texts_are_answered(study, tmp_path):
    new, out = tmp_path / "new.txt", tmp_path / "out.jsonl"
    new.write_text("red sun x1\nblue sea x2\n")
    args = ["--workdir", str(study), "--input", str(new), "--output", str(out)]
    assert main(args) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["row"] for row in rows] == [0, 1]
    assert all(isinstance(row["written"], str) for row in rows)


@pytest.mark.parametrize("beams", [1, 3])
def test_a_prediction_sees_no_answer(beams, place):
    config = config_of(place)
    config.writing.beams = beams
    problem = make_problem(config)
    stream = next(iter(problem.streams(np.arange(4))))
    assert {"tokens", "mask", "decoder_tokens"} == set(stream["inputs"])
    asked = problem.batch(stream["inputs"])["query"]["inputs"]
    assert set(asked) == {"tokens", "mask"}
    apply = partial(problem.base.model.apply, problem.base.params, {})
    written = apply(asked)[0].written
    assert written.shape == (12, 4)
    taught = apply(stream["inputs"])[0]
    assert taught.written is None
    assert taught.logits.shape == (12, 4, 30)


def test_the_loss_is_that_of_shifted_labels(place):
    """Each label stands where the decoder has read those before it."""
    problem = make_problem(config_of(place))
    stream = next(iter(problem.streams(np.arange(4))))
    labels, decoder = stream["labels"], stream["inputs"]["decoder_tokens"]
    assert (decoder[:, 0] == 0).all()
    shown = labels[:, :-1] != -100
    np.testing.assert_array_equal(decoder[:, 1:][shown], labels[:, :-1][shown])
    logits = np.random.default_rng(0).normal(size=(12, 4, 30)).astype(np.float32)
    outputs = Outputs(jnp.zeros((12, 1)), jnp.asarray(logits))
    found = problem.task.loss(outputs, stream)
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    for b in range(4):
        own = [t for t in range(4) if labels[b, t] != -100]
        each = [-0.9 * logp[b, t, labels[b, t]] - 0.1 * logp[b, t].mean() for t in own]
        np.testing.assert_allclose(found[b], np.mean(each), rtol=1e-4)
    weights = problem.task.weigh(stream)
    np.testing.assert_array_equal(weights[:4], (labels[:4] != -100).sum(1))


def test_texts_end_with_the_first_end():
    tokenizer = word_tokenizer(["a b c"], 9)
    task = make_task("seq2seq", (), tokenizer=tokenizer, length=4)
    a, b = (tokenizer.encoder.token_to_id(w) for w in "ab")
    written = np.array([[a, b, 1, a], [a, 1, 0, 0]], np.int32)
    labels = np.array([[a, b, 1, -100], [b, 1, -100, -100]], np.int32)
    assert task.metrics["exact"](written, labels) == 0.5
    assert task.metrics["rougeL"](written, labels) == 0.5
    with pytest.raises(ValueError, match="belong to classification"):
        make_task("seq2seq", (), class_weights="balanced", tokenizer=tokenizer)


def test_the_study_of_phrases_and_a_dry_run_of_it():
    config = finetune_seq2seq.get_config()
    check(config)
    problem = make_problem(config)
    table = problem.base.params["embed"]["tokens"]["embedding"]
    assert table.shape == (128, 64)
    unknown = problem.base.tokenizer.encoder.token_to_id("<unk>")
    assert unknown not in problem.encoded.labels
    assert not problem.encoded.cut
    needs = dry_run(config, Console(quiet=True))
    assert len(needs) == 6
    assert needs[3].trainable < needs[0].trainable / 10


@pytest.mark.parametrize(
    "changed, said",
    [
        (
            {"spec": "shape:t5-micro", "tokenizer": ""},
            "config.model.tokenizer is empty",
        ),
        (
            {"spec": "shape:bert-tiny", "tokenizer": "words"},
            "no `decode`, expected one",
        ),
        ({"spec": "shape:resnet18"}, "config.task is 'seq2seq'.*no option 'over'"),
    ],
)
def test_models_that_cannot_write(changed, said, place):
    table = {"pretrained": False, "rate": 1e-2}
    config = config_of(place, full=table)
    config.model.update(changed)
    with pytest.raises(ValueError, match=said):
        make_problem(config)


def test_labels_of_another_kind(place):
    config = config_of(place)
    config.data.source = "digits"
    with pytest.raises(ValueError, match="task 'seq2seq' needs 'texts'"):
        make_problem(config)


def test_strategies_are_compared_by_right_answers(study):
    labels = np.array([[5, 1, -100], [5, 6, 1], [5, 1, -100]])
    found = np.array([[5, 1, 0], [5, 5, 1], [5, 6, 1]])
    assert ROW_SCORES["seq2seq"].score(labels, found).tolist() == [1, 0, 0]
    runs = study / "lora" / "0", study / "lora" / "0"
    assert compare("seq2seq", [runs]).verdict is not None


def test_a_dry_run_knows_the_batch(place):
    problem = make_problem(config_of(place))
    real = problem.batches(problem.split(0)["train"], 0, SUPERVISED)(0, 1)
    shapes = abstract_batch(config_of(place), problem.base, problem.task, 0, SUPERVISED)
    assert jax.tree.structure(shapes) == jax.tree.structure(real)
    for one, other in zip(jax.tree.leaves(shapes), jax.tree.leaves(real), strict=True):
        assert one.shape == other.shape
        assert one.dtype == jax.dtypes.canonicalize_dtype(np.asarray(other).dtype)
