"""The sentences of refusals: what, where, how many."""

import numpy as np
import pytest
from signals_helpers import channels, eeg

from brainfm.signals.copies import Copy
from brainfm.signals.quality import QualityConfig, check_quality
from brainfm.signals.wording import describe_lagged


def lagged(*pairs):
    return [Copy(i, j, lag, 1.0) for i, j, lag in pairs]


def test_a_run_of_equal_shifts_is_one_clause():
    copies = lagged((0, 1, 6), (1, 2, 6), (0, 2, 12))
    assert describe_lagged(copies, channels(4)) == (
        "channels 2..3 repeat channel 1 shifted by 6 samples each (E1 to E3): one electrode "
        "posing as three"
    )


def test_separate_groups_are_separate_clauses():
    text = describe_lagged(lagged((0, 1, 6), (1, 2, 6), (4, 7, 3)), channels(8))
    assert text.count(";") == 1 and "channel 8 ('E8') repeats channel 5 ('E5')" in text


def test_shifts_that_differ_are_not_called_each():
    text = describe_lagged(lagged((0, 1, 6), (1, 2, 9)), channels(3))
    assert "each" not in text and "shifted by 6 samples" in text


@pytest.mark.parametrize(
    ("n", "word"), [(2, "two"), (12, "twelve"), (20, "twenty"), (64, "sixty-four"), (128, "128")]
)
def test_numbers_are_words_as_far_as_people_say_them(n, word):
    copies = lagged(*((k, k + 1, 5) for k in range(n - 1)))
    assert describe_lagged(copies, channels(n)).endswith(f"posing as {word}")


def test_reasons_are_counted_in_a_refusal():
    x = eeg(4000, 6)
    x[:, [0, 1, 2]] = 0
    x[:, 3] = np.nan
    says = check_quality(x, 250.0, channels(6), 50.0).refusal
    assert "only 2 of 6 channels are good (3 x flat (one value throughout)" in says
    assert "4000 samples are NaN or infinite" in says


def test_padding_in_the_middle_cuts_trials_apart():
    x = eeg(4000, 4)
    x[1500:1700] = 0
    report = check_quality(x, 250.0, channels(4), 50.0, [(0, 1000), (1000, 3000), (3000, 4000)])
    assert report.intervals == [(0, 1000), (1000, 1500), (1700, 3000), (3000, 4000)]
    assert "0.80 s in 1 stretch (first at 6.00 s): padding" in report.notes[0]


def test_a_rest_shorter_than_a_quarter_second_is_no_padding():
    x = eeg(4000, 4)
    x[1500:1550] = 0
    assert check_quality(x, 250.0, channels(4), 50.0).intervals == [(0, 4000)]


def test_one_channel_alone_is_never_padding():
    x = eeg(4000, 1)
    x[1500:1700] = 0
    report = check_quality(x, 250.0, channels(1), 50.0)
    assert report.intervals == [(0, 4000)] and "flat for 5.0%" in report.notes[0]


def test_thresholds_are_settings():
    x = eeg(4000, 8)
    x[:300, 2] = x[0, 2]
    assert check_quality(x, 250.0, channels(8), 50.0).bad == {}
    strict = QualityConfig(flat_share=0.05)
    assert set(check_quality(x, 250.0, channels(8), 50.0, config=strict).bad) == {2}


def test_values_that_no_sum_can_hold_are_bad():
    x = eeg(4000, 4).astype(np.float64)
    x[5, 1] = 1e308
    x[6, 1] = 1e308
    assert 1 in check_quality(x, 250.0, channels(4), 50.0).bad
