"""Pictures show the numbers of the report: read back from their axes."""

from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from eval.speech.__main__ import drawn_into
from eval.speech.answers import CHANCE, DECODER, LINEAR, WRONG_BRAIN
from eval.speech.figures import COLOUR_OF, among_best, band_curves, bars, pictures, similarity

POOL = 8
PLACES = {"ours": 1, "ridge": 3, "ratio": 2, "shuffled": POOL}
"""System -> place of every own candidate."""
SORT_OF = {"ours": DECODER, "ridge": LINEAR, "ratio": LINEAR, "shuffled": WRONG_BRAIN,
           "chance": CHANCE}  # fmt: skip


def scores_at(place):
    """(Q, M) scores whose diagonal comes at that place of every row."""
    score_QM = np.zeros((POOL, POOL), np.float32)
    for q in range(POOL):
        ahead = [m for m in range(POOL) if m != q][: place - 1]
        score_QM[q, ahead], score_QM[q, q] = 2.0, 1.0
    return score_QM + 10 * np.arange(POOL)[:, None]  # rows differ in level, which is centred away


@pytest.fixture
def section():
    """A comparison of retrieval whose places are known."""
    said = {name: list(scores_at(place)) for name, place in PLACES.items()}
    said["chance"] = [np.zeros(POOL, np.float32)] * POOL
    rows = []
    for name, sort in SORT_OF.items():
        mean = float(PLACES.get(name, POOL) <= 2)
        spread = (
            {"low": None, "high": None} if sort == CHANCE else {"low": mean, "high": mean + 0.1}
        )
        rows.append({"system": name, "sort": sort,
                     "scores": {"top-2": {"mean": mean, **spread}},
                     "patients": {"top-2": {"p1": mean, "p2": float("nan")}},
                     })  # fmt: skip
    task = SimpleNamespace(target_Q=np.arange(POOL), matrix=lambda said: (np.stack(said), "set/p1"))
    result = {"main": "ours", "rows": rows, "facts": {"pool": POOL}, "over": "sentences",
              "metrics": [{"name": "top-2"}], "details": {}}  # fmt: skip
    yield SimpleNamespace(head="align", result=result, task=task, said=said)
    plt.close("all")


def test_a_bar_is_as_long_as_its_mean_and_has_the_colour_of_its_sort(section):
    (ax,) = bars(section.result, "top-2").axes
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == list(SORT_OF) and ax.yaxis_inverted()
    for row, bar in zip(section.result["rows"], ax.patches, strict=True):
        assert bar.get_width() == row["scores"]["top-2"]["mean"]
        assert plt.matplotlib.colors.to_hex(bar.get_facecolor()) == COLOUR_OF[row["sort"]]


def test_whiskers_are_intervals_and_dots_are_patients_with_a_number(section):
    (ax,) = bars(section.result, "top-2").axes
    whiskers = [line for line in ax.lines if line.get_marker() == "None"]
    assert len(whiskers) == len(SORT_OF) - 1, "guessing has no interval"
    assert [list(w.get_xdata()) for w in whiskers][0] == [1.0, 1.1]
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert all(len(d.get_xdata()) == 1 for d in dots), "a patient without a number has no dot"


def test_the_curve_of_a_system_steps_up_where_its_candidates_are(section):
    (ax,) = among_best(section).axes
    curves = {line.get_label(): line for line in ax.lines if not line.get_label().startswith("_")}
    assert set(curves) == set(PLACES)
    for name, place in PLACES.items():
        expected = (np.arange(1, POOL + 1) >= place).astype(float)
        np.testing.assert_array_equal(curves[name].get_ydata(), expected)
    guessing = ax.lines[-1]
    np.testing.assert_allclose(guessing.get_ydata(), np.arange(1, POOL + 1) / POOL)


def test_two_linear_models_have_lines_of_their_own(section):
    (ax,) = among_best(section).axes
    styles = {line.get_label(): line.get_linestyle() for line in ax.lines}
    colours = {line.get_label(): line.get_color() for line in ax.lines}
    assert styles["ridge"] != styles["ratio"] and colours["ridge"] == colours["ratio"]


def test_the_alignment_picture_has_a_diagonal_and_the_linear_models_beside_it(section):
    axes = similarity(section).axes
    assert [ax.get_title() for ax in axes] == ["ours", "ridge", "ratio"]
    shown = np.asarray(axes[0].images[0].get_array())
    assert (shown.argmax(1) == np.arange(POOL)).all()
    np.testing.assert_allclose(shown.mean(1), 0, atol=1e-6)
    ridge = np.asarray(axes[1].images[0].get_array())
    assert not (ridge.argmax(1) == np.arange(POOL)).any()
    low, high = axes[0].images[0].get_clim()
    assert low == -high == -float(np.abs(shown).max())


def test_scores_that_are_all_alike_can_be_drawn(section):
    section.said["ours"] = [np.ones(POOL, np.float32)] * POOL
    assert np.isfinite(similarity(section).axes[0].images[0].get_clim()).all()


def test_captions_say_what_is_seen(section):
    captions = list(pictures(section))
    assert len(captions) == 3 and all(c.endswith(".") for c in captions)
    assert "95 % intervals over sentences" in captions[0]
    assert "on the diagonal a segment and its own speech" in captions[1]
    section.head = "classify"
    assert len(pictures(section)) == 1


def test_a_feature_has_its_correlation_in_the_line_of_its_system(section):
    section.result["facts"]["stimulus"] = "mel"
    section.result["details"]["bands"] = {n: [0.1 * k for k in range(4)] for n in SORT_OF}
    (ax,) = band_curves(section).axes
    assert ax.get_xlabel() == "feature of 'mel'"
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [0, 0.1, 0.2, 0.3])


def test_figures_are_written_in_order_and_closed(section, tmp_path):
    before = len(plt.get_fignums())
    drawn = drawn_into(tmp_path, "align", pictures(section))
    assert [p.name for p in drawn.values()] == [f"align_{k}.png" for k in (1, 2, 3)]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in drawn.values())
    assert len(plt.get_fignums()) == before
