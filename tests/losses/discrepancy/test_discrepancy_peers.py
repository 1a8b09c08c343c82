"""Discrepancies against those of TLlib, pytorch-adapt and skada."""

from pathlib import Path

import jax
import numpy as np
import pytest

from tl_jax.losses.discrepancy import (
    Gaussians,
    Sinkhorn,
    coral,
    jmmd,
    joint_transport,
    mk_mmd,
    mmd,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "discrepancy.npz"
THEIRS = Gaussians((2.0, 1.0, 0.5), 2.5)
"""pytorch-adapt's exp(-c d / 5) for c of 0.5, 1 and 2: c / 5 = 1 / (2 s 2.5)."""
SHARP = Sinkhorn(5e-3, 1e-5, 5000)


def joint(s, t, p, q, softmax=True, **how):
    layers = ([x, jax.nn.softmax(z) if softmax else z] for x, z in ((s, p), (t, q)))
    return jmmd(*layers, **how)


def tllib_coral(s, t):
    """Four times the paper's, and means: `means` adds them to one time."""
    return 3 * coral(s, t) + coral(s, t, means=True)


OURS = {
    "tllib/dan": lambda s, t, *_: mk_mmd(s, t),
    "tllib/dan_linear": lambda s, t, *_: mk_mmd(s, t, linear=True),
    "tllib/jan": lambda s, t, p, q, _: joint(s, t, p, q),
    "tllib/jan_linear": lambda s, t, p, q, _: joint(s, t, p, q, linear=True),
    "tllib/coral": lambda s, t, *_: tllib_coral(s, t),
    "pytorch_adapt/mmd": lambda s, t, *_: mmd(s, t, kernel=THEIRS),
    "pytorch_adapt/jmmd": lambda s, t, p, q, _: joint(
        s, t, p, q, softmax=False, kernels=(THEIRS, THEIRS)
    ),
    "pytorch_adapt/coral": lambda s, t, *_: coral(s, t),
    "skada/coral": lambda s, t, *_: coral(s, t),
    "skada/deep_jdot": lambda s, t, p, q, y: joint_transport(
        s, t, y, q, features=0.3, how=SHARP
    ),
}
INPUTS = ("source", "target", "source_logits", "target_logits", "labels")


def agree(name, inputs, value, source, target):
    """The value and its gradients; of exact transport, which is a limit, the value."""
    found, slopes = jax.value_and_grad(OURS[name], (0, 1))(*inputs)
    if name == "skada/deep_jdot":
        np.testing.assert_allclose(found, value, rtol=1e-3)
        return
    np.testing.assert_allclose(found, value, rtol=1e-5)
    for mine, theirs in zip(slopes, (source, target), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OURS)
def test_recorded(name):
    with np.load(GOLDEN) as file:
        inputs = [file[n] for n in INPUTS]
        wanted = [file[f"{name}/{n}"] for n in ("value", "source", "target")]
    agree(name, inputs, *wanted)


@pytest.mark.parity
@pytest.mark.parametrize("name", OURS)
def test_live(name):
    pytest.importorskip("torch")
    discrepancy_peers = pytest.importorskip("discrepancy_peers")
    try:
        peer = discrepancy_peers.PEERS[name.partition("/")[0]]()
    except ModuleNotFoundError as error:
        pytest.skip(f"{error}: see the docstring of {discrepancy_peers.__file__}")
    found = discrepancy_peers.computed(peer[name])
    inputs = [discrepancy_peers.drawn()[n] for n in INPUTS]
    agree(name, inputs, found["value"], found["source"], found["target"])
