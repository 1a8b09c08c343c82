"""Runs of a study as folders of PEFT."""

import json

import jax
import numpy as np
import pytest
from tiny_study import labelled, small, strategies, write

from configs.strategies import FREEZE, FULL, HEAD, LORA
from experiments import launch
from experiments.export import main
from tl_jax import pretrained
from tl_jax.interop import peft
from tl_jax.transfer import freeze, full

PISSA = {"transform": "pissa", "rank": 2, "where": r"blocks/\d+/attention/query"}


@pytest.fixture(scope="module")
def study(tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    config = small(tiny_model, write(folder, "classification", ".csv"))
    config.model.features = "pooler"
    named = {
        "lora": LORA | {"rate": 1e-2},
        "pissa": {"rate": 1e-2, "plan": (FREEZE, PISSA, HEAD)},
        "full": FULL | {"rate": 1e-4},
    }
    launch.study(strategies(config, **named), folder / "runs", ["test"], lambda: False)
    return folder


@pytest.mark.parametrize("name", ["lora", "pissa"])
def test_a_run_is_an_adapter(name, study, tiny_model, tmp_path, capsys):
    """Read again beside the base, it gives the logits that the run saved."""
    out = tmp_path / "adapter"
    flags = [f"--workdir={study / 'runs'}", f"--output={out}", f"--strategy={name}"]
    assert main(flags) == 0
    assert f"{name}, seed 0: {out}" in capsys.readouterr().out
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(tiny_model)
    assert config["modules_to_save"] == ["classifier"]
    base = pretrained.load(tiny_model, head="drop", features="pooler")
    plan = freeze(".*")(jax.random.key(0), full(base.params))
    plan = peft.read(out, base)(jax.random.key(0), plan)
    saved = np.load(study / "runs" / name / "0" / "predictions.npz")
    texts = [row["text"] for row in labelled("classification")]
    ids = [base.tokenizer.encoder.encode(texts[i]).ids[:16] for i in saved["index"]]
    tokens = np.zeros((len(ids), 16), np.int32)
    for row, own in zip(tokens, ids, strict=True):
        row[: len(own)] = own
    mask = np.arange(16) < np.array([[len(own)] for own in ids])
    found = base.model.apply(plan.params, {}, {"tokens": tokens, "mask": mask})[0]
    np.testing.assert_allclose(found.logits, saved["logits"], rtol=1e-4, atol=1e-5)


def test_what_is_no_adapter_is_told(study, tmp_path, capsys):
    out = tmp_path / "adapter"
    flags = [f"--workdir={study / 'runs'}", f"--output={out}"]
    assert main([*flags, "--strategy=full"]) == 2
    told = capsys.readouterr().err
    assert "full is no adapter of PEFT's" in told
    assert "expected norms alone" in told
    assert not out.exists()
    assert main([*flags, "--strategy=lorra"]) == 2
    assert "nearest: lora" in capsys.readouterr().err
    out.mkdir()
    assert main([*flags, "--strategy=lora"]) == 2
    assert "overwrite=True" in capsys.readouterr().err
