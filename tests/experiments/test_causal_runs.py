"""Questions that a causal model answers: from a file to scores and new answers."""

import json
import shutil

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from rich.console import Console
from tiny_study import result, run, strategies

from configs import base as defaults
from configs import finetune_causal
from configs.strategies import FREEZE
from experiments.abstract_batches import abstract_batch
from experiments.algorithms import SUPERVISED
from experiments.causal_task import causal
from experiments.dry_run import dry_run
from experiments.predict import main
from experiments.problem import make_problem
from experiments.settings import check
from tl_jax.models import answering, llama
from tl_jax.pretrained.word_tokenizer import word_tokenizer

LORA = {"transform": "lora", "rank": 2, "where": r"blocks/\d+/attention/query"}
WORDS = ("red", "blue", "green", "one", "two", "six", "sun", "sea")
TEMPLATE = "{% for m in messages %}{{ m.content }} {% endfor %}say"


def pairs(count: int = 60) -> list[dict]:
    """Two words and a number; the answer is the second word."""
    rng = np.random.default_rng(0)
    drawn = [rng.choice(WORDS, 2).tolist() for _ in range(count)]
    return [{"text": f"{a} {b} x{i}", "target": b} for i, (a, b) in enumerate(drawn)]


@pytest.fixture(scope="module")
def place(golden, tmp_path_factory):
    """A folder with a tiny random Llama, its words and template; a file of pairs."""
    folder = tmp_path_factory.mktemp("llama")
    shutil.copytree(golden / "llama" / "llama_tied", folder / "model")
    texts = [f"{row['text']} {row['target']} say" for row in pairs(20)]
    word_tokenizer(texts, 40).encoder.save(str(folder / "model" / "tokenizer.json"))
    (folder / "model" / "chat_template.jinja").write_text(TEMPLATE)
    lines = map(json.dumps, pairs())
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def config_of(place, pack=0) -> ConfigDict:
    config = defaults.get_config()
    config.task = "causal"
    config.model.spec = str(place / "model")
    config.data.source = str(place / "pairs.jsonl")
    config.data.length, config.data.target_length = 8, 3
    config.data.pack = pack
    config.data.buckets = (max(pack, 11),)
    config.steps, config.batch_size, config.eval_batch_size = 6, 4, 12
    config.every.evaluate = 3
    config.resamples = 10
    return strategies(config, lora={"rate": 1e-2, "plan": (FREEZE, LORA)})


@pytest.fixture(scope="module")
def study(place):
    run(config_of(place, pack=24), place / "runs")
    return place / "runs"


def test_a_study_scores_what_is_written(study):
    found = result(study, "lora")
    assert list(found["test"]) == ["exact", "perplexity", "intervals"]
    assert 0 <= found["test"]["exact"] <= 1 < found["test"]["perplexity"]
    assert found["trainable"] == 2 * (16 + 24) * 2
    assert (study / "report.html").is_file()


def test_new_texts_are_answered(study, tmp_path):
    new, out = tmp_path / "new.txt", tmp_path / "out.jsonl"
    new.write_text("red sun x1\nblue sea x2\n")
    args = ["--workdir", str(study), "--input", str(new), "--output", str(out)]
    assert main(args) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["row"] for row in rows] == [0, 1]
    assert all(isinstance(row["written"], str) for row in rows)


def test_packed_rows_teach_what_single_ones_do(place):
    """The loss of all examples, and its gradient, with and without packing."""
    found = []
    for pack in (0, 24):
        problem = make_problem(config_of(place, pack))
        columns, labels, rows = problem.encoded.training(np.arange(20))
        assert (len(rows) < 10) == bool(pack)
        from tl_jax.data import evaluation

        streams = evaluation(columns, labels, rows, len(rows), buckets=(max(pack, 11),))
        (stream,) = streams
        task, base = problem.task, problem.base

        def loss(params, task=task, base=base, stream=stream):
            out = base.model.apply(params, {}, stream["inputs"])[0]
            weight = task.weigh(stream)
            return (weight * task.loss(out, stream)).sum() / weight.sum()

        found.append(jax.jit(jax.value_and_grad(loss))(base.params))
    (a, slopes), (b, others) = found
    np.testing.assert_allclose(a, b, rtol=1e-5)
    for x, y in zip(jax.tree.leaves(slopes), jax.tree.leaves(others), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-6)


