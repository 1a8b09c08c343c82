"""The study of the moons by config, and every adversary in it for a few steps."""

import pytest
from tiny_study import result, run

from configs.moons_dann import get_config

CRITIC = {"widths": (6,)}
ADAPT = {
    "dann": {"dann": {"critic": CRITIC, "steepness": 5.0}},
    "cdan": {"cdan": {"critic": CRITIC, "entropy": True}},
    "projected": {"cdan": {"critic": CRITIC, "size": 8}},
    "mdd": {"mdd": {"adversary": CRITIC, "gamma": 2.0}},
    "mcd": {"mcd": {"generator_steps": 2}},
    "adda": {"adda": {"critic": CRITIC}},
    "wdgrl": {"wdgrl": {"critic": CRITIC, "critic_steps": 2}},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    config = get_config()
    config.seeds, config.steps = (0,), 200
    config.every.call, config.every.evaluate = 50, 200
    config.strategies = {
        name: {"pretrained": False, "rate": 0.1, "adapt": table}
        for name, table in ADAPT.items()
    } | {"source": config.strategies["source"].to_dict()}
    config.run = ",".join(config.strategies)
    workdir = tmp_path_factory.mktemp("moons")
    run(config, workdir)
    return workdir


@pytest.mark.parametrize("name", ADAPT)
def test_each_runs_by_its_table(study, name):
    scores = result(study, name)
    assert scores["test"]["accuracy"] > 0.6 or name == "adda"  # from random features
    assert scores["test"] != result(study, "source")["test"]


def test_the_configs_arguments():
    with pytest.raises(ValueError, match="takes no argument, found 'x'"):
        get_config("x")
