"""Adapters that were made here, written, and read: here, and with `-m parity` by PEFT.

Each is moved from its start, so that zeros hide nothing.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import record_peft_files as record
from peft_cases import TOLERANCE, apart, base_of, logits_of, plan_of

from tl_jax.interop import peft
from tl_jax.transfer import (
    adalora,
    chain,
    dora,
    ia3,
    layer_norms,
    loha,
    lokr,
    lora,
    new_head,
    olora,
    p_tuning,
    pissa,
    prefix,
    prompt,
    rate,
    rslora,
    stack_layers,
    vera,
)
from tl_jax.tree import flatten, map_with_path

QV = r"blocks/\d+/attention/(query|value)"
BIAS = rate(f"{QV}/bias", 1.0)
MADE = {
    "lora": ("bert", lora(2, QV), "LORA"),
    "lora of two ranks": (
        "bert",
        chain(lora(2, QV, 3.0), lora(3, "blocks/1/mlp/up", 5.0)),
        "LORA",
    ),
    "lora and its biases": ("bert", chain(lora(2, QV), BIAS), "LORA"),
    "lora and all biases": ("bert", chain(lora(2, QV), rate(".*/bias", 1.0)), "LORA"),
    "lora and norms": ("bert", chain(lora(2, QV), layer_norms()), "LORA"),
    "lora and a new head": ("bert", chain(lora(2, QV), new_head(3, 16)), "LORA"),
    "lora of images": (
        "vit",
        chain(lora(2, f"{QV}|blocks/0/mlp/down|embed/patches")),
        "LORA",
    ),
    "lora of fused kernels": (
        "gpt2",
        chain(lora(2, r".*/(query|value)"), lora(3, ".*/(key|up)", 4.0), BIAS),
        "LORA",
    ),
    "ia3 of fused kernels": ("gpt2", ia3(), "IA3"),
    "lora of both sides": (
        "t5",
        lora(2, r".*/(attention|cross)/(query|value)"),
        "LORA",
    ),
    "prompt of gpt2": ("gpt2", prompt(3), "PROMPT_TUNING"),
    "prompt of t5": ("t5", prompt(3), "PROMPT_TUNING"),
    "p-tuning of t5": ("t5", p_tuning(3, form="lstm", hidden=4), "P_TUNING"),
    "ia3 of t5": ("t5", ia3(), "IA3"),
    "rslora": ("llama", rslora(3, QV), "LORA"),
    "dora": ("llama", dora(2, QV), "LORA"),
    "pissa": ("llama", pissa(2, QV), "LORA"),
    "olora": ("bert", olora(2, QV), "LORA"),
    "adalora": ("bert", adalora(3, QV), "ADALORA"),
    "vera": ("llama", vera(3, rf"{QV}|.*/down"), "VERA"),
    "loha": ("llama", loha(2, QV), "LOHA"),
    "lokr": ("bert", lokr(1, QV, factor=2), "LOKR"),
    "lokr of two": ("llama", lokr(1, QV, both=True), "LOKR"),
    "ia3": ("llama", ia3(), "IA3"),
    "ia3 of bert": ("bert", ia3(), "IA3"),
    "norms": ("llama", layer_norms(), "LN_TUNING"),
    "prompt": ("words", prompt(3), "PROMPT_TUNING"),
    "prefix": ("llama", prefix(3, shift=True), "PREFIX_TUNING"),
    "projected": ("llama", prefix(3, hidden=4, shift=True), "PREFIX_TUNING"),
    "p-tuning": ("llama", p_tuning(3, form="lstm", hidden=4), "P_TUNING"),
}


def moved(plan):
    """What is trainable, moved as training would."""
    rng = np.random.default_rng(3)
    rates = flatten(plan.rates)

    def change(path, leaf):
        if not rates[path]:
            return leaf
        return leaf + 0.1 * jnp.asarray(rng.standard_normal(leaf.shape), jnp.float32)

    return plan._replace(params=map_with_path(change, plan.params))


@pytest.fixture(scope="module")
def bases():
    return {family: base_of(family) for family in record.BASES}


@pytest.fixture
def made(request, bases, tmp_path):
    """(family, kind, our logits, the folder that was written)."""
    family, transfer, kind = MADE[request.param]
    base = bases[family]
    plan = moved(plan_of(base, transfer))
    folder = peft.write(tmp_path / "adapter", plan, base)
    return family, kind, logits_of(base, plan.params, family), folder


@pytest.mark.parametrize("made", MADE, indirect=True)
def test_what_is_written_is_read_again(made, bases):
    family, kind, expected, folder = made
    base = bases[family]
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["peft_type"] == kind
    plan = plan_of(base, peft.read(folder, base))
    assert apart(family, logits_of(base, plan.params, family), expected) <= TOLERANCE
    assert apart(family, logits_of(base, base.params, family), expected) > 1e-3
    again = peft.write(folder.parent / "again", plan, base)
    both = [(f / "adapter_model.safetensors").read_bytes() for f in (folder, again)]
    assert both[0] == both[1]


@pytest.mark.parity
@pytest.mark.parametrize("made", MADE, indirect=True)
def test_peft_reads_what_is_written(made):
    """Onto the base as transformers loads it; every tensor finds its place."""
    import peft as theirs
    from safetensors import safe_open

    family, _, expected, folder = made
    base = record.base_of(family)
    model = theirs.PeftModel.from_pretrained(base, folder).eval()
    found = record.logits(model, family)
    assert apart(family, found, expected) <= TOLERANCE
    with safe_open(folder / "adapter_model.safetensors", "np") as file:
        names = set(file.keys())
    known = set(theirs.get_peft_model_state_dict(model))
    assert names <= known | {n for n in names if ".base_layer." in n}


@pytest.mark.parity
@pytest.mark.parametrize("case", record.CASES)
def test_what_peft_writes_is_read(case, bases, tmp_path):
    family = record.CASES[case][0]
    model, base = record.adapted(case, seed=91), bases[family]
    expected = record.logits(model, family)
    record.save(model, tmp_path / "theirs")
    plan = plan_of(base, peft.read(tmp_path / "theirs", base))
    assert apart(family, logits_of(base, plan.params, family), expected) <= TOLERANCE


def test_a_stacked_plan_is_written_block_by_block(bases, tmp_path):
    base = bases["bert"]
    plan = moved(plan_of(base, lora(2, QV)))
    one = peft.write(tmp_path / "one", plan, base)
    two = peft.write(tmp_path / "two", stack_layers(plan), base)
    name = "adapter_model.safetensors"
    assert (one / name).read_bytes() == (two / name).read_bytes()


def test_pissa_is_written_beside_the_base_itself(bases, tmp_path):
    """Of twice the rank, whose product is added to kernels that did not move."""
    base = bases["bert"]
    folder = peft.write(tmp_path / "x", moved(plan_of(base, pissa(2, QV))), base)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["r"] == 4
    assert config["init_lora_weights"] is True
    plan = plan_of(base, peft.read(folder, base))
    kernel = "blocks/0/attention/query/kernel"
    np.testing.assert_array_equal(
        flatten(plan.params)[kernel], flatten(base.params)[kernel]
    )


def test_a_new_head_goes_along(bases, tmp_path):
    """Of a base that was loaded without one, with other classes."""
    from tl_jax import pretrained

    folder = record.HERE / record.BASES["bert"][0]
    bare = pretrained.load(folder, head="drop", features="pooler")
    plan = moved(plan_of(bare, chain(lora(2, QV), new_head(5, 16))))
    wrote = peft.write(tmp_path / "five", plan, bare)
    config = json.loads((wrote / "adapter_config.json").read_text())
    assert config["modules_to_save"] == ["classifier"]
    again = plan_of(bare, peft.read(wrote, bare))
    expected = logits_of(bare, plan.params, "bert")
    assert expected.shape == (3, 5)
    assert apart("bert", logits_of(bare, again.params, "bert"), expected) <= TOLERANCE
    assert again.rates["head"]["kernel"] == 1.0
    jax.tree.map(lambda p, r: None, again.params, again.rates)
