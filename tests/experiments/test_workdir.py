"""One process at a time works in a workdir, and only on what it was made for."""

import json

import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from configs import base
from experiments.loop import all_finite
from experiments.workdir import check_workdir, locked


def test_a_second_process_is_refused_and_the_lock_goes(tmp_path):
    with (
        locked(tmp_path / "runs"),
        pytest.raises(BlockingIOError, match="another process works in it"),
        locked(tmp_path / "runs"),
    ):
        pass
    with locked(tmp_path / "runs"):
        assert (tmp_path / "runs").is_dir()


def test_another_config_is_refused_by_field(tmp_path):
    config = ConfigDict({"steps": 3, "seeds": [0], "data": {"length": 16}})
    asked = json.loads(config.to_json())
    (tmp_path / "tune.json").write_text(json.dumps({"asked": asked}))
    config.seeds = [0, 1]
    check_workdir(config, tmp_path, "tune.json")
    config.data.length = 32
    with pytest.raises(ValueError, match=r"data\.length: 16 there, 32 asked for"):
        check_workdir(config, tmp_path, "tune.json")


@pytest.mark.parametrize("value", [0, "", (), False, None])
def test_a_field_of_a_later_version_is_no_other_work_while_it_is_off(value, tmp_path):
    config = ConfigDict({"steps": 3, "shift": {}})
    (tmp_path / "study.json").write_text(json.dumps({"asked": config.to_dict()}))
    check_workdir(ConfigDict({"steps": 3, "shift": {"limit": value}}), tmp_path)
    on = ConfigDict({"steps": 3, "shift": {"limit": 5}})
    with pytest.raises(ValueError, match=r"shift\.limit: None there, 5 asked for"):
        check_workdir(on, tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "free"),
    [
        ("axes", "fsdp", True),
        ("rules", (("head/.*", ("fsdp",)),), True),
        ("host_devices", 8, True),
        ("batch_norm", "replica", False),
    ],
)
def test_a_layout_may_change_and_what_moves_numbers_may_not(
    field, value, free, tmp_path
):
    config = base.get_config()
    asked = json.loads(config.to_json())
    (tmp_path / "study.json").write_text(json.dumps({"asked": asked}))
    config.mesh[field] = value
    if free:
        check_workdir(config, tmp_path)
        return
    with pytest.raises(ValueError, match=f"mesh.{field}: 'global' there"):
        check_workdir(config, tmp_path)


def test_weights_that_are_no_numbers_are_seen():
    good = {"a": jnp.ones(3), "hole": None}
    assert all_finite(good)
    assert all_finite({})
    assert not all_finite(good | {"b": jnp.asarray([1.0, jnp.inf])})
