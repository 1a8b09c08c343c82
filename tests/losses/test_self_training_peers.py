"""Losses of self-training against what TLlib and pytorch-adapt computed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from self_training_peers import cases, of_pytorch_adapt, of_tllib

from tl_jax.losses import (
    believed,
    class_confusion,
    class_thresholds,
    diversity,
    nuclear_norm,
    pseudo_label_loss,
    squared_consistency,
)
from tl_jax.losses.adversarial import entropy
from tl_jax.losses.consistency import relabelled, rise


@pytest.fixture(scope="module")
def peers(golden):
    with np.load(golden / "self_training.npz") as file:
        return dict(file)


def ours(given):
    """Name of a recorded value -> (our loss, the name of its logits)."""
    sure = jnp.asarray(given["sure"])
    return {
        "tllib/confusion/wide": (class_confusion, "wide"),
        "tllib/confusion/few": (lambda x: class_confusion(x, temperature=1.0), "few"),
        "tllib/pseudo/wide": (lambda x: pseudo_label_loss(x, sure, 0.9).mean(), "wide"),
        "tllib/square/wide": (lambda x: squared_consistency(x, sure).mean(), "wide"),
        "adapt/mcc/wide": (class_confusion, "wide"),
        "adapt/bnm/wide": (nuclear_norm, "wide"),
        "adapt/bnm/few": (nuclear_norm, "few"),
        "adapt/entropy/wide": (lambda x: entropy(x).mean(), "wide"),
        "adapt/diversity/wide": (diversity, "wide"),
    }


def close(found, wanted, tolerance=1e-5):
    """Within a share of the largest value that there is."""
    far = np.abs(np.asarray(found) - wanted).max()
    assert far <= tolerance * np.abs(wanted).max(), far


@pytest.mark.parametrize("name", ours(cases()))
def test_values_and_slopes_are_the_peers(peers, name):
    """TLlib's entropies have 1e-5 in their logarithm, which moves weights by 1e-5."""
    given = cases()
    loss, logits = ours(given)[name]
    value, slope = jax.jit(jax.value_and_grad(loss))(jnp.asarray(given[logits]))
    close(value, peers[name], 2e-5)
    close(slope, peers[f"{name}/slope"], 5e-5)


def thresholds(given, warm_up):
    labels, found = jnp.full(30, -1), []
    for index, logits in zip(given["index"], given["series"], strict=True):
        found.append(class_thresholds(labels, 4, 0.8, warm_up=warm_up))
        labels = relabelled(labels, index, believed(logits, 0.8), jnp.ones(len(index)))
    return np.stack(found), labels


@pytest.mark.parametrize(("name", "warm_up"), [("cold", False), ("warm", True)])
def test_a_series_of_thresholds_is_tllibs(peers, name, warm_up):
    found, labels = thresholds(cases(), warm_up)
    close(found, peers[f"tllib/flex/{name}"])
    np.testing.assert_array_equal(labels, peers[f"tllib/flex/{name}/labels"])
    assert len(np.unique(found)) > 8  # they do move


def test_the_rise_is_tllibs(peers):
    close(rise(jnp.arange(7) / 8, 0.5), peers["tllib/ramp"])


@pytest.mark.parity
def test_the_recording_is_what_tllib_computes(peers):
    pytest.importorskip("torch", reason="TLlib wants torch")
    try:
        found = of_tllib(cases())
    except ImportError as error:
        pytest.skip(f"TLlib (github.com/thuml/Transfer-Learning-Library): {error}")
    for name, value in found.items():
        close(value, peers[f"tllib/{name}"], 1e-6)


@pytest.mark.parity
def test_the_recording_is_what_pytorch_adapt_computes(peers):
    pytest.importorskip("torch", reason="pytorch-adapt wants torch")
    try:
        found = of_pytorch_adapt(cases())
    except ImportError as error:
        pytest.skip(f"pip install --no-deps pytorch-adapt: {error}")
    for name, value in found.items():
        close(value, peers[f"adapt/{name}"], 1e-6)
