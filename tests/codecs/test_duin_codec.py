"""Du-IN's codec: contacts to regions to codes, by place or by list, and what it refuses."""

import math

import pytest
import torch
from model_batches import channels, make_batch

from brainfm.codecs.duin import DuIN, DuINConfig, SquaredErrorLoss
from brainfm.codecs.duin_layers import SegmentConv, Upsample, time_table
from brainfm.errors import ContractError
from brainfm.hub import load_model
from brainfm.tasks.codec import CodecTask
from brainfm.types import subject_id


def codec(**settings):
    torch.manual_seed(0)
    model = DuIN(DuINConfig(preset="test", dropout=0.0, **settings))
    model.initialise_codebooks(make_batch(b=8, t=128, seed=5), _subjects(settings, 8))
    return model.eval()


def _subjects(settings, b):
    return torch.zeros(b, dtype=torch.long) if settings.get("n_subjects", 1) > 1 else None


def test_the_published_size_gives_110_bits_a_second_and_tokens_of_160():
    config = DuINConfig(preset="published")
    assert config.dim == 160
    assert DuIN(config).bits_per_second() == pytest.approx(110.0)


@pytest.mark.parametrize("preset", ["published", "demo", "test"])
def test_tokens_are_as_wide_as_the_configuration_says_and_become_as_many_samples(preset):
    c = DuINConfig(preset=preset)
    segments = SegmentConv(c.window, 2, c.filters, c.kernels, c.strides)
    assert segments(torch.randn(1, 2, 3 * c.window)).shape == (1, 3, c.dim)
    up = Upsample(c.dim, 2, c.up_filters, c.up_kernels, c.up_strides)
    assert up(torch.randn(1, 3, c.dim)).shape == (1, 2, 3 * c.window)


def test_a_segment_is_convolved_without_its_neighbours():
    conv = SegmentConv(16, 2, (12, 4), (5, 3), (4, 1)).eval()
    x = torch.randn(1, 2, 48)
    other = x.clone()
    other[..., :16] += 1.0
    a, b = conv(x), conv(other)
    assert not torch.allclose(a[:, 0], b[:, 0])
    assert torch.equal(a[:, 1:], b[:, 1:])


def test_the_time_table_is_sines_and_cosines_in_turn():
    table = time_table(5, 6)
    assert torch.equal(table[0], torch.tensor([0.0, 1.0] * 3))
    assert table[3, 0] == pytest.approx(math.sin(3)) and table[3, 1] == pytest.approx(math.cos(3))
    assert table[3, 4] == pytest.approx(math.sin(3 * 10_000 ** (-4 / 6)))


def test_stored_ids_decode_to_the_same_signal():
    model, batch = codec(), make_batch()
    codes = model.encode(batch)
    codes.latent_BSWD = model.lookup(codes.ids_BSWQ.to(torch.int16).long())
    assert torch.equal(model.decode(codes, batch), model.reconstruct(batch))


def test_every_sample_is_covered_also_where_the_last_token_is_not_full():
    model, batch = codec(), make_batch(t=70)
    codes = model.encode(batch)
    assert codes.ids_BSWQ.shape == (2, 1, 5, 1)
    assert model.decode(codes, batch).shape == (2, 6, 70)
    assert codes.time_W[1] == pytest.approx(16 / 256) and codes.duration_s == 16 / 256
    out = model.training_forward(batch)
    assert out.rec_BCNP.shape == out.target_BCNP.shape == (2, 6, 1, 70)


def test_where_a_contact_lies_changes_what_it_contributes():
    model, batch = codec(), make_batch()
    moved = make_batch()
    moved.pos_BC3 = -batch.pos_BC3
    of, far = (model.encoder.contacts(b) for b in (batch, moved))
    x = batch.signal_BCT
    assert not torch.allclose(model.encoder.mixed(x, of), model.encoder.mixed(x, far))


def test_a_recording_without_positions_is_read_and_its_channels_averaged():
    model, batch = codec(), make_batch()
    batch.pos_BC3[:] = torch.nan
    rec = model.reconstruct(batch)
    assert torch.isfinite(rec).all()
    torch.testing.assert_close(rec, rec[:, :1].expand_as(rec))


def test_a_matrix_a_subject_reads_channels_by_their_place_in_the_list():
    model, batch = codec(mixing="subject", n_channels=6), make_batch()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    x, shuffled = batch.signal_BCT, channels(batch, order)
    of = model.encoder.contacts(batch)
    assert not torch.allclose(
        model.encoder.mixed(x, of), model.encoder.mixed(shuffled.signal_BCT, of)
    )
    want = torch.einsum("bct,cr->brt", x, model.encoder.mix.weight_SCR[0])
    torch.testing.assert_close(model.encoder.mixed(x, of), want)


def test_each_subject_has_a_matrix_of_its_own():
    model, batch = codec(mixing="subject", n_channels=6, n_subjects=2), make_batch()
    first, second = (
        model.encoder.mixed(batch.signal_BCT, model.encoder.contacts(batch, torch.tensor([s, s])))
        for s in (0, 1)
    )
    assert not torch.allclose(first, second)
    with pytest.raises(ContractError, match="knows 2 subjects"):
        model.encode(batch)
    with pytest.raises(ContractError, match="subject 2 was asked for.* knows 0 to 1"):
        model.encode(batch, torch.tensor([0, 2]))