def test_what_is_scored_by_a_loop(place):
    """Log probabilities of the answer, a token at a time; what is written sees none."""
    problem = make_problem(config_of(place))
    base = problem.base
    stream = next(iter(problem.streams(np.arange(4))))
    inputs = {k: np.asarray(v) for k, v in stream["inputs"].items()}
    out = base.model.apply(base.params, {}, inputs)[0]
    blank = inputs | {"answer": np.full_like(inputs["answer"], -100)}
    other = base.model.apply(base.params, {}, blank)[0]
    np.testing.assert_array_equal(out.written, other.written)
    for row in range(4):
        asked = inputs["asked"][row][inputs["asked_mask"][row]].tolist()
        for at, token in enumerate(inputs["answer"][row]):
            if token == -100:
                assert out.logits[row, at] == 0
                continue
            tokens = np.array([asked])
            alone = base.model.apply(base.params, {}, {"tokens": tokens})[0].logits
            want = jax.nn.log_softmax(alone[0, -1])[token]
            np.testing.assert_allclose(out.logits[row, at], want, rtol=1e-4)
            asked.append(int(token))


def test_scores_by_hand():
    task = causal(lambda ids: " ".join(map(str, ids)), 2)
    logp = np.log([[0.5, 0.25], [0.5, 1.0]])
    found = np.concatenate([[[7, 8], [7, 9]], logp], 1)
    labels = np.array([[7, 8], [3, -100]])
    assert task.metrics["exact"](found, labels) == 0.5
    want = np.exp(-(np.log(0.5) + np.log(0.25) + np.log(0.5)) / 3)
    np.testing.assert_allclose(task.metrics["perplexity"](found, labels), want)


def test_a_dry_run_reads_no_data(place):
    (needs,) = dry_run(config_of(place, pack=24), Console(quiet=True))
    assert needs.trainable == 2 * (16 + 24) * 2


def test_the_config_of_the_real_study_is_sound():
    check(finetune_causal.get_config("lora"))


def test_bad_input(place):
    config = config_of(place)
    config.smoothing = 0.1
    with pytest.raises(ValueError, match="'causal' takes no smoothing"):
        make_problem(config)
    config = config_of(place)
    (place / "model" / "chat_template.jinja").rename(place / "template")
    try:
        with pytest.raises(ValueError, match=r"chat is True.*no chat template"):
            make_problem(config)
        config.data.chat = False
        make_problem(config)
    finally:
        (place / "template").rename(place / "model" / "chat_template.jinja")
    model = llama(vocabulary=9, width=8, depth=1, heads=2, hidden=8)
    with pytest.raises(ValueError, match="the model has no `decode`"):
        answering(model._replace(decode=None), 2, end=0)


@pytest.mark.parametrize("pack", [0, 24])
def test_a_dry_run_knows_the_batch(place, pack):
    problem = make_problem(config_of(place, pack))
    real = problem.batches(problem.split(0)["train"], 0, SUPERVISED)(0, 1)
    shapes = abstract_batch(
        config_of(place, pack), problem.base, problem.task, 0, SUPERVISED
    )
    assert jax.tree.structure(shapes) == jax.tree.structure(real)
    for one, other in zip(jax.tree.leaves(shapes), jax.tree.leaves(real), strict=True):
        assert one.shape == other.shape
        assert one.dtype == jax.dtypes.canonicalize_dtype(np.asarray(other).dtype)
