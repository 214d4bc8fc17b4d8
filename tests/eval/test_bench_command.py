"""`python -m eval.bench`: whatever a benchmark returns becomes a table, a page and a line."""

import importlib
import json

import pytest

from eval.bench import __main__ as bench
from eval.bench import loader
from eval.bench import train as training


def run(monkeypatch, tmp_path, result, *argv):
    asked = []

    def measure(rest):
        asked.extend(rest)
        return result

    monkeypatch.setattr(loader, "main", measure)
    assert bench.main(["loader", "--runs", str(tmp_path), *argv]) == 0
    return asked, tmp_path / "bench_loader"


def test_every_benchmark_can_be_named_and_has_a_main():
    assert bench.names() == sorted(bench.names()) and {"detect", "loader", "mvpa", "train"} <= set(
        bench.names()
    )
    for name in bench.names():
        assert callable(importlib.import_module(f"eval.bench.{name}").main)


def test_options_that_are_not_the_commands_own_reach_the_benchmark(monkeypatch, tmp_path):
    asked, _ = run(monkeypatch, tmp_path, {"speed": 1.0}, "--minutes", "3", "--json")
    assert asked == ["--minutes", "3"]


def test_a_result_without_rows_is_shown_by_its_numbers(monkeypatch, tmp_path, capsys):
    result = {"title": "Speed", "windows_per_s": 0.25, "detail": {"deep": 1}, "notes": ["Warm."]}
    _, folder = run(monkeypatch, tmp_path, result)
    out, page = capsys.readouterr().out, (folder / "report.html").read_text()
    for text in (out, page):
        assert "Speed" in text and "windows_per_s" in text and ".250" in text and "Warm." in text
        assert "deep" not in text


def test_rows_become_the_table_and_all_of_the_result_becomes_json(monkeypatch, tmp_path, capsys):
    result = {"rows": [{"way": "a|b <i>", "rate": 12.0}], "ratio": float("nan"), "deep": [1, 2]}
    _, folder = run(monkeypatch, tmp_path, result, "--json")
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    kept = json.loads((folder / "report.json").read_text())
    assert said == {"name": "bench_loader", **result, "ratio": None}
    assert {k: kept[k] for k in said} == said and kept["versions"]
    assert "a|b &lt;i&gt;" in (folder / "report.html").read_text()


def test_without_json_no_line_of_json_is_printed(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path, {"speed": 1.0})
    assert "{" not in capsys.readouterr().out


@pytest.mark.parametrize("error", [bench.DataError, bench.ContractError])
def test_a_refused_benchmark_leaves_no_report(monkeypatch, tmp_path, capsys, error):
    def refuse(rest):
        raise error("preset is 'x'; choose another")

    monkeypatch.setattr(training, "main", refuse)
    assert bench.main(["train", "--runs", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "brainfm: preset is 'x'; choose another\n"
    assert list(tmp_path.iterdir()) == []


def test_all_puts_every_benchmark_on_one_page(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(bench, "names", lambda: ["loader", "train"])
    monkeypatch.setattr(loader, "main", lambda rest: {"ratio": 12.5, "notes": ["Warm."]})
    monkeypatch.setattr(training, "main", lambda rest: {"title": "Step", "rows": [{"a": 0.75}]})
    assert bench.main(["all", "--json", "--runs", str(tmp_path)]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["name"] == "bench" and said["benchmarks"]["loader"]["ratio"] == 12.5
    page = (tmp_path / "bench" / "report.html").read_text()
    assert page.index("Benchmark: loader") < page.index("Warm.") < page.index("Step")
    assert ".750" in page
