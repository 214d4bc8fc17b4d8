"""The preprocessing contract: what was done to a signal before a model saw it.

It is saved beside the weights as `preprocessor_config.json`, beside the data as `store.json`,
and compared whenever the two meet.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from brainfm.errors import ContractError
from brainfm.types import Recording

FILE_NAME = "preprocessor_config.json"


@dataclass(frozen=True)
class Recipe:
    """What preparation does to a whole recording, before it is stored.

    Defaults: BrainOmni (arXiv 2505.18185), 256 Hz, 0.1 to 96 Hz, notch at the line frequency.
    """

    sfreq: float = 256.0
    """Hz after anti-aliased resampling."""
    highpass_hz: float | None = 0.1
    """Lower edge of the band-pass; trials too short for it lose their mean instead."""
    lowpass_hz: float | None = 96.0
    """Upper edge of the band-pass; below half of `sfreq`."""
    notch: bool = True
    """Remove the line frequency and its harmonics below `lowpass_hz`."""
    causal: bool = False
    """Filters that never look ahead (`brainfm.signals.causal`), the same offline and live. Without
    them a sample depends on seconds to come, and a model cannot follow a recording as it runs."""
    bold_sfreq: float | None = None
    """Frames of fMRI a second after resampling; None keeps one frame a TR. (Published models bring
    all data to one rate, 0.8 to 1.0 s a frame: NeuroSTORM, CortexMAE.)"""
    bold_highpass_hz: float | None = 0.008
    """Lower edge for fMRI, by cosine regressors: 1/128 s, SPM's custom."""
    bold_lowpass_hz: float | None = None
    """Upper edge for fMRI, such as 0.1 Hz for connectivity at rest."""

    def __post_init__(self) -> None:
        if not 1.0 <= self.sfreq <= 100_000:
            raise ContractError(f"recipe: sfreq is {self.sfreq} Hz; it must lie in 1 to 100000 Hz")
        if self.lowpass_hz is not None and self.lowpass_hz > self.sfreq / 2:
            raise ContractError(
                f"recipe: lowpass_hz is {self.lowpass_hz}, above half of sfreq {self.sfreq} Hz; "
                "lower it or raise sfreq"
            )
        if self.bold_sfreq is not None and not 0.05 <= self.bold_sfreq <= 20:
            raise ContractError(
                f"recipe: bold_sfreq is {self.bold_sfreq} Hz; it must lie in 0.05 to 20 Hz, one "
                "over the TR in seconds"
            )

    def rate_of(self, recording: Recording) -> float | None:
        """Hz at which a recording is stored; None: as it was recorded."""
        return self.bold_sfreq if recording.is_bold else self.sfreq


@dataclass(frozen=True)
class Normalise:
    """What happens to each window when it is read."""

    reference: str = "none"
    """"average": subtract, at each sample, the mean over channels of a kind (as published).
    "none" is the default: with few channels the average reference kept the published codec
    from training at all (brainfm measured it; docs/benchmarks.md)."""
    scale: str = "kind_std"
    """"kind_std": one standard deviation per channel kind and window, so that relative
    amplitudes survive (as published). "channel_robust": median and IQR per channel."""
    clip: float | None = 20.0
    """Limit in units of the scale; None in strict mode."""

    def __post_init__(self) -> None:
        for key, known in (("reference", ("none", "average")), ("scale", SCALES)):
            if getattr(self, key) not in known:
                raise ContractError(
                    f"normalise: {key} is '{getattr(self, key)}'; it must be one of {known}"
                )


SCALES = ("kind_std", "channel_robust")

SINCE = {"causal", "bold_sfreq", "bold_highpass_hz", "bold_lowpass_hz"}
"""Fields younger than the first contracts: where they are missing, their default was done."""


@dataclass(frozen=True)
class Preprocess:
    """Recipe of the file and normalisation of the window: the whole contract."""

    recipe: Recipe = field(default_factory=Recipe)
    normalise: Normalise = field(default_factory=Normalise)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, d: dict[str, Any], where: str = "preprocessing contract") -> Preprocess:
        """Inverse of `to_dict`; unknown or missing keys raise `ContractError` with their name.

        Keys of `SINCE` may be missing: a contract older than the field was not made with it.
        """
        _same_keys(d, cls, where)
        _same_keys(d["recipe"], Recipe, f"{where}, recipe")
        _same_keys(d["normalise"], Normalise, f"{where}, normalise")
        return cls(Recipe(**d["recipe"]), Normalise(**d["normalise"]))

    def save(self, folder: str | Path) -> None:
        """Write `preprocessor_config.json` into `folder`."""
        Path(folder, FILE_NAME).write_text(json.dumps(self.to_dict(), indent=2) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> Preprocess:
        """Read `preprocessor_config.json` of `folder`."""
        path = Path(folder, FILE_NAME)
        if not path.exists():
            raise ContractError(
                f"{path}: missing; weights without their preprocessing contract cannot be used, "
                "export them again with save_pretrained"
            )
        try:
            content = json.loads(path.read_text())
        except json.JSONDecodeError as e:
            raise ContractError(f"{path}: not valid JSON ({e}); export the model again") from e
        return cls.from_dict(content, str(path))


def require_same(mine: Any, theirs: Any, *, my_name: str, their_name: str) -> None:
    """Raise `ContractError` naming the first field in which two contracts differ.

    Parameters
    ----------
    mine, theirs : two `Recipe`, `Normalise` or `Preprocess`
    my_name, their_name : who they belong to, for the sentence
    """
    for f in fields(mine):
        a, b = getattr(mine, f.name), getattr(theirs, f.name)
        if hasattr(a, "__dataclass_fields__"):
            require_same(a, b, my_name=my_name, their_name=their_name)
        elif a != b:
            raise ContractError(
                f"{f.name} is {a!r} in {my_name} but {b!r} in {their_name}; "
                "prepare the data with the model's recipe, or train with the data's"
            )


def _same_keys(d: dict[str, Any], cls: type, where: str) -> None:
    known = {f.name for f in fields(cls)}
    for name, extra in (
        ("unknown key", set(d) - known),
        ("missing key", known - set(d) - SINCE),
    ):
        if extra:
            raise ContractError(f"{where}: {name} {sorted(extra)}; known: {sorted(known)}")
