"""Numbers as a reader meets them, in three renderings of the same rows."""

import io

import numpy as np
import pytest
from rich.console import Console

from eval.tables import cell, columns_of, html_table, markdown_table, rich_table, share

HARD = [{"route": "<b>[red]a|b\nc</b>", "value": 0.5, "_class": "best"}, {"route": "d"}]


def drawn(table) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(table)
    return console.file.getvalue()


@pytest.mark.parametrize("value", [np.float64(0.25), 0.25])
def test_numpy_numbers_read_as_python_numbers(value):
    assert cell(value) == ".250"


@pytest.mark.parametrize(("value", "text"), [(True, "True"), (7, "7"), (2.0, "2"), (1e6, "1e+06")])
def test_counts_and_large_numbers_keep_their_form(value, text):
    assert cell(value) == text


def test_an_interval_that_crosses_zero_shows_both_signs():
    assert cell({"mean": 0.01, "sd": None, "low": -0.2, "high": 0.22}) == ".010 [-.20, .22]"


def test_a_metric_without_an_interval_is_its_mean():
    assert cell({"mean": 0.75}) == ".750"


def test_a_share_never_rounds_to_a_wrong_side_of_one():
    assert share(0.99949) == ".999" and share(1.25) == "1.250" and share(-1.0) == "-1.000"


def test_columns_come_in_order_of_first_appearance():
    assert columns_of([{"b": 1}, {"a": 1, "b": 2}, {"c": 3}]) == ["b", "a", "c"]


@pytest.mark.parametrize("render", [markdown_table, html_table, lambda r: drawn(rich_table(r))])
def test_no_rendering_shows_hidden_keys(render):
    text = render(HARD)
    assert "_class" not in text and "route" in text and ".500" in text


def test_markdown_cells_stay_on_their_line():
    lines = markdown_table(HARD).splitlines()
    assert len(lines) == 4
    assert lines[2] == "| <b>[red]a\\|b c</b> | .500 |"


def test_the_terminal_shows_brackets_instead_of_obeying_them():
    assert "[red]a|b" in drawn(rich_table(HARD, title="t"))


def test_html_tells_words_from_numbers():
    page = html_table(HARD)
    assert '<td class="text">&lt;b&gt;[red]a|b' in page and '<td class="num">.500</td>' in page


@pytest.mark.parametrize("render", [markdown_table, html_table])
def test_only_the_columns_asked_for_are_shown_in_that_order(render):
    text = render([{"a": "one", "b": "two", "c": "three"}], ["c", "a"])
    assert text.index("three") < text.index("one") and "two" not in text


def test_a_table_without_rows_is_still_a_table():
    assert html_table([]) == "<table><thead><tr></tr></thead><tbody></tbody></table>"
    assert drawn(rich_table([])).strip() == ""


@pytest.mark.parametrize(
    ("render", "mark"), [(markdown_table, "**.500**"), (html_table, "<b>.500</b>")]
)
def test_only_a_rows_best_values_are_set_off(render, mark):
    text = render([{"a": 0.25, "b": 0.5, "_best": ["b"]}, {"a": 0.75, "b": 0.125}])
    assert text.count(mark) == 1 and text.count(mark[:2]) == (2 if mark[0] == "*" else 1)
    assert "_best" not in text and ".250" in text


def test_the_terminal_sets_off_by_weight():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system="standard")
    console.print(rich_table([{"a": 0.25, "b": 0.5, "_best": ["b"]}]))
    assert "\x1b[1m.500" in console.file.getvalue() and "\x1b[1m.250" not in console.file.getvalue()
