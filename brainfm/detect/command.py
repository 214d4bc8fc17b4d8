"""`python -m brainfm detect`: follow a recording, say what is found, write table and timeline.

Shapes: S steps.
"""

from __future__ import annotations

import csv
import json
import re
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from brainfm.data.format import publish
from brainfm.detect.alarms import AlarmRule, Watch, alarms, no_signal, smooth
from brainfm.detect.engine import Engine, require_causal
from brainfm.detect.score import Scores
from brainfm.detect.sources import Source, open_file
from brainfm.detect.timeline import Envelope, draw_timeline
from brainfm.errors import ContractError, DataError
from brainfm.hub import load_model
from brainfm.signals.szcore import is_seizure, write_tsv

Say = Callable[[str], None]

EVERY_S = 10.0
"""Seconds of wall clock between two lines of progress."""


def run(args: Any, say: Say) -> int:
    """The command with its parsed arguments; `say` is given every line."""
    detector = load_detector(args.checkpoint)
    if args.causal or args.follow or args.live is not None:
        # Before anything waits for samples.
        require_causal(detector.preprocess.recipe, str(args.checkpoint))
    try:
        source, live = _source(args)
    except KeyboardInterrupt:
        say("stopped before the first sample; nothing was written")
        return 130
    rule, chosen = alarm_rule(detector.config, args.threshold)
    say(f"threshold {rule.threshold:g}: {chosen}")
    files = output_files(args.recording or source.where, args.out)
    follow = Follow(
        detector,
        source,
        rule,
        line_freq=args.line_freq,
        causal=live or args.causal,
        where=f"{source.where} with {args.checkpoint}",
        say=say,
    )
    scores = follow.run()
    result = {**write_outputs(files, follow, scores), "threshold_from": chosen}
    say(
        f"{_alarms(result['events'])} in {clock(scores.duration_s)}; no signal for "
        f"{result['no_signal_s']:.0f} s; {result['times_real_time']:.0f} times real time"
    )
    for path in files.values():
        say(f"written to {path}")
    if args.json:
        say(json.dumps(result))
    return 0


def load_detector(checkpoint: str | Path) -> Any:
    """The detector in a folder.

    Raises
    ------
    ContractError
        If the folder holds another model.
    """
    from brainfm.detect.detector import SeizureDetector

    model = load_model(checkpoint)
    if not isinstance(model, SeizureDetector):
        raise ContractError(
            f"{checkpoint}: holds a {type(model).__name__}, which detects nothing; fine-tune it "
            "with a configs/finetune/seizure_*.yaml and give that run's export"
        )
    return model


def alarm_rule(config: Any, threshold: float | None) -> tuple[AlarmRule, str]:
    """How probabilities become alarms, and who chose the threshold.

    Parameters
    ----------
    config : of the detector
    threshold : given by the user; None: the detector's
    """
    if threshold is None:
        nobody = "chosen by nobody; `python -m eval.seizure --keep` chooses on validation patients"
        return config.alarm, config.threshold_from or nobody
    try:
        return replace(config.alarm, threshold=threshold), "given as --threshold"
    except ValueError as e:
        raise DataError(f"--threshold: {e}") from e


def output_files(recording: str, out: str | None) -> dict[str, Path]:
    """What is written for a recording: never over annotations that lie beside it."""
    path = Path(re.sub(r"^lsl:", "", recording))
    stem = re.sub(r"_i?eeg$|_meg$", "", path.name.split(".")[0]) or "recording"
    folder = Path(out or "detections")
    table = folder / f"{stem}_events.tsv"
    if table.exists() and path.exists() and table.parent.resolve() == path.parent.resolve():
        raise DataError(
            f"{table}: lies beside the recording and may be its annotation; give another --out"
        )
    return {
        "events": table,
        "probabilities": folder / f"{stem}_probabilities.csv",
        "timeline": folder / f"{stem}_timeline.png",
    }


