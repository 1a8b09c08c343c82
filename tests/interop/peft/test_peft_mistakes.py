"""What does not fit is told, with the key, what was found and what was expected."""

import json
import shutil

import jax
import numpy as np
import pytest
import record_peft_files as record
from peft_cases import base_of, logits_of, plan_of
from safetensors.numpy import load_file, save_file

from tl_jax.interop import peft
from tl_jax.transfer import (
    chain,
    context,
    full,
    ia3,
    lora,
    prefix,
    prompt,
    rate,
)
from tl_jax.tree import NoMatch, put

QV = r"blocks/\d+/attention/(query|value)"
QUERY = "base_model.model.bert.encoder.layer.0.attention.self.query"
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@pytest.fixture(scope="module")
def bert():
    return base_of("bert")


@pytest.fixture(scope="module")
def words():
    return base_of("words")


@pytest.fixture(scope="module")
def llama():
    return base_of("llama")


@pytest.fixture
def changed(golden, tmp_path):
    """(case, config's changes, tensors' changes; None drops) -> a folder."""

    def make(case, config=None, tensors=None):
        folder = tmp_path / "adapter"
        shutil.copytree(golden / "peft" / case, folder)
        told = json.loads((folder / CONFIG).read_text()) | (config or {})
        (folder / CONFIG).write_text(json.dumps(told))
        held = load_file(folder / WEIGHTS) | (tensors or {})
        save_file({k: v for k, v in held.items() if v is not None}, folder / WEIGHTS)
        return folder

    return make


ZEROS = np.zeros((2, 16), np.float32)
FILES = {
    "kind": (
        "lora",
        {"peft_type": "LORRA"},
        {},
        "'LORRA' matches nothing; nearest: LO",
    ),
    "field": ("lora", {"use_qalora": True}, {}, "use_qalora is True.*expected null"),
    "new field": ("lora", {"use_dorb": 3}, {}, "use_dorb is 3.*nearest: use_dora"),
    "start": (
        "lora",
        {"init_lora_weights": "loftq"},
        {},
        "init_lora_weights is 'loftq', which changes the base",
    ),
    "number": ("lora", {"lora_dropout": "a"}, {}, "lora_dropout is 'a', expected a fl"),
    "rank": ("lora", {"r": 5}, {}, "tensors are of rank 2, but .* says 5"),
    "missing": ("lora", {}, {f"{QUERY}.lora_B.weight": None}, "tensor 'lora_B.weight'"),
    "shape": (
        "lora",
        {},
        {f"{QUERY}.lora_A.weight": ZEROS[:, :7]},
        r"query.lora_A.weight is \[2, 7\], expected \['any', 16\]",
    ),
    "module": (
        "lora",
        {},
        {f"{QUERY.replace('query', 'qerry')}.lora_A.weight": ZEROS},
        "module 'bert.encoder.layer.0.attention.self.qerry' matches nothing; nearest",
    ),
    "tensor": (
        "lora",
        {},
        {f"{QUERY}.lora_C.weight": ZEROS},
        "tensor 'bert.*lora_C.weight' matches nothing; nearest: bert",
    ),
    "spare": (
        "lora",
        {},
        {f"{QUERY}.lora_magnitude_vector": np.zeros(16, np.float32)},
        "query has lora_magnitude_vector, which no patch here holds",
    ),
    "beginning": (
        "lora",
        {},
        {"x.lora_A.weight": ZEROS},
        "'x.lora_A.weight', expected",
    ),
    "matrices": ("vera", {"save_projection": False}, {}, "save_projection is false"),
    "length": (
        "prompt",
        {"num_virtual_tokens": 4},
        {},
        r"prompt_embeddings is \[3, 16\], expected \[4, 16\]",
    ),
    "sides": ("prompt", {"num_transformer_submodules": 2}, {}, "is 2, expected 1"),
}


