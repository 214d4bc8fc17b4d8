"""Which stretch of speech was heard: each brain segment among all tested stretches.

Shapes: Q brain segments, M candidates, E numbers of a stretch of speech.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from brainfm.errors import ContractError, DataError
from brainfm.heads.align import SAME, ranks, refuse_duplicates
from eval.speech.answers import CHANCE, LINEAR, Answer, Said, Say
from eval.speech.decoders import Trained
from eval.speech.heard import LIKELIHOOD, RIDGE, RIDGE_NOTE, at, ridge_features, stimulus
from eval.speech.likelihood import MOST_NUMBERS, OVERLAP, fitted, told_of_others
from eval.speech.linear import FOLDS, Ridge, Standard, fold_of
from eval.speech.scores import Counts, Metric
from eval.speech.spectrogram import BINS, Patient
from eval.speech.windows import Plan, Window, overlapping


class Retrieval:
    """Segments of speech, found by what the brain says of them.

    Parameters
    ----------
    plan : Plan whose windows carry a stimulus; a stretch that several patients heard is one
        candidate

    Raises
    ------
    DataError
        If segments overlap, or one patient heard the same stretch twice.
    """

    title = "Segments of speech found among others"
    metrics = (Metric("top-10"), Metric("top-1"))
    needs_val = False

    def __init__(self, plan: Plan) -> None:
        sizes = {stimulus(w).shape for w in plan.test}
        if len(sizes) > 1:
            raise ContractError(
                f"segments have features of {len(sizes)} shapes ({sorted(sizes)}), which cannot "
                "be compared; cut segments of one length (--unit segment)"
            )
        self.plan = plan
        every = np.concatenate([stimulus(w) for w in plan.train or plan.test])
        self.standard = Standard.of(every)
        self.pool, self.target_Q = candidates(plan, self._unit([stimulus(w) for w in plan.test]))
        self.speech_ME = self._unit([stimulus(w) for w in self.pool])

    def read(self, trained: Trained, said: Said) -> Said:
        """Scores of the candidates, from vectors of brain segments."""
        head = trained.decoder.head
        heard = torch.from_numpy(np.stack([stimulus(w) for w in self.pool]))
        with torch.no_grad():
            device = next(head.parameters()).device
            y_ME = head.speech(heard.to(device)).cpu().numpy()
        return list(np.stack(said) @ y_ME.T)

    def baselines(self, say: Say) -> dict[str, Answer]:
        """Guessing, and ridge: by the cosine of predicted and true features, standardised on
        TRAIN, and by a likelihood ratio.
        """
        said = self._unit(ridge_features(self.plan, say)) @ self.speech_ME.T
        flat = [np.zeros(len(self.pool), np.float32)] * len(self.plan.test)
        return {
            "chance": Answer(CHANCE, [flat]),
            RIDGE: Answer(LINEAR, [list(said)]),
            LIKELIHOOD: Answer(LINEAR, [self._likelihood(say)]),
        }

    def _likelihood(self, say: Say) -> Said:
        """Scores of all candidates; a patient without training windows gives zeros."""
        plan = self.plan
        found: Said = [np.zeros(len(self.pool), np.float32)] * len(plan.test)
        pool_ME = self._few([stimulus(w) for w in self.pool])
        for patient in plan.patients:
            if not any(w.patient == patient for w in plan.train):
                continue
            say(f"likelihood ratio of {patient}")
            taught = overlapping(plan, patient, plan.targets.segment_s / OVERLAP)
            asked = [i for i, w in enumerate(plan.test) if w.patient == patient]
            frames, fold_N = Patient(plan.store), fold_of(taught, FOLDS)
            x_NF, heard_NE = frames.binned(taught), self._few([stimulus(w) for w in taught])
            ridge = Ridge().fit(x_NF, heard_NE, fold_N)
            ratio = fitted(told_of_others(x_NF, heard_NE, fold_N), heard_NE, fold_N)
            told_QE = ridge.predict(frames.binned([plan.test[i] for i in asked]))
            for i, score_M in zip(asked, ratio.scores(told_QE, pool_ME), strict=True):
                found[i] = score_M
        return found

    def _few(self, heard: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """(W, E) standardised features of no more than `MOST_NUMBERS`, frames joined if need be."""
        n, features = heard[0].shape
        few = min(n, max(1, MOST_NUMBERS // features))
        return np.stack([at(self.standard(x), few).ravel() for x in heard]).astype(np.float64)

    def counts(self, said: Said, val: Said | None) -> dict[str, Counts]:
        score_QM = torch.from_numpy(np.stack(said))
        m = score_QM.shape[1]
        if float(score_QM.std()) == 0:  # guessing, whatever the order
            return {
                f"top-{k}": Counts.each(np.full(len(score_QM), min(k / m, 1.0))) for k in (1, 10)
            }
        rank_Q = ranks(score_QM, torch.from_numpy(self.target_Q)).numpy()
        return {f"top-{k}": Counts.each(rank_Q <= k) for k in (1, 10)}

    def facts(self) -> dict[str, Any]:
        m = len(self.pool)
        return {
            "pool": m,
            "segment_s": self.plan.targets.segment_s,
            "stimulus": self.plan.targets.stimulus,
            "chance_top1": 1 / m,
            "chance_top10": min(1.0, 10 / m),
        }

    def notes(self) -> list[str]:
        m = len(self.pool)
        return [
            f"Pool: {m} stretches of {self.plan.targets.segment_s:g} s of "
            f"'{self.plan.targets.stimulus}', all that are tested, of all patients, none twice and "
            f"none overlapping another; chance is {1 / m:.4f} and {min(1, 10 / m):.4f}. Ties count "
            f"against the true one. {RIDGE_NOTE} "
            f"The likelihood ratio belongs to a ridge from the whole segment ({BINS} stretches) to "
            f"all its features, taught by training segments {OVERLAP} times as dense: how much "
            "likelier a stretch is after what ridge said than before, both normal, errors those "
            "on training sentences that it was not fitted to."
        ]

    def details(self, said: Mapping[str, Said]) -> dict[str, Any]:
        return {}

    def matrix(self, said: Said, most: int = 60) -> tuple[NDArray[Any], str]:
        """Scores of the segments of one patient with their own candidates, in order of time."""
        patient = self.plan.patients[0]
        mine = [i for i, w in enumerate(self.plan.test) if w.patient == patient][:most]
        return np.stack([said[i] for i in mine])[:, self.target_Q[mine]], patient

    def _unit(self, heard: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        flat = np.stack([self.standard(x).ravel() for x in heard])
        size = np.linalg.norm(flat, axis=1, keepdims=True)
        return (flat / np.maximum(size, 1e-9)).astype(np.float32)


def candidates(plan: Plan, unit_QE: NDArray[np.float32]) -> tuple[list[Window], NDArray[np.int64]]:
    """One window for each stretch of speech, and the place of each tested window's own.

    Raises
    ------
    DataError
        If windows of a recording overlap, or one patient heard the same speech twice.
    """
    names = [f"{plan.store.path(w.ref.recording)} at {w.start_s:.1f} s" for w in plan.test]
    for i, (first, second) in enumerate(pairwise(w.ref for w in plan.test)):
        same = first.recording == second.recording
        if same and second.start < first.start + first.length:
            raise DataError(
                f"segments overlap ({names[i]}, and {names[i + 1]}), so both hold the same "
                "speech; cut them one after the other"
            )
    for patient in plan.patients:
        mine = [i for i, w in enumerate(plan.test) if w.patient == patient]
        refuse_duplicates(torch.from_numpy(unit_QE[mine]), [names[i] for i in mine])
    pool: list[int] = []
    target_Q = np.zeros(len(plan.test), np.int64)
    for i, one_E in enumerate(unit_QE):
        alike = np.flatnonzero(unit_QE[pool] @ one_E > SAME) if pool else []
        target_Q[i] = alike[0] if len(alike) else len(pool)
        if not len(alike):
            pool.append(i)
    return [plan.test[i] for i in pool], target_Q
