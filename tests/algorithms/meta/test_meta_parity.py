"""The recorded references are what torch, and learn2learn where it is, compute now."""

import importlib.util
import sys
from types import ModuleType

import numpy as np
import pytest
from recorded import everything, under

from experiments.benchmarks.source import HOW

pytestmark = pytest.mark.parity
MODULES = ("learn2learn", "qpth")
ABSENT = [name for name in MODULES if importlib.util.find_spec(name) is None]


def torch_of(prefix: str, dtype: str = "float64") -> dict:
    import torch

    found = {n: torch.from_numpy(a) for n, a in under(prefix).items()}
    wide = getattr(torch, dtype)
    return {n: t.to(wide) if t.is_floating_point() else t for n, t in found.items()}


def agree(found: dict, at: str, limit: float) -> None:
    """Each array to `limit` of its largest entry, or of a tenth of the largest."""
    wanted = under(at)
    assert found.keys() == wanted.keys()
    floor = 0.1 * max(np.abs(expected).max() for expected in wanted.values())
    for name, expected in wanted.items():
        error = np.abs(np.asarray(found[name].detach()) - expected).max()
        assert error < limit * max(np.abs(expected).max(), floor), name


def inner_of(method: str):
    """(rule, further settings) of a recorded method of the MLP, in plain torch."""
    import meta_torch as plain

    if "adam" in method:
        return plain.adam(0.01, eps_root=1e-6 if "root" in method else 0.0), {}
    if method == "maml_momentum":
        return plain.sgd(0.05, 0.9), {}
    how = {
        "maml": {},
        "fomaml": {"first_order": True},
        "anil": {"moves": ["head/kernel", "head/bias"]},
    }
    return plain.sgd(0.05), how[method]


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_mlp(activation):
    """Everything but Meta-SGD and Reptile, by its name."""
    import meta_torch as plain

    weights, tasks = torch_of("mlp/weights"), torch_of("mlp/tasks")
    at = f"mlp/{activation}"
    names = sorted({name.split("/")[0] for name in under(at)})
    done = [n for n in names if not n.startswith(("meta_sgd", "reptile"))]
    assert len(done) == (9 if activation == "tanh" else 8)
    for name in done:
        method, _, steps = name.rpartition("_")
        rule, how = inner_of(method)
        loss = plain.squared(activation)
        value, grads = plain.maml(loss, weights, tasks, int(steps), rule, **how)
        agree(grads, f"{at}/{name}/grad", 1e-10)
        np.testing.assert_allclose(value, everything()[f"{at}/{name}/loss"], rtol=1e-10)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("steps", [1, 5])
def test_meta_sgd(activation, steps):
    import meta_torch as plain

    weights, rates, tasks = map(torch_of, ("mlp/weights", "mlp/rates", "mlp/tasks"))
    loss, at = plain.squared(activation), f"mlp/{activation}/meta_sgd_{steps}"
    value, grads, of_rates = plain.meta_sgd(loss, weights, rates, tasks, steps)
    agree(grads, f"{at}/grad", 1e-10)
    agree(of_rates, f"{at}/grad_rates", 1e-10)
    np.testing.assert_allclose(value, everything()[f"{at}/loss"], rtol=1e-10)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_reptile(activation):
    import meta_torch as plain

    weights, tasks = torch_of("mlp/weights"), torch_of("mlp/tasks")
    loss, rule = plain.squared(activation), plain.sgd(0.05)
    found = plain.reptile(loss, weights, tasks, 5, rule, 0.5)
    agree(found, f"mlp/{activation}/reptile_5/weights", 1e-12)


@pytest.mark.parametrize("dtype, limit", [("float64", 1e-9), ("float32", 1e-4)])
@pytest.mark.parametrize("method", ["maml", "fomaml"])
def test_conv4(method, dtype, limit):
    import meta_torch as plain

    weights, tasks = torch_of("conv4/weights", dtype), torch_of("conv4/tasks", dtype)
    rule, how = plain.sgd(0.1), {"first_order": method == "fomaml"}
    value, grads = plain.maml(plain.crossed, weights, tasks, 2, rule, **how)
    at = f"conv4/{dtype}/{method}_2"
    agree(grads, f"{at}/grad", limit)
    np.testing.assert_allclose(value, everything()[f"{at}/loss"], rtol=limit)


@pytest.mark.skipif(bool(ABSENT), reason=f"without {', '.join(ABSENT)}: {HOW}")
def test_learn2learn(monkeypatch):
    """The whole recording again; what is plain torch in it is compared, too."""
    import record_meta
    import torch

    monkeypatch.setitem(sys.modules, "cvxpy", ModuleType("cvxpy"))
    before = torch.get_default_dtype()
    try:
        found = record_meta.everything()
    finally:
        torch.set_default_dtype(before)
    assert found.keys() == everything().keys()
    for name, expected in everything().items():
        limit = 1e-4 if found[name].dtype == np.float32 else 1e-8
        scale = max(np.abs(expected).max(), 1e-2)
        assert np.abs(found[name] - expected).max() <= limit * scale, name
