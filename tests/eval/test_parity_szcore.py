"""The parity command on SzCORE references: exact, and honest about what it cannot compute."""

import json

import pytest

from brainfm.errors import DataError
from eval.parity.__main__ import main, run


@pytest.fixture(scope="module")
def content(golden):
    return json.loads((golden / "szcore.json").read_text())


def written(tmp_path, content, name="again.json"):
    path = tmp_path / name
    path.write_text(json.dumps(content))
    return path


def edited(content, **changes):
    """The first case with other values; `None` removes a key."""
    case = {**content["cases"][0], **changes}
    return {**content, "cases": [{k: v for k, v in case.items() if v is not None}]}


def test_all_twelve_cases_are_reproduced_exactly(golden, tmp_path, capsys):
    code = main([str(golden / "szcore.json"), "--json", "--out", str(tmp_path)])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == 0 and summary["passed"] and summary["system"] == "szcore"
    assert {r["name"].split("/")[1] for r in summary["rows"]} == {
        "plain", "touching", "overlapping", "nested", "gaps_around_90", "longer_than_300",
        "none_in_reference", "none_in_hypothesis", "always_on", "off_by_29_31_59_61",
        "edges_of_recording", "random_dense",
    }  # fmt: skip
    assert all(r["max_abs_error"] == 0 and r["tolerance"] == 0 for r in summary["rows"])
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("table", ["event", "sample"])
@pytest.mark.parametrize("field", ["tp", "fp", "refTrue", "sensitivity", "f1", "fpRate"])
def test_one_wrong_number_fails(content, tmp_path, table, field):
    numbers = dict(content["cases"][0][table])
    numbers[field] += 1e-9
    path = written(tmp_path, edited(content, **{table: numbers}))
    _, rows = run(path)
    assert [r.name for r in rows if not r.passed] == [f"out/plain/{table}"]


def test_null_is_nan_and_no_zero(content, tmp_path):
    case = next(c for c in content["cases"] if c["name"] == "none_in_reference")
    assert case["event"]["sensitivity"] is None
    _, rows = run(written(tmp_path, {"cases": [case]}))
    assert all(r.passed for r in rows)
    wrong = {**case, "event": {**case["event"], "sensitivity": 0.0}}
    _, rows = run(written(tmp_path, {"cases": [wrong]}))
    assert not all(r.passed for r in rows)


def test_a_moved_seizure_fails(content, tmp_path):
    ref = [[a + 1000, b + 1000] for a, b in content["cases"][0]["ref"][:-1]]
    _, rows = run(written(tmp_path, edited(content, ref=ref)))
    assert sum(not r.passed for r in rows) >= 3


def test_results_nobody_knows_are_not_passed_over(content, tmp_path):
    _, rows = run(written(tmp_path, edited(content, taes={"tp": 1})))
    assert [(r.name, r.status) for r in rows if not r.passed] == [
        ("out/plain/taes", "not computed")
    ]
    numbers = {**content["cases"][0]["event"], "auc": 1.0}
    _, rows = run(written(tmp_path, edited(content, event=numbers)))
    assert [(r.name, r.status) for r in rows if not r.passed] == [("out/plain/event", "error")]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda c: {"cases": []}, "holds nothing of a known system"),
        (lambda c: {"things": 1}, "KeyError"),
        (lambda c: [1, 2], "not a readable SzCORE reference"),
        (lambda c: edited(c, hyp=None), "'hyp'"),
        (lambda c: edited(c, ref=[[1, 2, 3]]), "not a readable SzCORE reference"),
        (lambda c: edited(c, duration_s="long"), "not a readable SzCORE reference"),
        (lambda c: {"cases": [c["cases"][0]] * 2}, "appears twice"),
    ],
)
def test_other_files_are_refused_in_one_sentence(content, tmp_path, make, says):
    with pytest.raises(DataError, match="again.json") as e:
        run(written(tmp_path, make(content)))
    assert says in str(e.value)


def test_a_damaged_file_is_refused(tmp_path, capsys):
    path = tmp_path / "half.json"
    path.write_text('{"cases": [')
    assert main([str(path), "--out", str(tmp_path)]) == 2
    assert "half.json" in capsys.readouterr().err


def test_unsorted_lists_are_an_error_not_a_score(content, tmp_path):
    ref = content["cases"][0]["ref"][::-1]
    _, rows = run(written(tmp_path, edited(content, ref=ref)))
    assert {r.status for r in rows} == {"error"}
    assert "sort" in rows[0].note
