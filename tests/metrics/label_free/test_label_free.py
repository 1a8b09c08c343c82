"""Scores without target labels: loops, laws, peers, and that no label gets in."""

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
from record_selectors import arrays

from tl_jax.metrics import label_free, task
from tl_jax.metrics.label_free import SELECTORS, Evidence

GIVEN = Evidence(**arrays())
GOLDEN = dict(np.load(Path(__file__).parents[2] / "golden" / "selectors.npz"))


def softmax(row):
    raised = [math.exp(x - max(row)) for x in row]
    return [x / sum(raised) for x in raised]


def log_loss(logits, label):
    return -math.log(softmax(list(logits))[label])


SHARES = [softmax(list(row)) for row in GIVEN.target_logits]


def loop_entropy(shares=SHARES):
    return np.mean([-sum(p * math.log(p) for p in row) for row in shares])


def loop_information():
    mean = [sum(row[c] for row in SHARES) / len(SHARES) for c in range(3)]
    return -sum(p * math.log(p) for p in mean) - loop_entropy()


def loop_bnm():
    """By the eigenvalues of P'P."""
    p = np.asarray(SHARES)
    return np.sqrt(np.linalg.eigvalsh(p.T @ p)).sum() / len(p)


def loop_snd(temperature=0.05):
    total = 0.0
    for i, p in enumerate(SHARES):
        close = [
            math.fsum(a * b for a, b in zip(p, q, strict=True))
            / (math.hypot(*p) * math.hypot(*q))
            / temperature
            for j, q in enumerate(SHARES)
            if j != i
        ]
        total += -sum(q * math.log(q) for q in softmax(close))
    return total / len(SHARES)


def loop_iwcv():
    right = [row.argmax() for row in GIVEN.source_logits] == GIVEN.source_labels
    return sum(w for w, ok in zip(GIVEN.weights, right, strict=True) if not ok) / 60


def loop_dev():
    rows = zip(GIVEN.source_logits, GIVEN.source_labels, strict=True)
    losses = [w * log_loss(z, y) for w, (z, y) in zip(GIVEN.weights, rows, strict=True)]
    mean_l, mean_w = sum(losses) / 60, sum(GIVEN.weights) / 60
    pairs = list(zip(losses, GIVEN.weights, strict=True))
    both = sum((a - mean_l) * (w - mean_w) for a, w in pairs) / 59
    var = sum((w - mean_w) ** 2 for w in GIVEN.weights) / 59
    eta = -both / var
    return mean_l + eta * mean_w - eta


LOOPS = {
    "entropy": loop_entropy,
    "information": loop_information,
    "bnm": loop_bnm,
    "snd": loop_snd,
    "iwcv": loop_iwcv,
    "dev": loop_dev,
}


@pytest.mark.parametrize("name", LOOPS)
def test_equals_a_loop(name):
    assert SELECTORS[name].score(GIVEN) == pytest.approx(LOOPS[name](), rel=1e-10)


def test_neighbours_come_in_blocks(monkeypatch):
    module = inspect.getmodule(SELECTORS["snd"].score)
    monkeypatch.setattr(module, "ROWS", 7)
    assert label_free.neighbourhood(GIVEN) == pytest.approx(loop_snd(), rel=1e-10)


def test_a_ratio_of_gaussians():
    """Of N(0, 1) and N(1, 1) it is exp(x - 1/2)."""
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(2000, 1)), rng.normal(size=(1500, 1)) + 1
    rows = np.linspace(-1, 2, 7)[:, None]
    found = label_free.density_ratio(source, target, rows=rows)
    np.testing.assert_allclose(found, np.exp(rows[:, 0] - 0.5), rtol=0.15)


def shifted(seed, count=3000):
    """N(0, 1) and N(1, 1), where y = [x > -1], by a model that says x > 0."""
    rng = np.random.default_rng(seed)
    x = {"source": rng.normal(size=(count, 1)), "train": rng.normal(size=(count, 1))}
    x["target"] = rng.normal(size=(count, 1)) + 1
    y = {name: (rows[:, 0] > -1).astype(int) for name, rows in x.items()}
    logits = {name: np.concatenate([-rows, rows], 1) for name, rows in x.items()}
    own = Evidence(
        source_features=x["source"],
        source_logits=logits["source"],
        source_labels=y["source"],
        train_features=x["train"],
        target_features=x["target"],
        target_logits=logits["target"],
    )
    return own, y["target"]


@pytest.mark.parametrize(
    "score, loss",
    [
        (label_free.iwcv, lambda z, y: 1 - task.correct(z, y)),
        (label_free.dev, task.negative_log_likelihoods),
    ],
)
def test_weights_find_the_targets_risk(score, loss):
    """Which the source's own risk is far from."""
    own, truth = shifted(1)
    want = loss(own.target_logits, truth).mean()
    plain = loss(own.source_logits, own.source_labels).mean()
    found = score(own, loss=loss)
    assert abs(found - want) < 0.25 * abs(plain - want)


