"""Tasks at once, in turn, or as the device at hand has it."""

import jax
import numpy as np
import pytest

from tl_jax.algorithms.meta import tasks
from tl_jax.tree import NoMatch


def squares(x, y):
    return {"sum": (x * y).sum(), "x": x**2}


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("way", ["auto", "vmap", "map"])
def test_every_way_is_a_loop(way, parts):
    x, y = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("f")
    found = jax.jit(lambda *args: tasks.over_tasks(squares, args, way, parts))(x, y)
    np.testing.assert_allclose(found["sum"], [a @ b for a, b in zip(x, y, strict=True)])
    np.testing.assert_allclose(found["x"], x**2, rtol=1e-6)


def test_auto_is_in_turn_on_cpus_alone(monkeypatch):
    assert tasks.chosen("auto") == "map"
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert [tasks.chosen(way) for way in ("auto", "map")] == ["vmap", "map"]


def test_another_way_is_refused_with_the_nearest():
    with pytest.raises(NoMatch, match="vmap"):
        tasks.over_tasks(squares, (np.ones(2), np.ones(2)), "vmapp")