PEOPLE = ("set/a", "set/b")


def of_person(name, c=6, seed=0):
    batch = make_batch(c=c, seed=seed)
    batch.subject_B = torch.full((len(batch),), subject_id(name))
    return batch


def people_codec(**settings):
    torch.manual_seed(0)
    sizes = {"preset": "test", "dropout": 0.0, "mixing": "subject", "n_channels": 6, **settings}
    model = DuIN(DuINConfig(subjects=PEOPLE, **sizes))
    model.initialise_codebooks(of_person("set/a", seed=5))
    return model


def test_one_model_mixes_each_persons_contacts_with_their_own_matrix(tmp_path):
    model = people_codec().eval()
    batch = of_person("set/b")
    assert torch.equal(model.encode(batch).ids_BSWQ, model.encode(batch, _rows(1)).ids_BSWQ)
    mixed = [model.encoder.mixed(batch.signal_BCT, c) for c in map(_contacts(model), PEOPLE)]
    assert not torch.allclose(*mixed)
    again = load_model(model.save_pretrained(tmp_path))
    assert again.config == model.config
    assert torch.equal(again.reconstruct(batch), model.reconstruct(batch))


def _rows(row):
    return torch.tensor([row, row])


def _contacts(model):
    return lambda name: model.encoder.contacts(of_person(name))


def test_a_person_with_fewer_contacts_uses_the_first_rows_of_the_matrix():
    model, batch = people_codec().eval(), of_person("set/a", c=4)
    of = model.encoder.contacts(batch)
    want = torch.einsum("bct,cr->brt", batch.signal_BCT, model.encoder.mix.weight_SCR[0, :4])
    torch.testing.assert_close(model.encoder.mixed(batch.signal_BCT, of), want)
    assert model.reconstruct(batch).shape == batch.signal_BCT.shape
    with pytest.raises(ContractError, match="7 channels, but this Du-IN mixes a list of 6"):
        model.encode(of_person("set/a", c=7))


def test_training_moves_the_matrix_of_those_who_were_shown():
    task = CodecTask(people_codec(), SquaredErrorLoss()).train()
    task.losses(of_person("set/b", c=5))["loss"].backward()
    for mix in (task.model.encoder.mix, task.model.unmix):
        moved = mix.weight_SCR.grad.abs().sum(-1) > 0
        assert not moved[0].any() and moved[1].tolist() == [True] * 5 + [False]


def test_people_without_a_matrix_or_a_name_are_refused():
    model = people_codec()
    with pytest.raises(ContractError, match=r"none of the 2 people .*\(set/a, set/b, ...\)"):
        model.encode(of_person("set/c"))
    with pytest.raises(ContractError, match="does not say who was recorded"):
        model.encode(make_batch())


def test_a_matrix_of_one_person_alone_needs_no_name_but_heeds_it():
    settings = {"preset": "test", "mixing": "subject", "n_channels": 6}
    model = DuIN(DuINConfig(subjects=("set/a",), **settings))
    model.initialise_codebooks(make_batch(seed=5))
    model.eval().encode(make_batch())
    with pytest.raises(ContractError, match="none of the 1 people"):
        model.encode(of_person("set/b"))


def test_another_list_of_contacts_is_refused_with_both_lengths():
    with pytest.raises(ContractError, match="6 channels, but this Du-IN mixes a list of 5"):
        model = DuIN(DuINConfig(preset="test", mixing="subject", n_channels=5))
        model.encode(make_batch())


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"mixing": "atlas"}, "mixing is 'atlas'"),
        ({"mixing": "subject"}, "needs n_channels"),
        ({"subjects": ["a"]}, "mixing is 'geometry'; set it to subject"),
        ({"subjects": ["a"] * 2, "mixing": "subject", "n_channels": 6}, "name each once"),
        ({"subjects": ["a", "b"], "mixing": "subject", "n_channels": 6, "n_subjects": 3}, "2 are"),
        ({"window": 20}, r"up_strides \(1, 16\) do not multiply to 20"),
        ({"preset": "tiny"}, "preset is 'tiny'"),
    ],
)
def test_sizes_that_do_not_fit_are_named(settings, said):
    with pytest.raises(ValueError, match=said):
        DuINConfig(**{"preset": "test", **settings})


def test_training_moves_codes_and_evaluation_does_not():
    model, batch = codec(), make_batch()
    before = model.codebook.codes_KE.clone()
    model.training_forward(batch)
    assert torch.equal(model.codebook.codes_KE, before)
    model.train().training_forward(batch)
    assert not torch.equal(model.codebook.codes_KE, before)


def test_the_loss_is_the_squared_error_of_valid_channels_and_the_commitment():
    rec, target = torch.zeros(1, 2, 1, 4), torch.ones(1, 2, 1, 4)
    target[:, 1] = torch.nan
    parts = SquaredErrorLoss()(rec, target, torch.tensor(0.5), torch.tensor([[True, False]]))
    assert parts["error"] == 1.0 and parts["loss"] == 1.5
