"""Pictures and the bar: what is drawn shows what was trained."""

import numpy as np
import torch

from brainfm.tasks.base import Preview
from brainfm.training.callbacks import code_use_figure, figures, reconstruction_figure


def test_an_empty_preview_draws_nothing():
    assert figures(Preview()) == {}


def test_signal_and_reconstruction_share_an_axis_per_channel():
    target = np.random.default_rng(0).normal(size=(3, 100))
    figure = reconstruction_figure(target, target, sfreq=50.0)
    assert len(figure.axes) == 3
    for axis, row in zip(figure.axes, target, strict=True):
        signal, reconstruction = (line.get_ydata() for line in axis.lines)
        assert np.array_equal(signal, row)
        assert np.array_equal(reconstruction, row)
        assert "r = 1.00" in axis.get_ylabel()
    assert figure.axes[-1].lines[0].get_xdata()[-1] == 99 / 50


def test_many_channels_are_sampled_from_first_to_last():
    figure = reconstruction_figure(np.zeros((64, 10)), np.zeros((64, 10)), 1.0, most_channels=4)
    labels = [axis.get_ylabel().split("\n")[0] for axis in figure.axes]
    assert labels == ["ch 0", "ch 21", "ch 42", "ch 63"]


def test_even_use_of_all_codes_has_the_perplexity_of_their_number():
    figure = code_use_figure(np.array([[5, 5, 5, 5], [20, 0, 0, 0]]))
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["level 1: perplexity 4, 4 used", "level 2: perplexity 1, 1 used"]


def test_figures_are_no_part_of_pyplot_s_registry():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    preview = Preview(torch.zeros(1, 2, 10), torch.zeros(1, 2, 10), 1.0, torch.ones(2, 4))
    assert set(figures(preview)) == {"reconstruction", "codes"}
    assert plt.get_fignums() == before


def test_a_run_leaves_pictures_logs_and_an_export(runs):
    config = runs.config("codec", trainer={"max_steps": 4}, picture_every=2)
    assert runs.main("fit", "--config", config) == 0
    run = runs.run("run")
    names = {p.name for p in (run / "figures").iterdir()}
    assert names == {
        f"{what}_{step:07d}.png" for what in ("codes", "reconstruction") for step in (2, 4)
    }
    assert list((run / "tensorboard").glob("events*"))
    assert {"config.yaml", "train.csv", "export", "checkpoints"} <= {p.name for p in run.iterdir()}


def test_pictures_change_no_step(runs):
    from brainfm.training.metrics import read_metrics

    for name, every in (("with", 1), ("without", 0)):
        config = runs.config("codec", name, trainer={"max_steps": 3}, picture_every=every)
        assert runs.main("fit", "--config", config) == 0
    assert read_metrics(runs.run("with")).loss.equals(read_metrics(runs.run("without")).loss)
