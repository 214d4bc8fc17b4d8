"""What every codec and every encoder promises, and that no new one stays outside this table."""

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
import torch
from model_batches import channels, make_batch, with_bad_channels

import brainfm.codecs
import brainfm.models
from brainfm.codecs.base import Codec
from brainfm.codecs.biocodec import BioCodec, BioCodecConfig
from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.codecs.duin import DuIN, DuINConfig
from brainfm.codecs.meggpt import EphysTokenizer, EphysTokenizerConfig
from brainfm.codecs.scalar import ScalarCodec, ScalarCodecConfig
from brainfm.codecs.spectral import SpectralCodec, SpectralCodecConfig
from brainfm.hub import load_model
from brainfm.models.bands import BandEncoder, BandEncoderConfig
from brainfm.models.base import Encoder
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.models.duin import DuINEncoder, DuINEncoderConfig
from brainfm.models.guessing import pass_hidden, signal_losses
from brainfm.models.hiding import HidingConfig
from brainfm.models.meggpt import MEGGPT, MEGGPTConfig
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.models.unified import UnifiedEncoder, UnifiedEncoderConfig
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe
from brainfm.tasks.contrastive import contrastive_losses, next_logits


def tokenizer(**settings):
    codec = BrainTokenizer(BrainTokenizerConfig(preset="test", **settings))
    codec.initialise_codebooks(make_batch(b=8, c=6, t=128, seed=5))
    return codec


def biocodec(**settings):
    codec = BioCodec(BioCodecConfig(preset="test", **settings))
    codec.initialise_codebooks(make_batch(b=8, c=6, t=128, seed=5))
    return codec


def omni(**settings):
    model = BrainOmni(BrainOmniConfig(preset="test", **settings))
    model.tokenizer.initialise_codebooks(make_batch(b=8, c=6, t=128, seed=5))
    return model


def duin():
    codec = DuIN(DuINConfig(preset="test", dropout=0.0))
    codec.initialise_codebooks(make_batch(b=8, c=6, t=128, seed=5))
    return codec


def duin_encoder():
    sizes = DuINConfig(preset="test", dropout=0.0)
    model = DuINEncoder(DuINEncoderConfig(preset="test", tokenizer=sizes))
    model.tokenizer.initialise_codebooks(make_batch(b=8, c=6, t=128, seed=5))
    return model


MAKERS = {
    "BrainTokenizer": tokenizer,
    "BrainTokenizer, metric positions": lambda: tokenizer(position="metric"),
    "BrainTokenizer, linear path": lambda: tokenizer(linear_path=True),
    "BioCodec": biocodec,
    "BioCodec, codes by angle": lambda: biocodec(unit_codes=True),
    "ScalarCodec": lambda: ScalarCodec(ScalarCodecConfig(preset="test")),
    "SpectralCodec": lambda: SpectralCodec(SpectralCodecConfig(block=64)),
    "BrainOmni": omni,
    "BrainOmni, cosine table": lambda: omni(rope="cosine"),
    "MVPFormer": lambda: MVPFormer(MVPFormerConfig(preset="test")),
    "MVPFormer, all logits held": lambda: MVPFormer(MVPFormerConfig(preset="test", path="dense")),
    "DuIN": duin,
    "DuINEncoder": duin_encoder,
    "BandEncoder": lambda: BandEncoder(BandEncoderConfig(n_channels=9, dim=32, depth=2)),
    "EphysTokenizer": lambda: EphysTokenizer(EphysTokenizerConfig(preset="test")),
    "UnifiedEncoder": lambda: UnifiedEncoder(UnifiedEncoderConfig(preset="test")),
    "UnifiedEncoder, factorised": lambda: UnifiedEncoder(
        UnifiedEncoderConfig(preset="test", attention="factorised")
    ),
    "MEGGPT": lambda: MEGGPT(MEGGPTConfig(preset="test")),
}
"""A new model or codec needs a line here."""
LISTED = {"BandEncoder"}
"""They know channels by their place in a person's list, so another list is another input."""


ELSEWHERE = {"UnifiedEncoder": ("lag.", "matcher.", "embedding.bold.", "guesser.bold")}
"""Weights that other batches train: fMRI, and recordings made at once."""


def features(model, batch):
    if isinstance(model, Codec):
        latent_BSWD = model.encode(batch).latent_BSWD
        return latent_BSWD[:, batch.valid_BC[0]] if model.per_channel else latent_BSWD
    found = model(batch)
    if model.n_sources is None:  # a channel is its own source: the features of valid ones count
        return found.h_BSWD[:, batch.valid_BC[0]]
    return found.h_BSWD


