"""Live comparison with transformers and torch: `pytest -m parity`."""

import jax
import numpy as np
import pytest

from tl_jax import pretrained

pytestmark = pytest.mark.parity
TOLERANCE = 2e-5
HEADS = (
    "Model",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMaskedLM",
)
KIN = ("Bert", "Roberta", "XLMRoberta", "DistilBert")


def apart(found, expected) -> float:
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def record():
    pytest.importorskip("torch")
    import record_bert

    return record_bert


def run(found, inputs):
    def apply(params, inputs):
        return found.model.apply(params, found.stats, inputs)[0]

    return jax.jit(apply)(found.params, inputs)


def check(found, model, inputs, record):
    outputs, expected = run(found, inputs), record.reference(model, inputs)
    for i, state in enumerate(outputs.hidden):
        assert apart(state, expected[f"hidden/{i}"]) <= TOLERANCE
    if "logits" in expected:
        assert apart(outputs.logits, expected["logits"]) <= TOLERANCE


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kin", KIN)
def test_every_head_of_every_kin(kin, head, record, tmp_path):
    settings = record.DISTIL if kin == "DistilBert" else record.BERT
    model = record.make(kin + head, settings, seed=7)
    model.save_pretrained(tmp_path / "theirs")
    inputs = record.inputs_for(model.config, 3)
    found = pretrained.load(tmp_path / "theirs")
    check(found, model, inputs, record)
    saved = pretrained.save(tmp_path / "ours", found)
    again = type(model).from_pretrained(saved).eval()
    check(found, again, inputs, record)


@pytest.mark.parametrize("activation", ["gelu_fast", "gelu_pytorch_tanh", "silu"])
def test_activations(activation, record, tmp_path):
    settings = record.BERT | {"hidden_act": activation}
    model = record.make("BertForMaskedLM", settings)
    model.save_pretrained(tmp_path)
    inputs = record.inputs_for(model.config)
    check(pretrained.load(tmp_path), model, inputs, record)


def test_sharded_and_short_floats(record, tmp_path):
    import torch

    model = record.make("BertForSequenceClassification", record.BERT)
    model = model.to(torch.bfloat16)
    model.save_pretrained(tmp_path, max_shard_size="6KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    model = type(model).from_pretrained(tmp_path, dtype=torch.float32).eval()
    inputs = record.inputs_for(model.config)
    check(pretrained.load(tmp_path), model, inputs, record)


@pytest.mark.parametrize(
    "over, kind",
    [
        ("sequence", "BertForSequenceClassification"),
        ("tokens", "BertForTokenClassification"),
    ],
)
def test_new_head_opens_in_transformers(over, kind, record, tmp_path):
    import transformers

    record.make("BertForMaskedLM", record.BERT).save_pretrained(tmp_path / "base")
    base = pretrained.load(tmp_path / "base", head="drop", over=over)
    if over == "sequence":
        record.make("BertModel", record.BERT).save_pretrained(tmp_path / "pooled")
        base = pretrained.load(tmp_path / "pooled", features="pooler")
    rng = np.random.default_rng(0)
    head = {
        "kernel": rng.normal(size=(16, 4)).astype("f"),
        "bias": rng.normal(size=4).astype("f"),
    }
    tuned = base._replace(params=base.params | {"head": head})
    path = pretrained.save(tmp_path / "tuned", tuned, labels=list("abcd"))
    model = getattr(transformers, kind)
    model, report = model.from_pretrained(path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert model.config.id2label == dict(enumerate("abcd"))
    check(tuned, model.eval(), record.inputs_for(model.config), record)
    check(pretrained.load(path), model, record.inputs_for(model.config), record)


def test_minilm_live(minilm, record, tmp_path):
    import transformers

    folder = minilm.source["folder"]
    model = transformers.AutoModel.from_pretrained(folder).eval()
    rng = np.random.default_rng(0)
    tokens = rng.integers(1000, 30000, (5, 40)).astype(np.int32)
    lengths = np.array([[40], [31], [17], [2], [1]])
    mask = (np.arange(40) < lengths).astype(np.int32)
    types = rng.integers(0, 2, (5, 40)).astype(np.int32)
    inputs = {"tokens": tokens * mask, "mask": mask, "types": types}
    check(minilm, model, inputs, record)
    pooled = pretrained.load(folder, features="pooler")
    expected = record.reference(model, inputs)["pooler"]
    assert apart(run(pooled, inputs).features, expected) <= TOLERANCE
    saved = pretrained.save(tmp_path / "minilm", minilm)
    again = transformers.AutoModel.from_pretrained(saved).eval()
    np.testing.assert_array_equal(record.reference(again, inputs)["pooler"], expected)


def test_minilm_tokenizers_agree(minilm, tmp_path):
    """Ours, transformers' and the one made from vocab.txt alone."""
    import shutil

    import transformers

    from tl_jax.pretrained.tokenizer import load_tokenizer

    folder = minilm.source["folder"]
    shutil.copy(f"{folder}/vocab.txt", tmp_path)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    plain = load_tokenizer(tmp_path, 512, 30522)
    texts = [
        "Ein naïver Café-Besuch!",
        "日本語 and [MASK] tokens",
        "",
        "x" * 120,
        "a\tb\nc",
    ]
    for text in texts:
        expected = theirs(text)["input_ids"]
        assert minilm.tokenizer.encoder.encode(text).ids == expected
        assert plain.encoder.encode(text).ids == expected
    assert plain[1:5] == minilm.tokenizer[1:5] == (0, 101, 102, 103)
