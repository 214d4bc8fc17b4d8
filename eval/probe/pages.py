"""A probe's results as report sections and as Markdown."""

from __future__ import annotations

from typing import Any

from eval.probe.figures import bars, confusions, learning_curves
from eval.probe.run import METRIC, best_row, table_rows
from eval.report import Report
from eval.tables import markdown_table

COLUMNS = ["route", "balanced accuracy", "accuracy", "kappa", "macro f1", "auroc", "seeds"]

INTERVAL = (
    "Value ± standard deviation over seeds [95 % bootstrap interval over test trials, the mean "
    "over seeds in each resample]. Baselines are fitted on the same trials."
)


def summary(report: Report, results: list[dict[str, Any]]) -> None:
    """One line a data set: best model route, its control, best baseline."""
    rows = []
    for result in results:
        model, baseline = (best_row(result["rows"], s) for s in ("model", "baseline"))
        rows.append(
            {
                "data set": result["title"],
                "test trials": result["n_test"],
                "chance": 1.0 / len(result["classes"]),
                "best model route": model and model["route"],
                "balanced accuracy": model and model[METRIC],
                "best baseline": baseline and baseline["route"],
                "its balanced accuracy": baseline and baseline[METRIC],
            }
        )
    report.table(
        rows,
        "Best of each sort by test figure, which flatters both sides; the tables below show all. "
        + INTERVAL,
    )


def add_dataset(report: Report, result: dict[str, Any]) -> None:
    """Verdict, table and figures of one data set."""
    simulated = result["simulated"]
    report.heading(result["title"])
    for sentence in result["verdict"]:
        report.text(sentence, kind="verdict")
    report.text(describe(result))
    report.table(table_rows(result), INTERVAL, COLUMNS, simulated=simulated)
    report.figure(
        bars(result),
        f"{result['title']}: balanced accuracy, 95 % bootstrap intervals, seeds as dots.",
        simulated,
    )
    if best_row(result["rows"], "model") or best_row(result["rows"], "baseline"):
        report.figure(
            confusions(result),
            f"{result['title']}: share of each true class, summed over seeds, for the best "
            "model route and the best baseline.",
            simulated,
        )
    curves = learning_curves(result)
    if curves is not None:
        report.figure(
            curves,
            f"{result['title']}: training loss of the fine-tunes, mean and range over seeds.",
            simulated,
        )
    chosen = [
        {
            "route": r["route"],
            "chosen inside the training set": "; ".join(r["choices"]),
            "fit, s": round(r["fit_s"], 1),
        }
        for r in result["rows"]
        if r["choices"]
    ]
    report.table(chosen, "What cross-validation inside the training set chose, and seconds a fit.")


def describe(result: dict[str, Any]) -> str:
    """One sentence on trials, channels and split."""
    counts = ", ".join(
        f"{n} {c}" for n, c in zip(result["test_counts"], result["classes"], strict=True)
    )
    split = (
        "the official split"
        if result["split"] == "official"
        else f"leave one run out ({', '.join(result['folds'])})"
    )
    train = " or ".join(str(n) for n in sorted(set(result["n_train"])))
    return (
        f"{train} training and {result['n_test']} test trials ({counts}) of "
        f"{result['seconds_per_trial']:g} s and {result['channels']} channels, {split}. Test "
        "trials were read once, after every route had been fitted."
        + (
            f" {result['left_out']} trials with other channels are left out."
            if result["left_out"]
            else ""
        )
    )


def markdown(result: dict[str, Any]) -> str:
    """Heading, verdict and table, for files and issues."""
    return (
        f"## {result['title']}\n\n"
        + " ".join(result["verdict"])
        + f"\n\n{describe(result)}\n\n"
        + markdown_table(table_rows(result), COLUMNS)
    )
