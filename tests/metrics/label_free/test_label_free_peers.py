"""Scores without target labels against pytorch-adapt and skada, recorded and live."""

from pathlib import Path

import numpy as np
import pytest
from record_selectors import arrays, scorers, validators

from tl_jax.metrics import label_free, task
from tl_jax.metrics.label_free import SELECTORS, Evidence

GIVEN = Evidence(**arrays())
GOLDEN = dict(np.load(Path(__file__).parents[2] / "golden" / "selectors.npz"))


@pytest.mark.parametrize("name", ["entropy", "information", "bnm", "snd", "dev"])
def test_equals_pytorch_adapt(name):
    want = float(GOLDEN[f"adapt/{name}"])
    assert SELECTORS[name].score(GIVEN) == pytest.approx(want, rel=1e-5)


def skadas(**changes):
    """The evidence of the regression that skada's scorers were given."""
    logits = {
        f"{side}_logits": GOLDEN[f"skada/logits/{side}"]
        for side in ("source", "target")
    }
    return GIVEN._replace(**logits)._replace(**changes)


def test_equals_skada():
    """Its entropy averages over classes, its neighbours keep the row itself."""
    assert label_free.entropy(skadas()) / 3 == pytest.approx(GOLDEN["skada/entropy"])
    own = label_free.neighbourhood(skadas())
    assert own == pytest.approx(GOLDEN["skada/snd"], rel=1e-4)
    weighted = skadas(weights=GOLDEN["skada/iwcv/weights"])
    error = label_free.iwcv(weighted, self_normalised=True)
    assert 1 - error == pytest.approx(GOLDEN["skada/iwcv"], rel=1e-10)


def held():
    """The rows that skada's DEV held out; features play no part with given weights."""
    labels = GOLDEN["skada/dev/labels"]
    return GIVEN._replace(
        source_features=np.zeros((len(labels), 4)),
        source_logits=GOLDEN["skada/dev/logits"],
        source_labels=labels,
        weights=GOLDEN["skada/dev/weights"],
    )


def test_dev_equals_skada_with_losses_as_a_column():
    assert label_free.dev(held()) == pytest.approx(GOLDEN["skada/dev"], rel=1e-9)


def test_skada_as_it_is_multiplies_every_weight_with_every_loss():
    losses = task.negative_log_likelihoods(held().source_logits, held().source_labels)
    weights = held().weights
    outer = weights[:, None] * losses
    eta = -np.cov(outer, rowvar=False)[0, 1] / weights.var(ddof=1)
    wrong = outer.mean() + eta * weights.mean() - eta
    assert wrong == pytest.approx(GOLDEN["skada/dev/as_it_is"], rel=1e-9)
    assert abs(wrong - label_free.dev(held())) > 0.01


def test_circular_equals_skada():
    """Balanced accuracy of scikit-learn's regression, there and back."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    def fit(features, labels, _):
        return LogisticRegression().fit(features, labels).predict

    pseudo = GOLDEN["skada/logits/target"].argmax(-1)
    found = label_free.circular(
        GIVEN.target_features,
        pseudo,
        GIVEN.source_features,
        GIVEN.source_labels,
        fit=fit,
        metric=lambda guess, truth: balanced_accuracy_score(truth, guess),
    )
    assert found == pytest.approx(GOLDEN["skada/circular"], rel=1e-12)


@pytest.mark.parity
def test_peers_at_run_time():
    pytest.importorskip("pytorch_adapt", reason="the peer of four selectors")
    pytest.importorskip("skada", reason="the peer of five selectors")
    given = arrays(seed=3)
    own = Evidence(**given)
    for name, want in validators(given).items():
        assert SELECTORS[name].score(own) == pytest.approx(want, rel=1e-5), name
    found = scorers(given)
    logits = {f"{s}_logits": found[f"logits/{s}"] for s in ("source", "target")}
    own = own._replace(**logits, weights=found["iwcv/weights"])
    assert label_free.neighbourhood(own) == pytest.approx(found["snd"], rel=1e-4)
    error = label_free.iwcv(own, self_normalised=True)
    assert 1 - error == pytest.approx(found["iwcv"], rel=1e-10)
