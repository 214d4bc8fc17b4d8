"""The sentences of the quality checks: which columns, how far shifted, how many, and why."""

from __future__ import annotations

from brainfm.signals.copies import Copy, groups
from brainfm.types import Channels


def describe_lagged(copies: list[Copy], channels: Channels) -> str:
    """One sentence on shifted copies, naming the columns (counted from 1) and the shift."""
    sentences = []
    for group in groups(copies):
        step = {c.lag for c in copies if c.copy - c.original == 1 and c.original in group}
        first = group[0] + 1
        run = group == list(range(group[0], group[-1] + 1))
        names = f"{channels.name[group[0]]} to {channels.name[group[-1]]}"
        if run and len(step) == 1 and len(group) > 2:
            sentences.append(
                f"channels {first + 1}..{group[-1] + 1} repeat channel {first} shifted by "
                f"{step.pop()} samples each ({names}): one electrode posing as "
                f"{_word(len(group))}"
            )
        else:
            c = next(c for c in copies if c.original in group)
            sentences.append(
                f"channel {c.copy + 1} ('{channels.name[c.copy]}') repeats channel "
                f"{c.original + 1} ('{channels.name[c.original]}') shifted by {c.lag} samples: "
                f"one electrode posing as {_word(len(group))}"
            )
    return "; ".join(sentences)


def summary(bad: dict[int, str]) -> str:
    """The commonest reasons, counted."""
    reasons: dict[str, int] = {}
    for text in bad.values():
        reasons[text] = reasons.get(text, 0) + 1
    top = sorted(reasons.items(), key=lambda kv: -kv[1])[:3]
    return "; ".join(f"{n} x {text}" if n > 1 else text for text, n in top)


def _word(n: int) -> str:
    small = (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen"
    ).split()
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()
    if n < 20:
        return small[n]
    if n < 100:
        return tens[n // 10 - 2] + (f"-{small[n % 10]}" if n % 10 else "")
    return str(n)