class Follow:
    """One recording on its way through the engine, with what is said meanwhile.

    Parameters
    ----------
    detector : SeizureDetector
    source : what is followed
    rule : how probabilities become alarms
    line_freq : Hz, where the source does not say
    causal : refuse filters that look ahead
    where : recording and checkpoint, for sentences
    say : is given each line
    """

    def __init__(
        self,
        detector: Any,
        source: Source,
        rule: AlarmRule,
        *,
        line_freq: float | None = None,
        causal: bool = False,
        where: str = "",
        say: Say = lambda line: None,
    ) -> None:
        self.source, self.rule, self.say = source, rule, say
        self.engine = Engine(
            detector,
            source.channels,
            source.sfreq,
            line_freq or source.line_freq,
            causal,
            intervals_s=source.intervals_s,
            where=where or source.where,
            watch=self._see,
        )
        self.envelope = Envelope(self.engine.channels, detector.preprocess.recipe.sfreq)
        # All that grows with the recording: 8 bytes a step, 2.4 MB in a week of steps of 2 s.
        self.proba = array("d")
        self._watch = Watch(self.engine.step_s, rule)
        self.seconds = self.busy_s = 0.0
        self.stopped = False
        self._notes = 0
        self._line_due = 0.0

    def run(self) -> Scores:
        """Everything there is; Ctrl-C ends it as if the recording had ended.

        Raises
        ------
        DataError
            If the recording ends before its first step.
        """
        for note in self.source.notes:
            self.say(f"note: {note}")
        self._line_due = time.monotonic() + EVERY_S
        try:
            for x_TC, gap_s in self.source.pieces():
                if gap_s is not None:
                    self.say(f"{clock(self.seconds)}: {gap_s:.2f} s are missing; starting anew")
                    self._add(self.engine.gap(gap_s), gap_s, 0.0)
                began = time.perf_counter()
                found = self.engine.push(x_TC)
                took_s = time.perf_counter() - began
                self._add(found, len(x_TC) / self.source.sfreq, took_s)
        except KeyboardInterrupt:
            self.stopped = True
            self.say(f"stopped at {clock(self.seconds)}; writing what was found")
        began = time.perf_counter()
        found = self.engine.finish()
        self._add(found, 0.0, time.perf_counter() - began)
        if not self.proba:
            raise DataError(
                f"{self.source.where}: {self.seconds:g} s are less than a step of "
                f"{self.engine.step_s:g} s; nothing was written"
            )
        duration_s = max(self.seconds, len(self.proba) * self.engine.step_s)
        return Scores.of(np.array(self.proba), self.engine.step_s, duration_s)

    @property
    def times_real_time(self) -> float:
        """Seconds of signal per second of computing; waiting for samples is none."""
        return self.seconds / max(self.busy_s, 1e-9)

    def _see(self, first: int, y_TC: np.ndarray) -> None:
        self.envelope.add(first, y_TC)

    def _add(self, found_S: np.ndarray, seconds: float, busy_s: float) -> None:
        self.seconds += seconds
        self.busy_s += busy_s
        for note in self.engine.notes[self._notes :]:
            self.say(f"note: {note}")
        self._notes = len(self.engine.notes)
        self._tell(found_S)
        if time.monotonic() >= self._line_due:
            self._line_due = time.monotonic() + EVERY_S
            total = self.source.duration_s
            of = f" of {clock(total)}" if total else ""
            self.say(f"{clock(self.seconds)}{of}, {self.times_real_time:.0f} times real time")

    def _tell(self, found_S: np.ndarray) -> None:
        """Alarms that are new; an alarm grows, but never goes away."""
        for p in found_S.tolist():
            self.proba.append(p)
            onset_s = self._watch.push(p)
            if onset_s is not None:
                given_s = len(self.proba) * self.engine.step_s
                self.say(f"ALARM at {clock(given_s)}: seizure from {clock(onset_s)} on")


def write_outputs(files: dict[str, Path], follow: Follow, scores: Scores) -> dict[str, Any]:
    """Table, probabilities and picture; what `--json` prints."""
    rule, source = follow.rule, follow.source
    events = alarms(scores.proba_S, scores.step_s, rule)
    smoothed_S = smooth(scores.proba_S, scores.step_s, rule.smooth_s)
    sure = []
    for e in events:
        first = round(e.onset_s / scores.step_s)
        steps = slice(first, first + round(e.duration_s / scores.step_s))
        sure.append(float(np.nanmax(smoothed_S[steps])))
    write_tsv(files["events"], events, scores.duration_s, start=source.start, confidence=sure)
    with publish(files["probabilities"]) as temporary, open(temporary, "w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["end_s", "p_seizure", "p_smoothed"])
        for t, *p in zip(scores.time_S, scores.proba_S, smoothed_S, strict=True):
            rows.writerow([f"{t:.3f}", *("" if np.isnan(v) else f"{v:.6f}" for v in p)])
    name = Path(source.where).name
    draw_timeline(
        files["timeline"],
        follow.envelope,
        scores,
        rule,
        title=f"{name}: {_alarms(events)} in {clock(scores.duration_s)}",
        annotated=[e for e in source.events if is_seizure(e.label)],
    )
    silent = no_signal(scores.proba_S, scores.step_s)
    return {
        "recording": source.where,
        "duration_s": scores.duration_s,
        "steps": len(scores.proba_S),
        "step_s": scores.step_s,
        "threshold": rule.threshold,
        "alarms": len(events),
        "events": [[e.onset_s, e.duration_s, c] for e, c in zip(events, sure, strict=True)],
        "no_signal_s": float(sum(e.duration_s for e in silent)),
        "times_real_time": follow.times_real_time,
        "channels": len(follow.engine.channels),
        "stopped": follow.stopped,
        "notes": [*source.notes, *follow.engine.notes],
        "files": {k: str(v) for k, v in files.items()},
    }


def clock(seconds: float) -> str:
    """1:02:03.5"""
    minutes, s = divmod(round(seconds, 1), 60)
    return f"{int(minutes // 60)}:{int(minutes % 60):02d}:{s:04.1f}"


def _alarms(events: Sequence[Any]) -> str:
    return f"{len(events)} alarm{'' if len(events) == 1 else 's'}"


def _source(args: Any) -> tuple[Source, bool]:
    """What to read, and whether it is live."""
    if (args.recording is None) == (args.live is None):
        raise DataError(
            "detect reads either a file or a live stream: give RECORDING, or --live lsl:NAME"
        )
    if args.live is not None:
        from brainfm.detect.lsl import open_lsl

        kind, _, name = args.live.partition(":")
        if kind != "lsl" or not name:
            raise DataError(f"--live is '{args.live}'; give lsl: and the stream's name")
        return open_lsl(name, args.patience), True
    if args.follow:
        from brainfm.detect.follow import follow_file

        return follow_file(args.recording, args.patience), True
    return open_file(args.recording, args.duplicates), False
