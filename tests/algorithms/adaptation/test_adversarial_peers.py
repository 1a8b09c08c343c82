"""Adversarial losses and terms against those of TLlib and pytorch-adapt."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tl_jax.algorithms.adaptation import Seen, Side, cdan, dann, mdd
from tl_jax.losses import adversarial as a
from tl_jax.types import Outputs

GOLDEN = Path(__file__).parents[2] / "golden" / "adversarial.npz"
SIDES = ("source", "target", "source_logits", "target_logits")
PROGRESS = 0.3


def running(given, outputs):
    """Runs the critic of `outputs` logits that the peers have."""

    def run(player, inputs, *, key=None, norm="batch", params=None):
        x = inputs["features"]
        size = x.shape[1]
        hidden = jax.nn.relu(x @ given[f"in{size}"] + given[f"bias{size}"])
        return Outputs(hidden, hidden @ given[f"out{outputs}"]), {}

    return run


def seen(given, inputs, outputs, own=None):
    s, t, p, q = inputs
    sides = (
        Side(Outputs(x, logits), {"weight": jnp.ones(len(x))})
        for x, logits in ((s, p), (t, q))
    )
    key = jax.random.key(0)
    run = running(given, outputs)
    return Seen({}, {}, own, jnp.float32(PROGRESS), key, run, *sides)


def of(made, outputs=1, maps=False):
    """The value of a term."""

    def value(given, inputs):
        own = (given["of_features"], given["of_shares"]) if maps else None
        return made.value(seen(given, inputs, outputs, own)).value

    return value


CDAN = dict(classes=3, steepness=1.0)
OURS = {
    "tllib/dann": of(dann(steepness=1.0)),
    "tllib/dann_two": of(dann(steepness=1.0), 2),
    "tllib/cdan": of(cdan(**CDAN)),
    "tllib/cdan_entropy": of(cdan(entropy=True, **CDAN)),
    "tllib/cdan_random": of(cdan(size=7, **CDAN), maps=True),
    "tllib/mdd": of(mdd(steepness=1.0), 3),
    "tllib/mcd": lambda _, x: a.classifier_discrepancy(x[2], x[3]).mean(),
    "tllib/balance": lambda _, x: a.balance(x[3]),
    "pytorch_adapt/mcd": lambda _, x: a.classifier_discrepancy(x[2], x[3]).mean(),
    "pytorch_adapt/entropy": lambda _, x: a.entropy(x[3]).mean(),
}
NEAR = {"tllib/cdan_entropy": 1e-4, "tllib/mdd": 1e-4}
"""Where TLlib has log(p + 1e-5), or 1 - q + 1e-6."""


def agree(name, given, wanted):
    """The value, and the gradients of features and logits."""
    inputs = [jnp.asarray(given[n]) for n in SIDES]
    found, slopes = jax.value_and_grad(lambda x: OURS[name](given, x))(inputs)
    near = NEAR.get(name, 1e-5)
    np.testing.assert_allclose(found, wanted["value"], rtol=near)
    for side, slope in zip(SIDES, slopes, strict=True):
        np.testing.assert_allclose(slope, wanted[side], rtol=near, atol=near / 10)


@pytest.mark.parametrize("name", OURS)
def test_recorded(name):
    with np.load(GOLDEN) as file:
        given = dict(file)
    agree(name, given, {n: given[f"{name}/{n}"] for n in ("value", *SIDES)})


@pytest.mark.parity
@pytest.mark.parametrize("name", OURS)
def test_live(name):
    pytest.importorskip("torch")
    peers = pytest.importorskip("adversarial_peers")
    try:
        peer = peers.PEERS[name.partition("/")[0]]()
    except ModuleNotFoundError as error:
        pytest.skip(f"{error}: see the docstring of {peers.__file__}")
    agree(name, peers.drawn(), peers.computed(peer[name]))