def loss(model, batch):
    """A toy objective that every kind of model can lower."""
    if isinstance(model, Codec):
        out = model.training_forward(batch, generator=torch.Generator().manual_seed(0))
        if isinstance(model, SpectralCodec):  # it is trained to need few bits
            return out.loss
        return (out.rec_BCNP - out.target_BCNP).abs().mean() + out.commit
    if isinstance(model, MVPFormer):
        token, guess = model.predict_next(batch)
        ok = batch.valid_BC[:, None].expand(token.shape[:3])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            logits = next_logits(token, guess, ok, 5, temperature=0.1)
        return contrastive_losses(logits)["loss"]
    if isinstance(model, MEGGPT):
        label = model.tokenize(batch)
        return model.losses(model.next_logits(batch, label), label[:, 1:])["loss"]
    if isinstance(model, BandEncoder):
        return model.masked_losses(batch, generator=torch.Generator().manual_seed(0))["loss"]
    if isinstance(model, UnifiedEncoder):
        g = torch.Generator().manual_seed(0)
        return signal_losses(model, batch, pass_hidden(model, batch, HidingConfig(), g), g)["loss"]
    codes = model.tokenize(batch)
    if isinstance(model, DuINEncoder):
        g = torch.Generator().manual_seed(0)
        return model.masked_losses(batch, codes, generator=g)["loss"]
    return model.masked_forward(codes, generator=torch.Generator().manual_seed(0))["loss"]


@pytest.fixture(params=MAKERS, scope="module")
def model(request):
    torch.manual_seed(0)
    return MAKERS[request.param]().eval()


def test_every_model_is_in_this_table():
    for package in (brainfm.codecs, brainfm.models):
        for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(found.name)
    found, unseen = set(), [Codec, Encoder]
    while unseen:
        for cls in unseen.pop().__subclasses__():
            unseen.append(cls)
            if not inspect.isabstract(cls) and cls.__module__.startswith("brainfm."):
                found.add(cls.__name__)
    assert found == {name.split(",")[0] for name in MAKERS}


def test_features_are_finite_and_the_model_is_deterministic(model):
    batch = make_batch()
    with torch.no_grad():
        a, b = features(model, batch), features(model, batch)
    assert torch.isfinite(a).all()
    assert torch.equal(a, b)


def test_a_step_lowers_the_loss(model):
    batch = make_batch(b=4, c=6, t=128, seed=3)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    model.train()
    opt = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)
    first = float(loss(model, batch).detach())
    for _ in range(15):
        opt.zero_grad()
        now = loss(model, batch)
        now.backward()
        opt.step()
    model.eval()
    model.load_state_dict(state)
    assert float(now.detach()) < first


def test_gradients_are_finite_and_reach_most_weights(model):
    model.train()
    loss(model, make_batch()).backward()
    model.eval()
    elsewhere = ELSEWHERE.get(type(model).__name__, ())
    trained = [
        p for n, p in model.named_parameters() if p.requires_grad and not n.startswith(elsewhere)
    ]
    reached = [p for p in trained if p.grad is not None]
    assert len(reached) >= 0.9 * len(trained)
    assert all(torch.isfinite(p.grad).all() for p in reached)
    model.zero_grad(set_to_none=True)


def test_saving_and_loading_is_bit_equal_and_keeps_the_contract(model, tmp_path):
    before = model.preprocess
    model.preprocess = Preprocess(Recipe(sfreq=200.0, lowpass_hz=80.0), Normalise("average"))
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is type(model)
    assert again.preprocess == model.preprocess
    model.preprocess = before
    with torch.no_grad():
        assert torch.equal(features(again.eval(), make_batch()), features(model, make_batch()))


def test_bad_channels_change_nothing(model):
    if type(model).__name__ in LISTED:
        return
    batch = make_batch()
    with torch.no_grad():
        torch.testing.assert_close(
            features(model, with_bad_channels(batch)), features(model, batch), atol=1e-5, rtol=1e-4
        )


def test_the_order_of_channels_changes_nothing(model):
    if type(model).__name__ in LISTED:
        return
    batch = make_batch()
    with torch.no_grad():
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        shuffled, plain = features(model, channels(batch, order)), features(model, batch)
        own = model.per_channel if isinstance(model, Codec) else model.n_sources is None
        if own:
            plain = plain[:, order]  # features go where their channel goes
        torch.testing.assert_close(shuffled, plain, atol=1e-5, rtol=1e-4)


def test_half_precision_is_finite(model):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert torch.isfinite(features(model, make_batch())).all()


def test_windows_do_not_see_each_other(model):
    batch = make_batch(b=3)
    other = make_batch(b=3)
    other.x_BCWP = batch.x_BCWP.clone()
    other.x_BCWP[1:] += 5.0
    with torch.no_grad():
        a, b = features(model, batch), features(model, other)
    torch.testing.assert_close(a[0], b[0], atol=1e-5, rtol=1e-4)


SHARED = ("__init__", "base", "channelwise", "losses", "masking", "quantize")
SHARED += (
    "standard",
    "arithmetic",
    "bits",
    "context",
    "neighbours",
    "spectral_bytes",
    "stream",
    "transform",
)
"""Files of no single publication."""


def test_every_model_file_names_its_source():
    for folder in ("codecs", "models"):
        for path in (Path(brainfm.codecs.__file__).parents[1] / folder).glob("*.py"):
            if path.stem not in SHARED:
                assert "arXiv" in path.read_text(), path
