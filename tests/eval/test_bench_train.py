"""The training benchmark runs at any size and says where the time goes."""

import pytest
import torch

from eval.bench.train import main

SMALL = ["--preset", "test", "--channels", "4", "--seconds", "1", "--rounds", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def result():
    return main(SMALL)


def test_rates_follow_from_the_time_of_a_step(result):
    assert result["channel_seconds_per_s"] == pytest.approx(4 / result["s_per_step"])
    assert result["data_share"] == pytest.approx(result["data_s_per_step"] / result["s_per_step"])
    assert result["matmul_gflops"] > 0
    assert result["speedup"] > 0


def test_pieces_are_named_and_do_not_exceed_the_table(result):
    assert {"SEANet encoder", "SEANet decoder", "quantiser", "losses"} <= set(result["breakdown"])
    assert [r["piece"] for r in result["rows"]][0] == "step"
    assert result["rows"][0]["share of step"] == 1


def test_the_number_of_threads_is_given_back(result):
    before = torch.get_num_threads()
    main([*SMALL[:-1], "2"])
    assert torch.get_num_threads() == before
