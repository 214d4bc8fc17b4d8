"""Which of K words was heard: accuracy among the first one and five.

Shapes: N windows, K words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brainfm.errors import ContractError
from brainfm.signals.spelling import normalise
from eval.speech.answers import CHANCE, LINEAR, NO_BRAIN, Answer, Said, Say
from eval.speech.decoders import Trained
from eval.speech.language import WORD_ORDER, Language
from eval.speech.linear import Logistic, Ridge, fold_of
from eval.speech.scores import Counts, Metric
from eval.speech.spectrogram import BINS, Patient
from eval.speech.windows import Plan


class Words:
    """Closed-vocabulary words.

    Parameters
    ----------
    plan : Plan with a vocabulary
    """

    title = "Words of a closed vocabulary"
    metrics = (Metric("top-1"), Metric("top-5"))
    needs_val = False

    def __init__(self, plan: Plan) -> None:
        if not plan.vocabulary:
            raise ContractError("the decoder's classes have no names; export it after training")
        self.plan, self.language = plan, Language(plan)
        self.number = {normalise(word): k for k, word in enumerate(plan.vocabulary)}
        self.y_N = self._classes(plan.test)

    def read(self, trained: Trained, said: Said) -> Said:
        """Logits as they are: only their order counts."""
        return said

    def baselines(self, say: Say) -> dict[str, Answer]:
        """What needs no brain, and linear models of the spectrogram."""
        n, k = len(self.plan.test), len(self.number)
        count_K = np.array([self.language.word_counts[w] for w in self.number], float)
        found = {
            "chance": Answer(CHANCE, [[np.zeros(k)] * n]),
            "majority (word counts of TRAIN)": Answer(NO_BRAIN, [[count_K] * n]),
            f"language model only (word {WORD_ORDER}-gram, true words before)": Answer(
                NO_BRAIN, [self._from_context()]
            ),
        }
        for name, said in self._linear(count_K, say).items():
            found[name] = Answer(LINEAR, [said])
        return found

    def counts(self, said: Said, val: Said | None) -> dict[str, Counts]:
        score_NK = np.stack(said)
        return {
            m.name: Counts.each(in_top(score_NK, self.y_N, k))
            for m, k in zip(self.metrics, (1, 5), strict=True)
        }

    def facts(self) -> dict[str, Any]:
        return {
            "words": len(self.number),
            "chance": 1 / len(self.number),
            "train_windows": len(self.plan.train),
        }

    def notes(self) -> list[str]:
        return [
            f"Closed vocabulary of {len(self.number)} words; chance is 1/{len(self.number)} and "
            f"5/{len(self.number)}. Ties share the places they stand for. The language model is "
            "told the true words before in the sentence, which no decoder is. Linear models see "
            f"each window in {BINS} stretches: log power in bands and voltage of every contact."
        ]

    def details(self, said: Mapping[str, Said]) -> dict[str, Any]:
        return {}

    def _classes(self, windows: Sequence[Any]) -> NDArray[np.int64]:
        return np.array([self.number[normalise(w.text)] for w in windows], np.int64)

    def _from_context(self) -> Said:
        lm = self.language.word_lm
        places = [lm.number(word) for word in self.number]
        said: Said = []
        for w in self.plan.test:
            history = lm.start
            for word in self.language.before(w):
                history = lm.after(history, lm.number(word))
            said.append(lm.log_probs(history)[places])
        return said

    def _linear(self, count_K: NDArray[Any], say: Say) -> dict[str, Said]:
        models = ("spectrogram + logistic regression", "spectrogram + ridge")
        found: dict[str, Said] = {name: [count_K] * len(self.plan.test) for name in models}
        for patient in self.plan.patients:
            mine = [w for w in self.plan.train if w.patient == patient]
            if not mine:
                continue
            say(f"linear models of {patient}: {len(mine)} training windows")
            frames, fold = Patient(self.plan.store), fold_of(mine, 4)
            places = [i for i, w in enumerate(self.plan.test) if w.patient == patient]
            x, y = frames.binned(mine), self._classes(mine)
            seen = frames.binned([self.plan.test[i] for i in places])
            k = len(self.number)
            fits = (
                Logistic(k).fit(x, y, fold).proba(seen),
                Ridge().fit(x, np.eye(k, dtype=np.float32)[y], fold).predict(seen),
            )
            for name, score_NK in zip(models, fits, strict=True):
                for i, score_K in zip(places, score_NK, strict=True):
                    found[name][i] = score_K
        return found


def in_top(score_NK: NDArray[Any], y_N: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Whether the true class is among the best k; of a tie that straddles the edge, its share."""
    own_N1 = np.take_along_axis(score_NK, y_N[:, None], 1)
    above_N, tied_N = (score_NK > own_N1).sum(1), (score_NK == own_N1).sum(1)
    return np.clip((k - above_N) / tied_N, 0.0, 1.0)
