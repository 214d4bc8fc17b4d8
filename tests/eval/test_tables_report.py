"""Tables a person can read, pages that stand alone, and files that are whole or absent."""

import json
from pathlib import Path

import numpy as np
import pytest

from eval.report import SIMULATED, Report, json_text, write_atomic
from eval.tables import cell, html_table, markdown_table, rich_table, share


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.6622, ".662"),
        (-0.05, "-.050"),
        (1.0, "1.000"),
        (0.9996, "1.000"),
        (float("nan"), "n/a"),
        (0, "0"),
        (None, ""),
        (123.456, "123.5"),
        ({"mean": 0.5, "sd": None, "low": 0.4, "high": 0.61}, ".500 [.40, .61]"),
        ({"mean": 0.5, "sd": 0.01, "low": 0.4, "high": 0.61}, ".500 ± .010 [.40, .61]"),
        ({"mean": None, "sd": None, "low": None, "high": None}, "n/a"),
    ],
)
def test_cells_read_as_people_write_them(value, text):
    assert cell(value) == text


def test_share_keeps_two_digits_when_asked():
    assert share(0.567, 2) == ".57"


def test_markdown_has_a_line_a_row_and_escapes_pipes():
    text = markdown_table([{"a": "x|y", "b": 0.5}, {"a": "z"}])
    assert text.splitlines() == ["| a | b |", "| --- | --- |", "| x\\|y | .500 |", "| z |  |"]


def test_html_escapes_what_it_did_not_write():
    page = html_table([{"a": "<script>", "_class": "best"}])
    assert "<script>" not in page and '<tr class="best">' in page and "_class" not in page


def test_rich_shows_every_column_but_hidden_ones():
    table = rich_table([{"a": 1, "_class": "best"}, {"b": 2}], title="[t]")
    assert [c.header for c in table.columns] == ["a", "b"]
    assert table.row_count == 2


def test_a_report_is_one_page_and_one_json(tmp_path):
    report = Report("try", "A <title>", {"figure": np.float64(0.5), "bad": float("nan")})
    report.heading("Part")
    report.text("One & two.", kind="verdict")
    report.table([{"a": 0.25}], "Table 1.", simulated=True)
    page = report.write(tmp_path).read_text()
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["name"] == "try" and found["figure"] == 0.5 and found["bad"] is None
    assert "A &lt;title&gt;" in page and "One &amp; two." in page and SIMULATED in page
    assert "http" not in page.replace("http-equiv", ""), "the page loads nothing"
    assert found["versions"]["python"] and found["device"] and found["command"]


def test_a_figure_is_embedded_and_closed(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    ax.plot([0, 1])
    report = Report("try", "t")
    report.figure(figure, "A line.", simulated=False)
    assert not plt.fignum_exists(figure.number)
    page = report.html()
    assert "data:image/png;base64," in page and SIMULATED not in page


def test_a_failed_write_leaves_the_old_file_and_no_rest(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    write_atomic(path, "old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_json_knows_arrays_paths_and_numbers_without_a_value():
    value = {"a": np.arange(2), 1: Path("x"), "b": (float("inf"), np.float32(0.5))}
    assert json.loads(json_text(value)) == {"a": [0, 1], "1": "x", "b": [None, 0.5]}