@pytest.mark.parametrize("mistake", FILES)
def test_mistakes_of_a_file(mistake, changed, bert, llama, words):
    case, config, tensors, told = FILES[mistake]
    base = {"bert": bert, "llama": llama, "words": words}[record.CASES[case][0]]
    with pytest.raises((ValueError, NoMatch), match=told):
        peft.read(changed(case, config, tensors), base)


def test_a_folder_without_files_is_told(tmp_path, bert):
    (tmp_path / "readme.txt").write_text("")
    with pytest.raises(FileNotFoundError, match="holds readme.txt, expected adapter_c"):
        peft.read(tmp_path, bert)


def test_an_adapter_of_another_base_is_told(golden, llama):
    with pytest.raises(NoMatch, match="bert.encoder.layer.0.*matches nothing"):
        peft.read(golden / "peft" / "lora", llama)


def test_another_tree_than_was_read_for_is_told(golden, bert):
    transfer = peft.read(golden / "peft" / "dora", bert)
    kernel = "blocks/0/attention/query/kernel"
    other = full(put(bert.params, kernel, np.zeros((3, 16))))
    with pytest.raises(ValueError, match=r"query/kernel is \[3, 16\], but the adapter"):
        transfer(jax.random.key(0), other)
    twice = chain(transfer, transfer)
    with pytest.raises(ValueError, match="query/patch/lora' is taken by DoRA"):
        twice(jax.random.key(0), full(bert.params))


PLANS = {
    "two kinds": (chain(lora(2, QV), ia3(".*/key")), "patches IA3, LoRA, expected tho"),
    "two at a site": (
        chain(lora(2, QV), lora(2, QV, name="more")),
        "query has patches lora, more, expected one",
    ),
    "none of theirs": (context(2, QV), "patches Context, expected those of one kind"),
    "nothing": (chain(), "no patch and no norm that moved"),
    "no norms": (rate(".*/kernel", 1.0), "no patch is there: expected norms alone"),
    "a kernel below": (
        chain(lora(2, QV), rate(".*/query/kernel", 1.0)),
        "query: its weights moved and it has a patch",
    ),
    "a bias below": (chain(ia3(), rate(f"{QV}/bias", 1.0)), "IA3 trains no biases"),
    "positions": (prefix(2), "begin behind the prefix, at 2.*moved up by 0"),
    "pooling": (prompt(2), "classifier reads the first word of the prompt"),
    "some blocks": (
        prefix(2, "blocks/0/attention", shift=True),
        "prefixes at 1 of 2 attentions",
    ),
}


@pytest.mark.parametrize("mistake", PLANS)
def test_mistakes_of_a_plan(mistake, bert, tmp_path):
    transfer, told = PLANS[mistake]
    plan = plan_of(bert, transfer)
    moved = jax.tree.map(lambda x, r: x + 0.1 if r else x, plan.params, plan.rates)
    with pytest.raises(ValueError, match=told):
        peft.write(tmp_path / "x", plan._replace(params=moved), bert)
    assert not (tmp_path / "x").exists()


def test_a_folder_that_is_there_stays(bert, tmp_path):
    plan = plan_of(bert, lora(2, QV))
    folder = peft.write(tmp_path / "x", plan, bert)
    with pytest.raises(FileExistsError, match="overwrite=True replaces"):
        peft.write(folder, plan, bert)
    peft.write(folder, plan_of(bert, lora(3, QV)), bert, overwrite=True)
    assert json.loads((folder / CONFIG).read_text())["r"] == 3


def test_an_adapter_of_a_prompt_is_read_where_pooling_agrees(golden, words, bert):
    """BERT's classifier of PEFT reads the prompt; tags are of own tokens."""
    plan = plan_of(words, peft.read(golden / "peft" / "prompt", words))
    assert logits_of(words, plan.params, "words").shape == (3, 7, 5)
    with pytest.raises(ValueError, match="first word of the prompt"):
        peft.read(golden / "peft" / "prompt", bert)
