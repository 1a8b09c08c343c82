"""Two small domains of texts, and studies over them."""

import numpy as np
from tiny_study import small, strategies, table, texts

from experiments.shift import methods
from experiments.shift.entry import Cast, Entry, features, one
from tl_jax.algorithms.adaptation import Found, Term

LORA = {"transform": "lora", "rank": 2, "where": r"blocks/\d+/attention/query"}


def write_domains(folder, target_labels="abc"):
    """Two files of texts; those of the target say `sky` before all else."""
    paths = []
    for i, name in enumerate(("near", "far")):
        made = texts(60, seed=i)
        kinds = "abc" if name == "near" else target_labels
        rows = [
            {
                "text": t if name == "near" else f"sky {t}",
                "label": kinds[k % len(kinds)],
            }
            for t, k in made
        ]
        path = folder / f"{name}.csv"
        path.write_text(table(rows, ",") + "\n")
        paths.append(path)
    return paths


def shifted(model, paths, **named):
    """The config `finetune` from one file's domain to the other's."""
    config = strategies(small(model, paths[0]), **named)
    config.shift.target = str(paths[1])
    return config


def gap(strength: float = 1.0) -> Term:
    """The distance of the domains' mean features, and a critic that is run for it."""

    def value(seen):
        sides = seen.source.outputs.features, seen.target.outputs.features
        far = ((sides[0].mean(0) - sides[1].mean(0)) ** 2).sum()
        outputs, stats = seen.run("critic", {"features": sides[1]})
        return Found(
            strength * far + 0.01 * (outputs.logits**2).mean(),
            stats={"critic": stats},
            metrics={"progress": seen.progress},
        )

    return Term(value)


ENTRY = Entry(gap, Cast("critic", features, one, widths=(4,), batch_norms=True))


def with_gap(monkeypatch):
    """`gap` among the methods that configs know."""
    monkeypatch.setattr(methods, "METHODS", methods.METHODS | {"gap": ENTRY})


def predictions(workdir, strategy, seed=0):
    """Rows and logits that a run was judged by."""
    with np.load(workdir / strategy / str(seed) / "predictions.npz") as file:
        return dict(file)
