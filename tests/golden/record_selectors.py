"""Record what pytorch-adapt's validators and skada's scorers say of fixed arrays.

    python tests/golden/record_selectors.py

Needs torch, pytorch-adapt 0.0.83 (with pytorch-metric-learning 1.6.3 and torchmetrics)
and skada 0.6.0 (with POT). Writes `selectors.npz`. What pytorch-adapt imports of
torchvision no validator uses: empty modules stand for it where it is missing.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np

HERE = Path(__file__).parent


class Empty(types.ModuleType):
    """A module in which every name is an empty class."""

    __path__ = ()

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds empty modules for torchvision and all below it."""

    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Empty(spec.name)

    def exec_module(self, module):
        pass


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Two shifted domains of three classes, and a model's logits that are often right.

    Rows of one kind differ in number from those of another.
    """
    rng = np.random.default_rng(seed)
    centres = 2 * rng.normal(size=(3, 4))

    def domain(count: int, shift: float):
        labels = rng.integers(3, size=count)
        features = centres[labels] + rng.normal(size=(count, 4)) + shift
        logits = features @ centres.T + rng.normal(size=(count, 3))
        return features, logits / 2, labels

    source, target = domain(60, 0.0), domain(50, 0.7)
    return {
        "source_features": source[0],
        "source_logits": source[1],
        "source_labels": source[2],
        "train_features": domain(90, 0.0)[0],
        "target_features": target[0],
        "target_logits": target[1],
        "weights": rng.gamma(2.0, 0.5, 60),
    }


def validators(given: dict[str, np.ndarray]) -> dict[str, float]:
    """pytorch-adapt's scores, by name; `dev` of the given weights."""
    if importlib.util.find_spec("torchvision") is None:
        sys.meta_path.append(Finder())
    import torch
    from pytorch_adapt import validators as v
    from pytorch_adapt.validators.deep_embedded_validator import get_dev_risk

    logits = torch.tensor(given["target_logits"])
    stream = {"logits": logits, "preds": logits.softmax(1)}
    found = {
        "entropy": -v.EntropyValidator()(target_train=stream),
        "information": v.IMValidator()(target_train=stream),
        "bnm": v.BNMValidator()(target_train=stream),
        "snd": v.SNDValidator()(target_train=stream),
    }
    source = torch.tensor(given["source_logits"]), torch.tensor(given["source_labels"])
    losses = torch.nn.CrossEntropyLoss(reduction="none")(*source)
    weights = torch.tensor(given["weights"])[:, None]
    return found | {"dev": float(get_dev_risk(weights, losses[:, None], None))}


def scorers(given: dict[str, np.ndarray]) -> dict[str, np.ndarray | float]:
    """skada's scores of a logistic regression, and the weights that two of them found.

    The regression is fitted on the source rows, and is what `logits` come from.
    """
    from skada import make_da_pipeline, metrics
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KernelDensity

    source, target = given["source_features"], given["target_features"]
    labels = given["source_labels"]
    X = np.concatenate([source, target])
    y = np.concatenate([labels, np.full(len(target), -1)])
    domain = np.repeat([1, -2], [len(source), len(target)])
    plain = LogisticRegression().set_score_request(sample_weight=True)
    estimator = make_da_pipeline(plain).fit(X, y, sample_domain=domain)

    def score(scorer):
        return scorer(estimator, X, y, sample_domain=domain)

    fitted = LogisticRegression().fit(source, labels)
    found = {
        "logits/source": np.log(fitted.predict_proba(source)),
        "logits/target": np.log(fitted.predict_proba(target)),
        "snd": score(metrics.SoftNeighborhoodDensity()),
        "entropy": -score(metrics.PredictionEntropyScorer()),
        "circular": score(metrics.CircularValidation()),
        "iwcv": score(metrics.ImportanceWeightedScorer()),
    }
    densities = [KernelDensity().fit(rows) for rows in (target, source)]
    kept = [density.score_samples(source) for density in densities]
    return (
        found | {"iwcv/weights": np.exp(kept[0] - kept[1])} | _deep(score, len(target))
    )


def _deep(score, targets: int) -> dict[str, np.ndarray | float]:
    """skada's DEV, with the ratio and the held-out rows that it made by the way.

    `dev/as_it_is` multiplies weights [N 1] and losses [N] to an outer product [N N];
    `dev` gets losses [N 1].
    """
    from skada import metrics

    seen = {}
    deep = metrics.DeepEmbeddedValidation(random_state=0)
    as_it_is = -score(deep)
    losses, split = deep._loss_func, metrics.train_test_split

    def kept_losses(labels, shares):
        seen["labels"], seen["shares"] = labels, shares
        return losses(labels, shares)

    def kept_split(rows, *rest, **options):
        found = split(rows, *rest, **options)
        seen["train"], seen["held"] = found[:2]
        return found

    deep._loss_func = lambda y, p: kept_losses(y, p)[:, None]
    with mock.patch.object(metrics, "train_test_split", kept_split):
        value = -score(deep)
    odds = deep.domain_classifier_.predict_proba(seen["held"])
    ratio = odds[:, 0] / odds[:, 1] * len(seen["train"]) / targets
    return {
        "dev": value,
        "dev/as_it_is": as_it_is,
        "dev/weights": ratio,
        "dev/logits": np.log(seen["shares"]),
        "dev/labels": seen["labels"],
    }


def main() -> None:
    given = arrays()
    np.savez_compressed(
        HERE / "selectors.npz",
        **given,
        **{f"adapt/{name}": value for name, value in validators(given).items()},
        **{f"skada/{name}": value for name, value in scorers(given).items()},
    )


if __name__ == "__main__":
    main()
