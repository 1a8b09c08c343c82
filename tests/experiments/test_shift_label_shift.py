"""Weights by classes whose shares the target changes."""

import numpy as np
import pytest
from tiny_shift import shifted, write_domains
from tiny_study import result, run

from experiments.shift.weightings import WEIGHTINGS


@pytest.mark.parametrize("name", ["bbse", "em"])
def test_shares_of_the_target_are_found(name):
    """Two clouds, half and half; of the target a fifth is of the first."""
    rng = np.random.default_rng(0)

    def rows(labels):
        return (rng.normal(size=(len(labels), 3)) + 2 * labels[:, None]).astype("f")

    labels = np.repeat([0, 1], 1000)
    source, target = rows(labels), rows(np.repeat([0, 1], [400, 1600]))
    found = WEIGHTINGS[name](source, target, labels=labels)
    wanted = np.where(labels, 1.6, 0.4)
    np.testing.assert_allclose(found.values, wanted, atol=0.06)
    assert found.told["effective_sample_size"] < 1600


def test_a_study_weighs_by_classes(tiny_model, tmp_path):
    paths = write_domains(tmp_path)
    config = shifted(tiny_model, paths, em={"rate": 1e-2, "reweigh": {"em": {}}})
    run(config, tmp_path / "runs")
    told = result(tmp_path / "runs", "em")["shift"]["weights"]
    assert told["method"] == "em"
    assert 0 < told["effective_sample_size"] <= told["rows"]
