"""Features of two domains in a plane, by one map for both."""

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from experiments.canvas import COLOURS, GREY, Figure, canvas, short

ROWS = 200
"""Rows of a domain that are drawn; more hide each other."""
WIDE = 30
"""Principal components that neighbours are sought in."""
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", ">", "*")
COLUMNS = 3
NAMES = MappingProxyType({"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"})


class Cloud(NamedTuple):
    """Features of both domains under one model."""

    source: np.ndarray
    """[S D]"""
    target: np.ndarray
    """[T D]"""
    source_labels: np.ndarray
    """[S] int in 0..C-1: what is true."""
    target_predictions: np.ndarray
    """[T] int in 0..C-1: what the model says; no label of the target is shown."""


def domains(
    clouds: Mapping[str, Cloud],
    classes: Sequence[str],
    *,
    method: str = "pca",
    names: tuple[str, str] = ("source", "target"),
    distances: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Figure:
    """A panel a model: colour is the domain, the marker a class.

    clouds: title -> features; `distances` (proxy A-distances) stand in the titles.
    method "pca", "tsne" (van der Maaten and Hinton, 2008), or "umap" where umap-learn
    is installed. The same bytes for the same arrays and seed; up to `ROWS` rows of a
    domain are drawn, the same ones in each panel where there are as many.

    Raises ValueError for another method, no cloud, and arrays that don't fit.
    """
    _check(clouds, classes, method)
    columns = 2 if len(clouds) == 4 else min(COLUMNS, len(clouds))
    rows = -(-len(clouds) // columns)
    with canvas(3.7 * columns + 1.5, 3.4 * rows + 0.2) as (figure, png):
        cells = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in cells[len(clouds) :]:
            axes.axis("off")
        for axes, (title, cloud) in zip(cells, clouds.items(), strict=False):
            _panel(axes, _thin(cloud, seed), method, seed)
            far = (distances or {}).get(title)
            axes.set_title(title if far is None else f"{title}   A-distance {far:.2f}")
        lines = _legend(clouds, classes, names)
        figure.legend(handles=lines, loc="outside right center", frameon=False)
        image = png()
    about = f"{NAMES[method]} of both domains together, up to {ROWS} rows of each."
    near = " Lengths between groups mean little." if method != "pca" else ""
    said = [f"{title}, distance {far:.2f}" for title, far in (distances or {}).items()]
    return Figure(
        f"domains_{method}.png",
        f"Features by domain, {NAMES[method]}",
        f"{about}{near} Colour: the domain. Marker: the true class of the source, the "
        "predicted one of the target.",
        f"Features of {names[0]} and {names[1]}: {'; '.join(said or clouds)}",
        image,
    )


def _check(clouds: Mapping[str, Cloud], classes: Sequence[str], method: str) -> None:
    if method not in MAPS:
        raise ValueError(f"method is {method!r}, expected one of {', '.join(MAPS)}")
    if not clouds:
        raise ValueError("there is no model whose features could be drawn")
    for title, cloud in clouds.items():
        sides = (
            (cloud.source, cloud.source_labels),
            (
                cloud.target,
                cloud.target_predictions,
            ),
        )
        for side, (features, ids) in zip(("source", "target"), sides, strict=True):
            shape, ids = np.shape(features), np.asarray(ids)
            if len(shape) != 2 or ids.shape != shape[:1] or shape[0] < 3:
                raise ValueError(
                    f"{title}: {side} features have shape {shape}, classes "
                    f"{ids.shape}; expected [rows width] and [rows], at least 3 rows"
                )
            if ids.min() < 0 or ids.max() >= len(classes):
                raise ValueError(
                    f"{title}: {side} has class {ids.max()}, expected 0.."
                    f"{len(classes) - 1}"
                )


def thinned(cloud: Cloud, seed: int = 0) -> Cloud:
    """What a figure shows of a cloud: few rows and, together, their main directions.

    At most `ROWS` rows of each domain, `WIDE` principal components of both, float32.
    """
    few = _thin(cloud, seed)
    both = np.concatenate([few.source, few.target])
    places = _components(both, WIDE).astype(np.float32)
    count = len(few.source)
    return few._replace(source=places[:count], target=places[count:])


def _thin(cloud: Cloud, seed: int) -> Cloud:
    """At most `ROWS` rows of each domain, float64."""
    rng = np.random.default_rng(seed)
    found = []
    for features, ids in (
        (cloud.source, cloud.source_labels),
        (cloud.target, cloud.target_predictions),
    ):
        rows = np.sort(rng.permutation(len(features))[:ROWS])
        found += [np.asarray(features, np.float64)[rows], np.asarray(ids)[rows]]
    return Cloud(found[0], found[2], found[1], found[3])


def pca(features: np.ndarray, seed: int) -> np.ndarray:
    """The two directions of most variance. [N D] -> [N 2].

    Each points to where the largest entry of its axis is positive.
    """
    return _components(features, 2)


def _components(features: np.ndarray, count: int) -> np.ndarray:
    """Principal components [N count], fewer where D or N is less."""
    centred = features - features.mean(0)
    left, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    found = (left * sizes * np.where(signs == 0, 1, signs))[:, :count]
    return np.pad(found, ((0, 0), (0, max(0, 2 - found.shape[1]))))


def tsne(features: np.ndarray, seed: int) -> np.ndarray:
    """scikit-learn's t-SNE of principal components, its exact form. [N D] -> [N 2].

    From the components on, so that the seed decides nothing but ties; exact, since the
    quick form adds in an order that depends on the number of threads.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    near = _components(features, WIDE)
    found = TSNE(
        perplexity=min(30.0, (len(near) - 1) / 3),
        init=1e-4 * near[:, :2] / max(near[:, 0].std(), 1e-300),
        method="exact",
        max_iter=300,
        random_state=seed,
        learning_rate="auto",
    )
    with threadpool_limits(1, "blas"):
        return found.fit_transform(near)


def umap(features: np.ndarray, seed: int) -> np.ndarray:
    """umap-learn's UMAP of principal components. [N D] -> [N 2].

    Raises ModuleNotFoundError, saying what to install, where it is missing.
    """
    if importlib.util.find_spec("umap") is None:
        raise ModuleNotFoundError(
            "umap-learn is not installed, which draws UMAP: `pip install umap-learn`; "
            "'tsne' needs no more than scikit-learn",
            name="umap",
        )
    from umap import UMAP

    return UMAP(random_state=seed).fit_transform(_components(features, WIDE))


MAPS: Mapping[str, Callable[[np.ndarray, int], np.ndarray]] = MappingProxyType(
    {"pca": pca, "tsne": tsne, "umap": umap}
)
"""Name -> (features [N D], seed) -> [N 2]."""


def _panel(axes: Any, cloud: Cloud, method: str, seed: int) -> None:
    """Both domains of one model, in turns, so that neither hides the other."""
    both = np.concatenate([cloud.source, cloud.target])
    places = MAPS[method](both, seed)
    count = len(cloud.source)
    ids = np.concatenate([cloud.source_labels, cloud.target_predictions])
    order = np.random.default_rng(seed).permutation(len(both))
    for part in np.array_split(order, 8):
        for side in (0, 1):
            for kind in np.unique(ids):
                rows = part[(ids[part] == kind) & ((part >= count) == side)]
                axes.plot(
                    *places[rows].T,
                    linestyle="",
                    marker=MARKERS[kind % len(MARKERS)],
                    markersize=4,
                    markeredgewidth=0,
                    alpha=0.55,
                    color=COLOURS[side],
                )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_facecolor("#f7f8f9")


def _legend(clouds: Mapping[str, Cloud], classes, names) -> list[Any]:
    """A dot a domain, a marker a class that occurs."""
    from matplotlib.lines import Line2D

    def line(label: str, marker: str, colour: str) -> Any:
        style = {"linestyle": "", "marker": marker, "color": colour, "markersize": 6}
        return Line2D([], [], label=label, **style)

    found = [line(short(n, 16), "o", c) for n, c in zip(names, COLOURS, strict=False)]
    shown = {int(k) for c in clouds.values() for ids in c[2:] for k in np.unique(ids)}
    kinds = sorted(shown)[: len(MARKERS)]
    found += [line(short(str(classes[k]), 16), MARKERS[k], GREY) for k in kinds]
    if len(shown) > len(kinds):
        found.append(line(f"… {math.ceil(len(shown))} classes", "", GREY))
    return found
