"""Decoders from their folders, and the windows they were trained on, from the run beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from brainfm.data.collate import require_store_recipe
from brainfm.data.speech import SpeechTargets
from brainfm.data.store import Store
from brainfm.errors import ContractError, DataError
from brainfm.hub import load_model
from brainfm.speech.decoder import SpeechDecoder

TWINS = ("random", "fresh", "scratch")
"""A decoder with one of these words in its name is the twin without pretraining."""


@dataclass(frozen=True)
class Trained:
    """A decoder and what its run says of its data.

    Attributes
    ----------
    name, run : `a`, and `a#2` for its second seed
    targets : how its windows are cut
    patch : samples in a step, or None
    query : recordings it was trained on ("" all); None where no run lies beside the folder
    twin : whether it is a control without pretraining
    """

    name: str
    run: str
    folder: str
    decoder: SpeechDecoder
    targets: SpeechTargets
    patch: int | None
    query: str | None
    twin: bool = False

    @property
    def head(self) -> str:
        return self.decoder.config.head


def load_decoders(
    named: Sequence[tuple[str, str]],
    store: Store,
    *,
    twins: Sequence[str] = (),
    targets: Mapping[str, Any] | None = None,
    patch_s: float | None = None,
) -> list[Trained]:
    """Every folder, read and checked; a name given more than once is one decoder in several seeds.

    Parameters
    ----------
    twins : names of decoders without pretraining, besides those that `TWINS` tells
    targets, patch_s : settings of the windows that win over those of the run

    Raises
    ------
    ContractError
        If a folder holds no speech decoder, or one for signals prepared otherwise.
    DataError
        If nothing says how the windows of a decoder are cut.
    """
    names = [name for name, _ in named]
    found: list[Trained] = []
    for name, folder in named:
        decoder = load_model(folder)
        if not isinstance(decoder, SpeechDecoder):
            raise ContractError(
                f"{folder}: holds a {type(decoder).__name__}, which is no speech decoder; "
                "fine-tune it first (configs/finetune)"
            )
        require_store_recipe(decoder.preprocess, store)
        data = _data_of(Path(folder))
        step_s = patch_s if patch_s is not None else (data or {}).get("patch_s")
        seed = sum(t.name == name for t in found) + 1
        found.append(
            Trained(
                name,
                f"{name}#{seed}" if names.count(name) > 1 else name,
                str(folder),
                decoder.eval(),
                _targets(folder, decoder, data, targets or {}),
                None if step_s is None else round(float(step_s) * store.recipe.sfreq),
                None if data is None else str(data.get("recordings") or ""),
                name in twins or any(word in name.lower() for word in TWINS),
            )
        )
    return found


def by_head(trained: Sequence[Trained]) -> dict[str, list[Trained]]:
    """Decoders that answer the same question.

    Raises
    ------
    ContractError
        If two of one head were trained on other windows or words: they could not be compared.
    """
    groups: dict[str, list[Trained]] = {}
    for t in trained:
        groups.setdefault(t.head, []).append(t)
    for head, group in groups.items():
        first = group[0]
        for other in group[1:]:
            for what, a, b in (
                ("windows", first.targets, other.targets),
                ("steps", first.patch, other.patch),
                ("words", first.decoder.config.vocabulary, other.decoder.config.vocabulary),
                ("signals", first.decoder.preprocess, other.decoder.preprocess),
            ):
                if a != b:
                    raise ContractError(
                        f"{first.run} and {other.run} both have head '{head}' but other {what} "
                        f"({a} against {b}); score them one by one"
                    )
    return groups


def _data_of(folder: Path) -> dict[str, Any] | None:
    """Settings of the data in the config.yaml of the run that a folder was exported from."""
    import yaml

    for place in (folder / "config.yaml", folder.resolve().parent / "config.yaml"):
        if not place.is_file():
            continue
        try:
            content = yaml.safe_load(place.read_text())
            data = content["data"]
            return dict(data.get("init_args", data))
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as e:
            raise DataError(
                f"{place}: is no configuration of a run ({type(e).__name__}: {e}); give the "
                "folder `<run>/export`, or move the file away and give --unit"
            ) from e
    return None


def _targets(
    folder: str, decoder: SpeechDecoder, data: dict[str, Any] | None, given: Mapping[str, Any]
) -> SpeechTargets:
    settings = (data or {}).get("speech")
    if settings is None and "unit" not in given:
        raise DataError(
            f"{folder}: no run beside it says how its windows are cut; give --unit, and --start "
            "and --stop as it was trained"
        )
    settings = {**(settings or {}), **given}
    unknown = set(settings) - {f.name for f in fields(SpeechTargets)}
    if unknown:
        raise DataError(f"{folder}: its run has settings of speech that are unknown: {unknown}")
    head = decoder.config.head
    if head in ("align", "regress") and not settings.get("stimulus"):
        raise DataError(f"{folder}: head '{head}' needs the name of a stimulus; give --stimulus")
    try:
        targets = SpeechTargets(**settings)
    except (TypeError, ValueError) as e:
        raise DataError(f"{folder}: windows of speech cannot be cut ({e})") from e
    # Segments that overlap would be candidates that share speech.
    return replace(targets, vocabulary=None, stride_s=None, phonemes=head == "ctc")
