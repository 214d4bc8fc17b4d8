"""A scored comparison as tables and sentences: for the terminal, table.md and the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval.report import Report
from eval.speech.answers import DECODER, LINEAR, NO_BRAIN
from eval.tables import markdown_table, share

Result = dict[str, Any]
Rows = list[dict[str, Any]]

CONTROL_NOTE = (
    "Zero brain input: the decoder is given zeros. Shuffled pairs: each answer is scored with "
    "another window of the same patient. Brain later: the window is read from another moment of "
    "the same recording. Mean over seeds ± their deviation [95 % interval over {over}]; the best "
    "of each column is set off, the wrong brain left aside."
)
DIFFERENCE_NOTE = (
    "{main} less each other system on the same windows, 95 % interval over {over}; * where it "
    "leaves zero out in favour of {main}."
)


def score_rows(result: Result) -> Rows:
    """One row a system, one column a metric."""
    best = {}
    for m in result["metrics"]:
        means = {
            r["system"]: r["scores"][m["name"]]["mean"]
            for r in result["rows"]
            if r["sort"] != "wrong brain"
        }
        best[m["name"]] = (min if m["lower"] else max)(means.values())
    return [
        {
            "system": r["system"],
            "is": r["sort"],
            **{m["name"]: r["scores"][m["name"]] for m in result["metrics"]},
            "_class": "" if r["sort"] == DECODER else "control",
            "_best": [
                m["name"]
                for m in result["metrics"]
                if r["scores"][m["name"]]["mean"] == best[m["name"]]
            ],
        }
        for r in result["rows"]
    ]


def difference_rows(result: Result) -> Rows:
    """One row a comparison of the decoder, one column a metric."""
    rows: dict[str, dict[str, Any]] = {}
    for d in result["differences"]:
        row = rows.setdefault(d["b"], {"less": d["b"]})
        row[d["metric"]] = _difference(d)
    return list(rows.values())


def patient_rows(result: Result) -> Rows:
    """One row a patient: the first metric that tells most, of every system."""
    metric = leading(result)
    patients = sorted(result["rows"][0]["patients"][metric])
    return [
        {
            "patient": p.rpartition("/")[2],
            **{r["system"]: r["patients"][metric][p] for r in result["rows"]},
        }
        for p in patients
    ]


def transcript_rows(result: Result) -> list[tuple[str, Rows]]:
    """What was said, and below it what each system says: reference, decoder, language alone."""
    shown = [
        r["system"]
        for r in result["rows"]
        if r["sort"] in (DECODER, LINEAR, NO_BRAIN) or r["system"] == result["main"]
    ]
    found = []
    for t in result["details"]["transcripts"]:
        rows: Rows = [{"": "said", "words": t["said"], "phonemes": t["phonemes"], "_class": "best"}]
        rows += [{"": name, **t["systems"][name]} for name in shown if name in t["systems"]]
        found.append((t["said"], rows))
    return found


def leading(result: Result) -> str:
    """The metric that sentences and pictures are about."""
    names = [m["name"] for m in result["metrics"]]
    return next((n for n in names if n.startswith("WER")), names[0])


def verdicts(result: Result) -> list[str]:
    """What the differences say, in sentences that do not flatter."""
    by_name = {r["system"]: r for r in result["rows"]}
    found = []
    for sort, what in ((LINEAR, "the best linear model"), (NO_BRAIN, "what needs no brain")):
        for m in result["metrics"]:
            rivals = [
                d for d in result["differences"] if d["sort"] == sort and d["metric"] == m["name"]
            ]
            if not rivals:
                continue
            # The strongest rival is the one that least is won against.
            sign = -1 if m["lower"] else 1
            d = min(rivals, key=lambda d: sign * d["difference"])
            mine, other = (by_name[d[k]]["scores"][m["name"]]["mean"] for k in ("a", "b"))
            found.append(
                f"{m['name']}: {d['a']} {_verb(d)} {what} ({d['b']}), {share(mine)} against "
                f"{share(other)}; difference {_difference(d)}."
            )
    return found


def describe(result: Result) -> str:
    """One paragraph on what was scored."""
    n, t = result["n"], result["windows"]
    mark = "SIMULATED DATA: nobody was recorded. " if result["simulated"] else ""
    return (
        f"{mark}{n['windows']} {t['unit']}s of {n['sentences']} sentences and {n['patients']} "
        f"patient{'s' * (n['patients'] != 1)}; {n['train_windows']} training windows teach the "
        f"baselines. Intervals resample {result['over']}."
    )


def markdown(results: Sequence[Result]) -> str:
    """Sentences and tables, for files and issues."""
    parts = ["## Speech\n"]
    for result in results:
        mark = " (simulated)" if result["simulated"] else ""
        parts.append(f"### {result['title']}{mark}\n\n{describe(result)}\n")
        parts += [f"{s}\n" for s in verdicts(result)]
        parts.append(f"{markdown_table(score_rows(result))}\n{_note(CONTROL_NOTE, result)}\n")
        parts.append(
            f"{markdown_table(difference_rows(result))}\n{_note(DIFFERENCE_NOTE, result)}\n"
        )
        parts.append(markdown_table(patient_rows(result)) + f"\n{_patient_caption(result)}\n")
        parts += [f"{s}\n" for s in result["notes"]]
        for said, rows in transcripts_of(result):
            parts.append(f"Transcripts of '{said}':\n\n{markdown_table(rows)}")
    return "\n".join(parts)


def transcripts_of(result: Result) -> list[tuple[str, Rows]]:
    """See `transcript_rows`; empty where nothing is transcribed."""
    return transcript_rows(result) if "transcripts" in result["details"] else []


def add_section(report: Report, result: Result, pictures: dict[str, Any]) -> None:
    """Sentences, figures and tables of one question.

    Parameters
    ----------
    pictures : caption -> matplotlib figure, or path of a PNG
    """
    simulated = result["simulated"]
    report.heading(result["title"])
    report.text(describe(result))
    for sentence in verdicts(result):
        report.text(sentence, kind="verdict")
    report.table(score_rows(result), _note(CONTROL_NOTE, result), simulated=simulated)
    for caption, figure in pictures.items():
        report.figure(figure, caption, simulated)
    report.table(difference_rows(result), _note(DIFFERENCE_NOTE, result), simulated=simulated)
    report.table(patient_rows(result), _patient_caption(result), simulated=simulated)
    for said, rows in transcripts_of(result):
        report.table(rows, f"What was heard: '{said}'.", simulated=simulated)
    for note in result["notes"]:
        report.text(note)


def _note(text: str, result: Result) -> str:
    return text.format(over=result["over"], main=result["main"])


def _patient_caption(result: Result) -> str:
    return f"{leading(result)} of each patient."


def _verb(d: dict[str, Any]) -> str:
    sign = -1 if d["lower"] else 1
    if d["low"] is None:
        return "is ahead of" if sign * d["difference"] > 0 else "is not ahead of"
    low, high = sorted((sign * d["low"], sign * d["high"]))
    return "beats" if low > 0 else "is worse than" if high < 0 else "is not surely unlike"


def _difference(d: dict[str, Any]) -> str:
    text = _signed(d["difference"])
    if d["low"] is not None:
        text += f" [{_signed(d['low'])}, {_signed(d['high'])}]"
        text += " *" if _verb(d) == "beats" else ""
    return text


def _signed(value: float) -> str:
    return ("+" if value >= 0 else "\N{MINUS SIGN}") + share(abs(value))
