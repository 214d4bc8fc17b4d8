"""Pages that stand alone, say where they come from, and are whole or not there."""

import base64
import json
import os
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from eval.report import (
    SIMULATED,
    Report,
    command_line,
    json_text,
    print_json,
    provenance,
    write_atomic,
)

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NASTY = '<img src=x onerror="alert(1)"> & "quoted"'


class Collected(HTMLParser):
    """Tags, attributes and text of a page, as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags, self.links, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "srcset", "action", "data")]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    return path


def filled(picture, simulated=False):
    report = Report("try", NASTY, {"n": 1}, subtitle=NASTY)
    report.heading(NASTY)
    report.text(NASTY, "Second.")
    report.table([{NASTY: NASTY}], NASTY, simulated=simulated)
    report.figure(picture, NASTY, simulated=simulated)
    return report


def test_nothing_handed_in_becomes_markup(picture):
    page = Collected(filled(picture).html())
    assert page.tags.count("img") == 1 and "script" not in page.tags
    assert "".join(page.text).count(NASTY) >= 7, "all of it is shown as text"


def test_a_page_loads_nothing_from_anywhere(picture):
    html = filled(picture).html()
    assert all(link.startswith("data:image/png;base64,") for link in Collected(html).links)
    assert "@import" not in html and "url(" not in html


def test_a_picture_is_embedded_byte_for_byte(picture):
    coded = re.search(r"base64,([^\"]+)", filled(picture).html())[1]
    assert base64.b64decode(coded) == PNG


@pytest.mark.parametrize(("simulated", "marks"), [(True, 2), (False, 0)])
def test_captions_of_simulated_data_begin_by_saying_so(picture, simulated, marks):
    html = filled(picture, simulated).html()
    assert html.count(SIMULATED) == marks
    if simulated:
        assert f'<figcaption><span class="simulated">{SIMULATED}' in html


def test_a_simulated_table_without_a_caption_is_marked_too():
    report = Report("try", "t")
    report.table([{"a": 1}], simulated=True)
    assert SIMULATED in report.html()


def test_parts_stand_in_the_order_in_which_they_were_added():
    report = Report("try", "t")
    for word in ("first", "second", "third"):
        report.text(word)
    html = report.html()
    assert html.index("first") < html.index("second") < html.index("third")


def test_values_without_a_number_become_null_at_any_depth():
    value = {"a": [{"b": np.array([1.0, np.nan, -np.inf])}], "c": (np.float64("nan"),)}
    assert json.loads(json_text(value)) == {"a": [{"b": [1.0, None, None]}], "c": [None]}


def test_integers_stay_integers_and_words_stay_words():
    found = json_text({"n": np.int64(3), "ok": np.bool_(True), "word": "Größe"})
    assert found == '{"n": 3, "ok": true, "word": "Größe"}'


def test_what_json_cannot_hold_is_an_error_and_no_half_file(tmp_path):
    report = Report("try", "t", {"bad": object()})
    with pytest.raises(TypeError):
        report.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_printed_json_is_one_line_even_of_text_with_line_breaks(capsys):
    print_json({"text": "one\ntwo"})
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and json.loads(out) == {"text": "one\ntwo"}


def test_provenance_names_command_date_device_and_versions():
    found = provenance()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", found["date"])
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"torch", "mne"} <= set(found["versions"])


def test_the_command_can_be_pasted_back_into_a_shell(monkeypatch):
    import shlex
    from types import SimpleNamespace

    main = SimpleNamespace(__spec__=SimpleNamespace(name="eval.probe.__main__"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", ["/x/__main__.py", "--dataset", "two words", "--out", "$HOME"])
    said = shlex.split(command_line())
    assert said == ["python", "-m", "eval.probe", "--dataset", "two words", "--out", "$HOME"]


def test_a_script_is_named_without_its_folder(monkeypatch):
    from types import SimpleNamespace

    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None))
    monkeypatch.setattr(sys, "argv", ["/some/folder/run.py", "-v"])
    assert command_line() == "python run.py -v"


def test_writing_twice_replaces_both_files(tmp_path):
    Report("try", "old", {"n": 1}).write(tmp_path)
    page = Report("try", "new", {"n": 2}).write(tmp_path)
    assert "new" in page.read_text() and "<title>old" not in page.read_text()
    assert json.loads((tmp_path / "report.json").read_text())["n"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.html", "report.json"]


def test_a_rename_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = write_atomic(tmp_path / "report.html", "old")

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    for name in ("replace", "rename"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(type(path), "replace", refuse)
    with pytest.raises(PermissionError):
        write_atomic(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_others_may_read_a_report(tmp_path):
    path = write_atomic(tmp_path / "report.html", "text")
    assert path.stat().st_mode & 0o777 == 0o644


def test_missing_folders_are_made(tmp_path):
    assert Report("try", "t").write(tmp_path / "a" / "b").exists()
