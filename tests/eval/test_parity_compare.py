"""Comparison rules of the parity command, on arrays made up for each."""

import numpy as np
import pytest
import torch

from brainfm.errors import DataError
from eval.parity.__main__ import report, write_report
from eval.parity.compare import Row, compare
from eval.parity.reference import Recipes, Reference, read_reference


def _rows(want, have, tolerance=1e-5, strict=False, **more):
    recipes = Recipes()
    recipes.add("out/a", lambda: have, tolerance)
    return compare(Reference("x.npz", {"out/a": np.asarray(want)} | more), recipes, strict)


def test_error_is_the_largest_absolute_difference():
    (row,) = _rows([1.0, 2.0], torch.tensor([1.0, 2.25]))
    assert row.max_abs_error == 0.25 and not row.passed


def test_exact_means_exact_also_for_large_values():
    assert _rows([1000], np.array([1000]), 0.0)[0].passed
    assert not _rows([1000], np.array([1001]), 0.0)[0].passed


def test_tolerance_grows_with_values_above_one_unless_strict():
    want, have = np.float32([1000.0]), np.float32([1000.005])
    assert _rows(want, have)[0].passed
    assert not _rows(want, have, strict=True)[0].passed
    assert not _rows(want / 1e6, have / 1e6 + 1e-3)[0].passed


def test_undefined_values_must_meet_undefined_values():
    assert _rows([np.nan, 1.0], np.array([np.nan, 1.0]))[0].passed
    assert not _rows([np.nan, 1.0], np.array([0.0, 1.0]))[0].passed
    assert not _rows([0.0, 1.0], np.array([np.nan, 1.0]))[0].passed


def test_a_recipe_that_raises_is_a_failed_row_with_its_reason():
    def broken():
        raise DataError("array 'in/x' is missing")

    recipes = Recipes()
    recipes.add("out/a", broken)
    (row,) = compare(Reference("x.npz", {"out/a": np.zeros(2)}), recipes, False)
    assert (row.passed, row.status) == (False, "error") and "in/x" in row.note


def test_only_results_are_checked():
    rows = _rows([1.0], np.array([1.0]), **{"in/x": np.zeros(1), "rand/p": np.zeros(1)})
    assert [r.name for r in rows] == ["out/a"]


def test_text_where_numbers_belong_fails():
    assert not _rows(["word"], np.array([1.0]))[0].passed


def test_a_sum_is_excused_for_at_most_what_its_term_is_off():
    recipes = Recipes()
    recipes.add("out/sum", lambda: np.array(1.0), excuse=("out/term", 0.5))
    recipes.add("out/term", lambda: np.array(0.0), 1e-2)

    def passed(sum_off, term_off):
        arrays = {"out/sum": np.array(1.0 + sum_off), "out/term": np.array(term_off)}
        return [r.passed for r in compare(Reference("x", arrays), recipes, False)]

    assert passed(0.0, 0.0) == [True, True]
    assert passed(0.004, 0.008) == [True, True]
    assert passed(0.006, 0.008) == [False, True]
    assert passed(0.004, 0.5) == [False, False]
    assert passed(0.004, 0.0) == [False, True]


def test_a_report_counts_and_escapes(tmp_path):
    rows = [Row("out/a", 0.0, 0.0, True), Row("out/<b>", None, 0.0, False, "not computed", "no")]
    summary = report("some.npz", "brainomni", rows, True)
    assert (summary["passed"], summary["n_arrays"], summary["n_failed"]) == (False, 2, 1)
    write_report(tmp_path, summary, [(summary, rows)])
    page = (tmp_path / "report.html").read_text()
    assert "out/&lt;b&gt;" in page and "<b>" not in page


def test_an_archive_of_one_array_is_no_reference(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match="one.npy"):
        read_reference(tmp_path / "one.npy")


def test_a_reference_names_the_array_others_need():
    with pytest.raises(DataError, match="'in/x' is missing"):
        Reference("x.npz", {})["in/x"]
    with pytest.raises(DataError, match="not valid JSON"):
        _ = Reference("x.npz", {"config_json": np.array("{")}).config
