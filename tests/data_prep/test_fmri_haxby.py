"""The PyMVPA slice: runs in order, blocks as events, a source archive read and never run."""

import hashlib
import io
import json
import tarfile
from dataclasses import replace

import nibabel
import numpy as np
import pytest

from brainfm.errors import DataError
from brainfm.signals.preprocess import Recipe
from data_prep import download
from data_prep.dataset import Package
from data_prep.datasets import haxby

PER_RUN = 24


def labels():
    run = ["rest"] * 3 + ["face"] * 9 + ["rest"] * 3 + ["house"] * 9
    return "".join(f"{name} {k}\n" for k in range(12) for name in run)


def archive(tmp_path):
    x = np.random.default_rng(0).normal(500, 5, (6, 4, 1, 12 * PER_RUN)).astype(np.float32)
    made = nibabel.Nifti1Image(x, np.diag([-3.1, 3.75, 3.75, 1.0]))
    made.header.set_zooms((3.1, 3.75, 3.75, 2.5))
    nibabel.save(made, tmp_path / "bold.nii.gz")
    content = {"bold.nii.gz": (tmp_path / "bold.nii.gz").read_bytes()}
    content["attributes_literal.txt"] = labels().encode()
    path = tmp_path / "pymvpa2-2.6.5.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, data in content.items():
            info = tarfile.TarInfo(f"pymvpa2-2.6.5/mvpa2/data/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root whose downloads hold a small archive of that layout."""
    path = archive(tmp_path)
    package = Package("pymvpa2", "2.6.5", download.sha256(path), 1, "pymvpa2-2.6.5.tar.gz")
    monkeypatch.setattr(haxby, "PYMVPA", package)
    folder = tmp_path / "root" / "downloads"
    folder.mkdir(parents=True)
    path.rename(folder / path.name)
    return tmp_path / "root"


def test_runs_are_recordings_with_their_blocks(root):
    haxby.HAXBY.fetch(root, lambda _: None)
    jobs = haxby.HAXBY.jobs(root)
    assert [j.name for j in jobs][:2] == ["sub-01_run-01", "sub-01_run-02"] and len(jobs) == 12
    r = haxby.HAXBY.load(jobs[3], Recipe())
    assert r.signal.shape == (PER_RUN, 24) and r.sfreq == 0.4 and r.split == "train"
    assert [(e.onset_s, e.duration_s, e.label) for e in r.events] == [
        (7.5, 22.5, "face"),
        (37.5, 22.5, "house"),
    ]
    assert abs(r.signal.mean()) < 1e-3  # means are out


def test_nothing_is_there_before_it_is_fetched(tmp_path):
    assert haxby.HAXBY.jobs(tmp_path) == []


def test_labels_that_do_not_fit_are_refused(root, tmp_path):
    bad = tmp_path / "labels.txt"
    bad.write_text("face 1\nface 0\n")
    with pytest.raises(DataError, match="its runs are not 0 to 11 in order"):
        haxby.read_labels(bad)
    bad.write_text("face one\n")
    with pytest.raises(DataError, match="lines are not 'label run'"):
        haxby.read_labels(bad)


def test_archives_come_from_the_index_and_are_verified(tmp_path, monkeypatch):
    path = archive(tmp_path)
    link = {"files": [{"filename": path.name, "url": path.as_uri()}]}
    page = tmp_path / "simple" / "pymvpa2"
    page.mkdir(parents=True)
    opened = []
    real = download.urllib.request.urlopen

    def urlopen(ask, timeout=None):
        url = ask if isinstance(ask, str) else ask.full_url
        opened.append(url)
        if url.endswith("/pymvpa2/"):
            return io.BytesIO(json.dumps(link).encode())
        return real(url)

    monkeypatch.setattr(download.urllib.request, "urlopen", urlopen)
    monkeypatch.setenv("PIP_INDEX_URL", "https://index.example/simple")
    package = Package("pymvpa2", "2.6.5", download.sha256(path), 1, path.name)
    found = download.fetch_archive(package, tmp_path / "downloads", lambda _: None)
    assert hashlib.sha256(found.read_bytes()).hexdigest() == package.sha256
    assert opened[0] == "https://index.example/simple/pymvpa2/"
    opened.clear()
    download.fetch_archive(package, tmp_path / "downloads", lambda _: None)
    assert not opened  # it is there already
    with pytest.raises(DataError, match="the registry holds another file, do not use it"):
        download.fetch_archive(replace(package, sha256="0" * 64), tmp_path / "b", lambda _: None)
    with pytest.raises(DataError, match=r"has no file other.tar.gz"):
        download.fetch_archive(replace(package, archive="other.tar.gz"), tmp_path, lambda _: None)
    assert not list((tmp_path / "b").glob("*.gz"))


def test_an_index_that_cannot_be_reached_is_one_sentence(tmp_path, monkeypatch):
    def urlopen(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(download.urllib.request, "urlopen", urlopen)
    package = Package("pymvpa2", "2.6.5", "0" * 64, 1, "pymvpa2-2.6.5.tar.gz")
    with pytest.raises(DataError, match="could not be downloaded .no route.; connect to a package"):
        download.fetch_archive(package, tmp_path, lambda _: None)
