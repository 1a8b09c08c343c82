"""The sides of the rows of adaptation do the same work."""

import importlib.util

import numpy as np
import pytest

from experiments.benchmarks import adaptation, client, source
from experiments.benchmarks.rows import ROWS, adapting, discrepancies

LOSSES = ("mmd", "jmmd", "coral", "cdan")
STEPS = (("dann", "mlp"), ("dan", "mlp"), ("dann", "conv4"))


@pytest.fixture
def theirs():
    """Skips where TLlib is not there."""
    pytest.importorskip("torch")
    for name in (source.TLLIB, source.TABLES):
        if importlib.util.find_spec(name) is None:
            pytest.skip(source.HOWS[name])


@pytest.fixture
def small(monkeypatch):
    """The rows' work at tiny sizes."""
    for module, sizes in {
        adaptation: dict(BATCH=6, WIDTH=5, CLASSES=3),
        discrepancies: dict(BATCH=6, WIDTH=5, CLASSES=3, CDAN_CLASSES=3),
        adapting: dict(BATCH=6, WIDTH=5, CLASSES=3, INPUTS=4, HIDDEN=5, FILTERS=4),
    }.items():
        for name, size in sizes.items():
            monkeypatch.setattr(module, name, size)


def facts(ready) -> list[float]:
    ready.call()
    ready.call()
    return list(ready.facts().values())


@pytest.mark.parity
@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_one_number(name, small, theirs):
    found = facts(discrepancies.with_tllib(name, False, "float32"))
    (wanted,) = facts(discrepancies.with_us(name, "float32"))
    np.testing.assert_allclose(found, [wanted], rtol=1e-4)


@pytest.mark.parity
@pytest.mark.parametrize("method, network", STEPS)
def test_steps_have_one_course(method, network, small, theirs):
    """Two steps' losses, from the same weights."""
    found = facts(adapting.with_tllib(method, network, False, "float32"))
    wanted = facts(adapting.with_us(method, network, "float32"))
    np.testing.assert_allclose(found, wanted, rtol=2e-4)
    assert wanted[0] != pytest.approx(wanted[1])


def test_our_sides_run(small):
    """Without torch, too."""
    (value,) = facts(discrepancies.with_us("coral", "float32"))
    assert value > 0
    first, second = facts(adapting.with_us("dan", "mlp", "float32"))
    assert first != second


def test_who_lacks_tllib_is_told_where_it_is(monkeypatch):
    real = importlib.util.find_spec
    hidden = {source.TLLIB}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n in hidden else real(n)
    )
    side = ROWS["loss_mmd"].peers[0]
    told = client.missing(side)
    assert "tllib" in told
    assert "Transfer-Learning-Library" in told
