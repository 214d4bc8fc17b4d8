"""The loader bench reports what was measured, in the shape that later work reads."""

import json

import pytest

from eval.bench import __main__ as bench
from eval.bench import loader

SMALL = "--minutes .2 --channels 8 --windows 20 --rounds 2 --batch 4 --workers 0".split()


@pytest.fixture(scope="module")
def result():
    return loader.main(SMALL)


def test_the_ratio_is_between_the_rounds_and_both_rates_are_given(result):
    assert result["ratio_min"] <= result["ratio"] <= result["ratio_max"]
    assert result["store_windows_per_s"] > 0 and result["mne_windows_per_s"] > 0
    assert result["page_cache"] == "warm" and result["simulated"] is True
    assert result["reached"] == (result["ratio"] >= 10)


def test_every_way_has_a_row(result):
    assert [row["way"] for row in result["rows"]] == [
        "store, SI float32",
        "MNE, EDF, preload=False",
        "SignalBatch of 4",
        "loader, 0 workers",
    ]


def test_json_is_the_last_line_and_a_report_lies_beside_its_page(tmp_path, capsys):
    code = bench.main(["loader", "--json", "--runs", str(tmp_path), *SMALL])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    kept = json.loads((tmp_path / "bench_loader" / "report.json").read_text())
    assert code == 0 and said["name"] == kept["name"] == "bench_loader"
    assert said["ratio"] == kept["ratio"]
    assert "<table>" in (tmp_path / "bench_loader" / "report.html").read_text()


def test_an_unknown_bench_is_refused_with_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        bench.main(["lodaer"])
    assert "loader" in capsys.readouterr().err


def test_a_refusal_is_one_sentence_and_exit_code_one(monkeypatch, capsys):
    def refuse(argv):
        raise bench.DataError("one.edf: not the same signal")

    monkeypatch.setattr(loader, "main", refuse)
    assert bench.main(["loader"]) == 1
    assert capsys.readouterr().err == "brainfm: one.edf: not the same signal\n"
