"""PEFT's files: read as PEFT computes them, written as PEFT reads them."""

import json

import numpy as np
import pytest
import record_peft_files as record
from peft_cases import TOLERANCE, apart, base_of, logits_of, plan_of

from tl_jax.interop import peft


@pytest.fixture(scope="module")
def answers(golden):
    with np.load(golden / "peft.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def bases():
    return {family: base_of(family) for family in record.BASES}


@pytest.mark.parametrize("case", record.CASES)
def test_an_adapter_is_read_and_written(case, answers, bases, golden, tmp_path):
    """PEFT's logits; and what is written is read as the same function again."""
    family = record.CASES[case][0]
    base, expected = bases[family], answers[f"logits/{case}"]
    plan = plan_of(base, peft.read(golden / "peft" / case, base))
    assert apart(family, logits_of(base, plan.params, family), expected) <= TOLERANCE
    bare = logits_of(base, base.params, family)
    assert apart(family, bare, expected) > 1e-3
    folder = peft.write(tmp_path / "own", plan, base)
    again = plan_of(base, peft.read(folder, base))
    assert apart(family, logits_of(base, again.params, family), expected) <= TOLERANCE
    config = json.loads((folder / "adapter_config.json").read_text())
    theirs = json.loads((golden / "peft" / case / "adapter_config.json").read_text())
    same = {"prompt": "PROMPT_TUNING", "p_tuning": "PROMPT_TUNING"}
    assert config["peft_type"] == same.get(case, theirs["peft_type"])
    assert config["task_type"] == theirs["task_type"]
