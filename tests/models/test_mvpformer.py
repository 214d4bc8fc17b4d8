"""MVPFormer: published sizes, the two ways of telling channels apart, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from model_batches import channels, make_batch

from brainfm.errors import ContractError
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig


def model(**settings):
    torch.manual_seed(0)
    return MVPFormer(MVPFormerConfig(preset="test", **settings)).eval()


@pytest.mark.parametrize("preset, millions", [("S", 73.6), ("M", 1239.0)])
def test_published_sizes_without_the_head_of_pretraining(preset, millions):
    with torch.device("meta"):
        made = MVPFormer(MVPFormerConfig(preset=preset, amplitude=False))
    n = made.n_parameters - made.head.weight.numel()
    assert n / 1e6 == pytest.approx(millions, rel=1e-3)


def test_features_are_one_vector_per_channel_and_segment_with_their_times():
    batch = make_batch(b=2, c=5, t=32 * 4 + 7)
    found = model()(batch)
    assert found.h_BSWD.shape == (2, 5, 4, 32)
    assert found.time_W.tolist() == [0.0, 0.125, 0.25, 0.375] and found.duration_s == 0.125


def test_a_later_segment_changes_no_earlier_feature():
    batch, other = make_batch(t=128), make_batch(t=128)
    other.x_BCWP = batch.x_BCWP.clone()
    other.x_BCWP[..., 96:] = 3.0
    a, b = (model()(x).h_BSWD for x in (batch, other))
    torch.testing.assert_close(a[:, :, :3], b[:, :, :3])
    assert not torch.allclose(a[:, :, 3], b[:, :, 3])


def test_the_unit_of_the_signal_does_not_matter():
    batch, larger = make_batch(), make_batch()
    larger.x_BCWP = 1000 * larger.x_BCWP
    torch.testing.assert_close(model()(larger).h_BSWD, model()(batch).h_BSWD, rtol=1e-3, atol=1e-4)


def test_list_order_is_published_order_and_distance_is_not():
    batch, order = make_batch(c=6), torch.tensor([3, 0, 5, 1, 4, 2])
    for relation, same in (("list order", False), ("distance", True)):
        one = model(relation=relation)
        with torch.no_grad():
            # Tables start small; here they must matter.
            one.channel_table.weight.mul_(50)
            one.blocks[0].attention.bias_3GE.normal_()
        a, b = one(channels(batch, order)).h_BSWD, one(batch).h_BSWD[:, order]
        assert torch.allclose(a, b, atol=1e-4) is same


@pytest.mark.parametrize("path", ["dense", "flex", "auto"])
@pytest.mark.filterwarnings("ignore:flex_attention called without")
def test_every_path_is_one_function(path):
    lean, batch = model(band=12), make_batch(t=32 * 13)
    other = MVPFormer(replace(lean.config, path=path))
    other.load_state_dict(lean.state_dict())
    with torch.no_grad():
        a, b = lean(batch).h_BSWD, other(batch).h_BSWD
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_amplitude_is_heard_only_where_it_is_told():
    batch, louder = make_batch(t=128), make_batch(t=128)
    louder.x_BCWP = batch.x_BCWP.clone()
    louder.x_BCWP[..., 96:] *= 30
    for told in (True, False):
        one = model(amplitude=told)
        a, b = (one(x).h_BSWD for x in (batch, louder))
        assert torch.allclose(a[:, :, :3], b[:, :, :3], atol=1e-5), "not before it happens"
        assert torch.allclose(a[:, :, 3], b[:, :, 3], rtol=1e-3, atol=1e-4) is not told


def test_a_fresh_token_hears_a_quarter_of_a_decade_about_as_much_as_the_shape():
    coder = model().encoder
    n_told, f = coder.amplitude.in_features, coder.coefficients(torch.randn(1, 50, 4, 32))
    shape = coder(f, torch.zeros(1, 50, 4, n_told))
    louder = coder(torch.zeros_like(f), 0.25 * torch.ones(1, 50, 4, n_told))
    assert 0.3 < (louder.square().mean() / shape.square().mean()).sqrt() < 3


@pytest.mark.parametrize(
    "settings, batch, named",
    [
        ({}, dict(t=20), "20 samples, 0 segments of 32"),
        ({"n_positions": 3}, dict(t=128), "takes 1 to 3"),
        ({"n_channels": 4, "relation": "list order"}, dict(c=5), "at most 4"),
    ],
)
def test_what_the_tables_cannot_hold_is_refused(settings, batch, named):
    with pytest.raises(ContractError, match=named):
        model(**settings)(make_batch(**batch))


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"relation": "name"}, "relation is 'name'"),
        ({"path": "fast"}, "path"),
        ({"n_heads": 5}, "5"),
        ({"time_rows": "end"}, "time_rows is 'end'"),
        ({"band": 0}, "band is 0 segments"),
        ({"amplitude_past": 0}, "amplitude_past is 0 segments"),
        ({"band": 111}, "band is 111 segments; it must be null or 1 to n_positions, 110"),
    ],
)
def test_wrong_settings_are_named(settings, named):
    with pytest.raises(ValueError, match=named):
        MVPFormerConfig(preset="test", **settings)