def test_circular_fits_back():
    good = GIVEN._replace(target_logits=3 * np.asarray(GIVEN.target_logits))
    assert label_free.back(good) > 0.6
    rng = np.random.default_rng(0)
    noise = GIVEN._replace(target_logits=rng.normal(size=(50, 3)))
    assert label_free.back(noise) < label_free.back(good) - 0.2
    one = GIVEN._replace(target_logits=np.tile([0.0, 1.0, 0.0], (50, 1)))
    assert label_free.back(one) == np.mean(GIVEN.source_labels == 1)


def test_two_classes_of_three_fit_back():
    """A class that no pseudo-label names is never said."""
    logits = np.asarray(GIVEN.target_logits) - np.array([0.0, 1e3, 0.0])
    assert 0 < label_free.back(GIVEN._replace(target_logits=logits)) < 1


def test_collapse_and_confidence():
    """Entropy and neighbours like a collapsed model, the other two don't."""
    labels = np.arange(60) % 3
    sure = GIVEN._replace(
        target_logits=9.0 * np.eye(3)[labels], target_features=np.zeros((60, 4))
    )
    same = sure._replace(target_logits=np.tile(9.0 * np.eye(3)[1], (60, 1)))
    good, flat = (label_free.scores(e) for e in (sure, same))
    assert flat["entropy"] == pytest.approx(good["entropy"])
    assert flat["snd"] > good["snd"]
    assert flat["information"] < good["information"] - 1
    assert flat["bnm"] < good["bnm"] - 0.05


def test_scores_are_all_at_once():
    found = label_free.scores(GIVEN)
    assert list(found) == list(SELECTORS)
    for name, one in SELECTORS.items():
        assert found[name] == one.score(GIVEN)
    assert set(label_free.scores(GIVEN, ("bnm",))) == {"bnm"}
    assert all(type(value) is float for value in found.values())


def test_the_ratio_is_found_once(monkeypatch):
    calls = []

    def counted(*args, **options):
        calls.append(args)
        return np.ones(60)

    module = inspect.getmodule(SELECTORS["dev"].score)
    monkeypatch.setattr(module, "density_ratio", counted)
    label_free.scores(GIVEN._replace(weights=None))
    assert len(calls) == 1


def test_flat_weights_need_no_control():
    flat = GIVEN._replace(weights=np.ones(60))
    losses = task.negative_log_likelihoods(GIVEN.source_logits, GIVEN.source_labels)
    assert label_free.dev(flat) == pytest.approx(losses.mean())


def test_there_is_no_place_for_target_labels():
    assert not [name for name in Evidence._fields if name == "target_labels"]
    with pytest.raises(TypeError, match="target_labels"):
        Evidence(**arrays(), target_labels=np.zeros(50, int))
    for selector in SELECTORS.values():
        assert next(iter(inspect.signature(selector.score).parameters)) == "evidence"


WRONG = {
    "source_logits has 59 rows, expected 60": {"source_logits": np.zeros((59, 3))},
    "target_features has 3 columns, expected 4": {"target_features": np.ones((50, 3))},
    "target_logits: row 2 has a NaN": {
        "target_logits": np.where(np.arange(50)[:, None] == 2, np.nan, np.ones((50, 3)))
    },
    "target_logits has 2 columns, source_logits 3": {"target_logits": np.ones((50, 2))},
    "source_labels: row 0 is 3, expected 0..2": {"source_labels": np.full(60, 3)},
    "source_labels are float64": {"source_labels": np.zeros(60)},
    "weights hold -1.0": {"weights": -np.ones(60)},
    "train_features has shape \\(90,\\)": {"train_features": np.ones(90)},
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_evidence_says_what_is_wrong(words):
    for name in ("entropy", "iwcv"):
        with pytest.raises(ValueError, match=words):
            SELECTORS[name].score(GIVEN._replace(**WRONG[words]))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="'entropi' is unknown.*mean 'entropy'"):
        label_free.scores(GIVEN, ("entropi",))
    with pytest.raises(ValueError, match="temperature is 0"):
        label_free.neighbourhood(GIVEN, temperature=0)
    with pytest.raises(ValueError, match="every weight is zero"):
        label_free.iwcv(GIVEN._replace(weights=np.zeros(60)), self_normalised=True)
    pair = np.zeros((3, 1)), np.zeros(2, int), np.zeros((3, 1)), np.zeros(3, int)
    with pytest.raises(ValueError, match="target: 3 inputs for 2 labels"):
        label_free.circular(*pair, fit=None)
