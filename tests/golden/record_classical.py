"""Record what ADAPT and skada compute for closed-form alignments of two small domains.

    PYTHONPATH=ADAPT:SKADA:POT python tests/golden/record_classical.py

Needs ADAPT 0.4.5, skada 0.6.0 and POT 0.9.7 as folders of PYTHONPATH. ADAPT imports
TensorFlow, of which its closed forms call nothing: empty names stand in for it. Writes
`classical.npz`: rows of both domains, new rows of each, and what they become, float64.
"""

import sys
import types
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
TENSORFLOW = (
    *("tensorflow", "tensorflow.keras", "tensorflow.keras.layers"),
    *("tensorflow.keras.models", "tensorflow.keras.losses"),
    *("tensorflow.keras.wrappers", "tensorflow.keras.wrappers.scikit_learn"),
    *("tensorflow.keras.optimizers", "tensorflow.keras.optimizers.legacy"),
    *("tensorflow.keras.metrics", "tensorflow.keras.initializers"),
    *("tensorflow.keras.constraints", "tensorflow.python"),
    *("tensorflow.python.keras", "tensorflow.python.keras.engine"),
)


class Names(type):
    """A class of which every attribute is another empty class."""

    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return Names(name, (), {})


class Empty(types.ModuleType):
    """A module of empty classes."""

    __path__ = ()

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return Names(name, (), {})


def domains(seed: int = 0) -> dict[str, np.ndarray]:
    """Correlated rows of two domains of other means, scales and turns."""
    rng = np.random.default_rng(seed)
    turns = rng.normal(size=(2, 5, 5))
    source = rng.normal(size=(47, 5)) @ turns[0]
    target = rng.normal(size=(57, 5)) @ turns[1] * 1.5 + 2
    rows = {"source": source[:40], "target": target[:50]}
    return rows | {"new_source": source[40:], "new_target": target[50:]}


def adapt(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """ADAPT's closed forms, made without its constructors, which want TensorFlow."""
    sys.modules.update({name: Empty(name) for name in TENSORFLOW})
    from adapt.feature_based import CORAL, FA, SA, TCA

    def made(kind: type, **settings: object) -> object:
        method = kind.__new__(kind)
        method.__dict__.update(settings, verbose=0, random_state=None)
        method.fit_transform(rows["source"], rows["target"], **labels)
        return method

    labels: dict[str, np.ndarray] = {}
    found = {}
    for name, kind, settings in (
        ("coral", CORAL, {"lambda_": 0.1}),
        ("sa", SA, {"n_components": 3}),
        ("tca", TCA, {"n_components": 3, "mu": 10.0, "kernel": "rbf", "gamma": 0.05}),
    ):
        method = made(kind, **settings)
        for domain in ("source", "target"):
            new = rows[f"new_{domain}"]
            found[f"adapt/{name}/{domain}"] = method.transform(new, domain=domain)
        if name == "tca":
            found["adapt/tca/vectors"] = method.vectors_
    labels = {"ys": np.zeros(len(rows["source"])), "yt": np.zeros(len(rows["target"]))}
    method = made(FA)
    for domain in ("source", "target"):
        new = rows[f"new_{domain}"]
        found[f"adapt/fa/{domain}"] = method.transform(new, domain=domain)
    return found


def skada(rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """skada's adapters: source rows of domain 1, target rows of domain -2."""
    from skada import CORALAdapter, LinearOTMappingAdapter, SubspaceAlignmentAdapter

    pair = (rows["source"], rows["target"])
    new = (rows["new_source"], rows["new_target"])
    found = {}
    for name, method in (
        ("coral", CORALAdapter(reg=None)),
        ("sa", SubspaceAlignmentAdapter(n_components=3)),
        ("linear_ot", LinearOTMappingAdapter(reg=0.1)),
    ):
        method.fit(np.concatenate(pair), sample_domain=_domains(*pair))
        both = method.transform(
            np.concatenate(new), sample_domain=_domains(*new), allow_source=True
        )
        found[f"skada/{name}/source"] = both[: len(new[0])]
        found[f"skada/{name}/target"] = both[len(new[0]) :]
    return found


def _domains(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.array([1] * len(source) + [-2] * len(target))


def main() -> None:
    rows = domains()
    found = rows | skada(rows) | adapt(rows)
    np.savez_compressed(HERE / "classical.npz", **found)


if __name__ == "__main__":
    main()
