"""What knows everything scores 1, what hears nothing or the wrong moment does not, lines do."""

import json

import numpy as np
import pytest
import torch
from listeners import (
    DATASET,
    PREPROCESS,
    RECIPE,
    TARGETS,
    WORDS,
    Oracle,
    listener,
    listeners,
    sentences_of,
    trained,
)

from brainfm.data.store import Store, build_tables, write_recording
from brainfm.errors import ContractError, DataError
from eval.report import json_text
from eval.speech.answers import predict
from eval.speech.decoders import by_head
from eval.speech.figures import pictures
from eval.speech.pages import markdown, transcript_rows
from eval.speech.phonemes import UNIFORM
from eval.speech.retrieval import candidates
from eval.speech.run import evaluate
from eval.speech.windows import plan_windows

LR, RIDGE = "spectrogram + logistic regression", "spectrogram + ridge"
ZERO, SHUFFLED, LATER = "zero brain input", "shuffled pairs", "brain 10 s later"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return listeners(tmp_path_factory.mktemp("listeners"))


@pytest.fixture(scope="module")
def sections(store):
    """One oracle a head, and everything it is compared with."""
    torch.set_num_threads(1)
    decoders = []
    for head in TARGETS:
        words = WORDS if head == "classify" else None
        plan = plan_windows(store, TARGETS[head], PREPROCESS, vocabulary=words)
        decoders.append(trained(Oracle(plan, head)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eval.speech.phonemes.WEIGHTS", (0.3, 0.7))  # a third of the searches
        patch.setattr("eval.speech.phonemes.BONUSES", (0.0, 2.0))
        found = evaluate(store, decoders, n_resamples=50)
    return {s.head: s for s in found}


def scores(section):
    return {
        r["system"]: {m: s["mean"] for m, s in r["scores"].items()} for r in section.result["rows"]
    }


BEST = {
    "classify": {"top-1": 1.0, "top-5": 1.0},
    "ctc": {"PER greedy": 0.0, "PER, phoneme 4-gram": 0.0, "CER": 0.0},
    "align": {"top-1": 1.0, "top-10": 1.0},
    "regress": {"correlation": 1.0},
}


@pytest.mark.parametrize("head", BEST)
def test_a_decoder_that_knows_everything_is_perfect(head, sections):
    found = scores(sections[head])["oracle"]
    assert {m: pytest.approx(found[m], abs=1e-6) for m in BEST[head]} == BEST[head]


def test_the_wrong_brain_leaves_words_at_chance(sections):
    found = scores(sections["classify"])
    assert found["chance"]["top-1"] == pytest.approx(1 / 6)
    for name in (SHUFFLED, LATER, ZERO):
        assert found[name]["top-1"] < 0.4
    # What is shifted asks for no tested window, so the oracle knows nothing of it.
    assert found[LATER] == found[ZERO] == found["chance"]


def test_the_wrong_brain_leaves_segments_at_chance(sections):
    section = sections["align"]
    found, pool = scores(section), section.result["facts"]["pool"]
    assert pool == len(section.task.plan.test)
    assert found["chance"]["top-10"] == pytest.approx(10 / pool)
    assert found[SHUFFLED]["top-1"] == 0 and found[ZERO]["top-1"] <= 1 / pool
    assert abs(scores(sections["regress"])[SHUFFLED]["correlation"]) < 0.3


def test_zero_input_decodes_as_the_language_model_alone(sections):
    # The oracle says nothing of zeros: equal probabilities, through the same search.
    found, decoded = scores(sections["ctc"]), sections["ctc"].task.decoded
    assert found[ZERO] == found[UNIFORM]
    said = sections["ctc"].said
    assert decoded[id(said[ZERO])]["words"] == decoded[id(said[UNIFORM])]["words"]
    assert found[UNIFORM]["PER greedy"] == 1.0
    assert found[UNIFORM]["WER, lexicon + word 3-gram"] > 0.5


def test_linear_models_beat_chance_where_lines_suffice(sections):
    words = scores(sections["classify"])
    assert min(words[LR]["top-1"], words[RIDGE]["top-1"]) > 0.9
    said = scores(sections["ctc"])
    assert max(said[n]["PER, phoneme 4-gram"] for n in (LR, RIDGE)) < 0.4
    assert max(said[n]["WER, lexicon + word 3-gram"] for n in (LR, RIDGE)) < 0.5
    assert scores(sections["align"])[RIDGE]["top-1"] > 0.5
    assert scores(sections["regress"])[RIDGE]["correlation"] > 0.7


def test_every_table_has_every_control(sections):
    for head, section in sections.items():
        sorts = {r["system"]: r["sort"] for r in section.result["rows"]}
        assert {ZERO, SHUFFLED, LATER, RIDGE} <= set(sorts)
        assert (LR in sorts) == (head in ("classify", "ctc"))
        assert sorts[RIDGE] == "linear" and sorts[LATER] == "wrong brain"
        assert any("No twin" in n for n in section.result["notes"])
        compared = {d["b"] for d in section.result["differences"]}
        assert compared == set(sorts) - {"oracle", "chance"}
        assert section.result["over"] == "sentences"


def test_the_decoder_never_sees_what_was_said(store):
    plan = plan_windows(store, TARGETS["classify"], PREPROCESS, vocabulary=WORDS)

    class Nosy(Oracle):
        def predict(self, batch):
            assert batch.target_B is batch.sequence_BL is batch.stimulus_BNF is None
            self.sizes = (batch.scale_BC, batch.offset_BC, batch.x_BCWP)
            return super().predict(batch)

    decoder = Nosy(plan, "classify")
    predict(decoder, plan, [w.ref for w in plan.test[:3]], blank=True)
    scale, offset, x = decoder.sizes
    assert bool((scale == 1).all()) and not offset.any() and not x.any()


def test_a_decoder_that_says_nan_is_refused(store):
    plan = plan_windows(store, TARGETS["classify"], PREPROCESS, vocabulary=WORDS)
    decoder = Oracle(plan, "classify")
    decoder.predict = lambda batch: torch.full((len(batch), 6), torch.nan)
    with pytest.raises(ContractError, match="says NaN"):
        predict(decoder, plan, [plan.test[0].ref])


def test_transcripts_stand_side_by_side(sections):
    result = sections["ctc"].result
    said, rows = transcript_rows(result)[0]
    by_name = {r[""]: r["words"] for r in rows}
    assert by_name["said"] == said and by_name["oracle"].split() == said.split()
    assert set(by_name) >= {UNIFORM, ZERO, LR, RIDGE} and by_name[UNIFORM] != said
    assert SHUFFLED not in by_name


def test_what_is_written_is_json_and_says_that_data_are_simulated(sections):
    results = [s.result for s in sections.values()]
    assert json.loads(json_text(results))[0]["simulated"] is True
    text = markdown(results)
    assert text.count("SIMULATED DATA") == len(results) == 4
    assert "lower case" in text.lower() and "Pool: " in text


def test_pictures_show_the_diagonal(sections):
    import matplotlib.pyplot as plt

    section = sections["align"]
    score_QQ, patient = section.task.matrix(section.said["oracle"])
    assert patient == f"{DATASET}/01"
    assert (score_QQ.argmax(1) == np.arange(len(score_QQ))).all()
    for s in sections.values():
        for caption, figure in pictures(s).items():
            assert caption.endswith(".") and figure.axes
            plt.close(figure)


def test_a_twin_and_seeds_have_rows_of_their_own(store):
    plan = plan_windows(store, TARGETS["classify"], PREPROCESS, vocabulary=WORDS)
    blind = Oracle(plan, "classify")
    blind.known = {ref: torch.zeros(6) for ref in blind.known}
    half = Oracle(plan, "classify")
    half.known = {r: v if i % 2 else torch.zeros(6) for i, (r, v) in enumerate(half.known.items())}
    both = [
        trained(blind, "random", twin=True),
        trained(Oracle(plan, "classify"), "ours", "ours#1"),
        trained(half, "ours", "ours#2"),
    ]
    (section,) = evaluate(store, both, n_resamples=20)
    rows = {r["system"]: r for r in section.result["rows"]}
    assert section.result["main"] == "ours" and rows["random"]["sort"].startswith("twin")
    assert rows["ours"]["seeds"] == rows[SHUFFLED]["seeds"] == 2
    one, two = rows["ours"]["scores"]["top-1"]["runs"]
    assert one == 1.0 > two > 0.4
    assert not any("No twin" in n for n in section.result["notes"])


def test_decoders_of_other_windows_are_not_compared(store):
    from dataclasses import replace

    plan = plan_windows(store, TARGETS["classify"], PREPROCESS, vocabulary=WORDS)
    a = trained(Oracle(plan, "classify"), "a")
    b = replace(a, name="b", run="b", targets=replace(a.targets, stop_s=0.5))
    with pytest.raises(ContractError, match="a and b both have head 'classify' but other windows"):
        by_head([a, b])
    with pytest.raises(DataError, match="no decoder"):
        evaluate(store, [])


def segments(root, said):
    for subject, sentences in said.items():
        for split in ("train", "test"):
            r = listener(
                sentences if split == "test" else sentences_of("train", subject, 4),
                split=split, subject=subject, seed=3 if split == "test" else 4,
            )  # fmt: skip
            write_recording(r, root / DATASET / f"{subject}_{split}.safetensors", recipe=RECIPE)
    build_tables(root)
    plan = plan_windows(Store(root), TARGETS["align"], PREPROCESS)
    return plan, np.stack(
        [x / np.linalg.norm(x) for x in (w.stimulus_NF.ravel() for w in plan.test)]
    )


def test_speech_that_two_patients_heard_is_one_candidate(tmp_path):
    same = ["cat dog sack tug", "sock dad dog cat"]
    plan, unit = segments(tmp_path, {"01": same, "02": same})
    pool, target = candidates(plan, unit)
    assert len(pool) == len(plan.test) / 2
    assert target.tolist() == [*range(len(pool))] * 2


def test_a_pool_with_the_same_speech_twice_is_refused(tmp_path):
    plan, unit = segments(tmp_path, {"01": ["cat dog sack tug", "sock dad dog cat"]})
    candidates(plan, unit)
    unit[3] = unit[0]
    with pytest.raises(DataError, match=r"01_test.* are the same speech"):
        candidates(plan, unit)
    plan.test[1] = plan.test[0]
    with pytest.raises(DataError, match="segments overlap"):
        candidates(plan, unit)
