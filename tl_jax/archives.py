"""Archives unpacked as plain files: nothing is run, nothing leaves the folder."""

import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO


class Damaged(ValueError):
    """A file's bytes are not the pinned ones, or an archive is not safe to unpack."""


def unpack(file: Path, folder: Path) -> None:
    """Write the regular files of a wheel, zip, tar or deb below `folder`.

    Raises `Damaged` for absolute paths, `..`, links, devices and unknown formats;
    owners, permissions and times are not taken over. Links of a deb, which lead into
    an installed system, are left out.
    """
    folder.mkdir(parents=True)
    try:
        if file.suffix == ".deb":
            _unpack_deb(file, folder)
        elif zipfile.is_zipfile(file):
            _unpack_zip(file, folder)
        else:
            with tarfile.open(file) as archive:
                _unpack_tar(archive, folder, file.name)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, FileExistsError) as error:
        raise Damaged(f"{file.name} does not unpack: {error}") from error


def _unpack_zip(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise Damaged(f"{file.name}: {member.filename!r} is no regular file")
            if member.is_dir():
                _target(folder, member.filename, file.name)
                continue
            with archive.open(member) as source:
                _write(source, _target(folder, member.filename, file.name))


def _unpack_tar(
    archive: tarfile.TarFile, folder: Path, name: str, links: bool = False
) -> None:
    """The files of a tar; `links` leaves links out in place of refusing them."""
    for member in archive:
        target = _target(folder, member.name, name)
        if member.isdir() or (links and member.issym()):
            continue
        if not member.isreg():
            raise Damaged(f"{name}: {member.name!r} is no regular file")
        with archive.extractfile(member) as source:
            _write(source, target)


def _unpack_deb(file: Path, folder: Path) -> None:
    line = ["dpkg-deb", "--fsys-tarfile", str(file)]
    if shutil.which(line[0]) is None:
        raise OSError(f"{file.name}: there is no dpkg-deb on this machine")
    with subprocess.Popen(line, stdout=subprocess.PIPE) as reader:
        with tarfile.open(fileobj=reader.stdout, mode="r|") as archive:
            _unpack_tar(archive, folder, file.name, links=True)
        while reader.stdout.read(1 << 16):
            pass
    if reader.returncode:
        raise Damaged(f"{file.name}: dpkg-deb ended with {reader.returncode}")


def _target(folder: Path, name: str, archive: str) -> Path:
    path = PurePosixPath(name)
    odd = "\\" in name or "\0" in name or ":" in name.split("/")[0]
    if path.is_absolute() or ".." in path.parts or odd:
        raise Damaged(f"{archive}: the path {name!r} leaves the archive's folder")
    return folder.joinpath(*path.parts)


def _write(source: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
