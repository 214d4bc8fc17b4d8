"""The decoder: any encoder, any head, and everything comes back from its folder."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_batches import make_batch

from brainfm.errors import ContractError
from brainfm.hub import load_model
from brainfm.models.brainomni import BrainOmni, BrainOmniConfig
from brainfm.models.duin import DuINEncoder, DuINEncoderConfig
from brainfm.models.meggpt import MEGGPT, MEGGPTConfig
from brainfm.models.mvpformer import MVPFormer, MVPFormerConfig
from brainfm.signals.preprocess import Preprocess, Recipe
from brainfm.speech.decoder import (
    HEADS,
    SYMBOLS,
    SearchConfig,
    SpeechDecoder,
    SpeechDecoderConfig,
)
from brainfm.speech.lexicon import Lexicon
from brainfm.speech.ngram import NGram

DUIN = "brainfm.models.duin.DuINEncoder"
SIZES = {"ctc": {}, "align": {"n_features": 5}, "regress": {"n_features": 5}}
SIZES["classify"] = {"n_steps": 8}  # 128 samples by a window of 16
WORDS = ("cat", "dog", "bird")


def config(head="ctc", **given):
    words = WORDS if head == "classify" else ()
    return SpeechDecoderConfig(DUIN, {"preset": "test"}, head, SIZES[head], words, **given)


def test_one_decoder_of_words_reads_montages_of_any_number_of_channels(tmp_path):
    encoder = MVPFormer(MVPFormerConfig(preset="test", band=4))
    n_steps = encoder(make_batch(t=128)).h_BSWD.shape[2]
    sizes = {"n_sources": None, "n_steps": n_steps, "pooling": "attend"}
    given = SpeechDecoderConfig(head="classify", vocabulary=WORDS, head_sizes=sizes)
    model = SpeechDecoder(given, encoder=encoder).eval()
    again = load_model(model.save_pretrained(tmp_path))
    for c in (2, 7):
        batch = make_batch(c=c, t=128)
        assert model.predict(batch).shape == (2, 3)
        torch.testing.assert_close(again.predict(batch), model.predict(batch))


def decoder(head="ctc", **given):
    torch.manual_seed(0)
    return SpeechDecoder(config(head, **given)).eval()


def saying(model, *words):
    """The decoder with logits that spell these words of its lexicon, whatever it hears."""
    ids = [k for w in words for k in model.lexicon.entries[w][0]]
    path = torch.tensor([x for k in ids for x in (k, 0)])
    model.predict = lambda batch: torch.log(
        torch.nn.functional.one_hot(path, 41) * 0.9 + 0.1 / 41
    ).expand(len(batch), -1, -1)
    return model


ENCODERS = {
    "DuINEncoder": lambda: DuINEncoder(DuINEncoderConfig(preset="test")),
    "BrainOmni": lambda: BrainOmni(BrainOmniConfig(preset="test")),
    "MVPFormer": lambda: MVPFormer(MVPFormerConfig(preset="test", band=4)),
    "MEGGPT": lambda: MEGGPT(MEGGPTConfig(preset="test")),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_any_encoder_is_taken_over_and_comes_back(name, tmp_path):
    torch.manual_seed(0)
    encoder = ENCODERS[name]()
    if name == "BrainOmni":
        encoder.tokenizer.initialise_codebooks(make_batch(b=8))
    encoder.preprocess = Preprocess(Recipe(sfreq=200.0, lowpass_hz=80.0))
    given = SpeechDecoderConfig(head="ctc", head_sizes={"per_step": 2, "hidden": 8})
    model = SpeechDecoder(given, encoder=encoder).eval()
    assert model.config.encoder.endswith(name) and model.config.head_sizes.dim == encoder.dim
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert type(again) is SpeechDecoder and type(again.encoder) is type(encoder)
    assert again.config == model.config
    assert again.preprocess == again.encoder.preprocess == encoder.preprocess
    batch = make_batch()
    assert torch.equal(again.predict(batch), model.predict(batch))


@pytest.mark.parametrize("head", HEADS)
def test_any_head_comes_back_and_learns_from_its_own_field(head, tmp_path):
    model = decoder(head)
    batch = make_batch(b=3)
    assert model(batch).losses == {}
    batch.target_B = torch.tensor([0, 2, 1])
    batch.sequence_BL = torch.tensor([[1, 40], [3, -1], [2, 2]])
    batch.stimulus_BNF = torch.randn(3, 20, 5)
    losses = model(batch).losses
    assert losses and all(v.isfinite() for v in losses.values())
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert again.config == model.config
    assert torch.equal(again.predict(batch), model.predict(batch))


@pytest.mark.parametrize("head", HEADS)
def test_half_precision_is_finite(head):
    batch = make_batch(b=3)
    batch.target_B = torch.tensor([0, 2, 1])
    batch.sequence_BL = torch.tensor([[1, 40], [3, -1], [2, 2]])
    batch.stimulus_BNF = torch.randn(3, 20, 5)
    with torch.autocast("cpu", torch.bfloat16):
        out = decoder(head).train()(batch)
        sum(out.losses.values()).backward()
    assert out.logits_BK.isfinite().all()


def test_language_and_lexicon_travel_with_the_weights(tmp_path):
    model = decoder(search=SearchConfig(beam=4, weight=0.3, bonus=0.1))
    model.lexicon = Lexicon({"cat": ["K AE T"], "dog": ["D AO G"]})
    model.phoneme_lm = NGram.train([["K", "AE", "T"]], 2, SYMBOLS[1:])
    model.word_lm = NGram.train([["cat", "dog"]], 2)
    model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    batch = make_batch()
    assert again.lexicon.entries == model.lexicon.entries
    assert again.phonemes(batch) == model.phonemes(batch)
    assert again.words(batch) == model.words(batch)
    assert again.config.search == SearchConfig(4, 0.3, 0.1)
    model.lexicon = model.phoneme_lm = model.word_lm = None
    model.save_pretrained(tmp_path)
    assert load_model(tmp_path).lexicon is None, "what lay there before does not come back"


def test_words_are_spelled_out_of_phonemes():
    model = decoder()
    model.lexicon = Lexicon(
        {"cat": ["K AE T"], "tack": ["T AE K"], "two": ["T UW"], "too": ["T UW"]}
    )
    model.word_lm = NGram.train([["cat", "two"], ["tack", "too"]] * 5, 2)
    assert saying(model, "cat", "two").words(make_batch()) == [("cat", "two")] * 2
    assert saying(model, "tack", "two").words(make_batch()) == [("tack", "too")] * 2
    assert saying(model, "cat").phonemes(make_batch(b=1)) == [("K", "AE", "T")]
    greedy = SearchConfig(beam=None)
    assert saying(model, "cat").phonemes(make_batch(b=1), greedy) == [("K", "AE", "T")]


def test_a_phoneme_model_turns_what_is_unclear():
    model = decoder()
    p = np.full((1, 3, 41), 1e-6)
    p[0, :, 0] = 1e-6
    for n, symbols in enumerate((["K"], ["AE", "AH"], ["T"])):
        for k, s in enumerate(symbols):
            p[0, n, SYMBOLS.index(s)] = (0.45, 0.55)[k] if len(symbols) > 1 else 1
    model.predict = lambda batch: torch.from_numpy(np.log(p / p.sum(-1, keepdims=True)))
    assert model.phonemes(make_batch(b=1)) == [("K", "AH", "T")]
    model.phoneme_lm = NGram.train([["K", "AE", "T"]] * 9, 2, SYMBOLS[1:])
    assert model.phonemes(make_batch(b=1)) == [("K", "AE", "T")]


def test_a_closed_vocabulary_names_its_classes():
    model = decoder("classify")
    batch = make_batch(b=3)
    best = model.predict(batch).argmax(-1).tolist()
    assert model.words(batch) == [(WORDS[k],) for k in best]
    with pytest.raises(ContractError, match="class 1 is 'dog' for the decoder and 'cow'"):
        model.name_classes(["cat", "cow", "bird"])
    with pytest.raises(ContractError, match="vocabulary of 2 words, the head 3 classes"):
        model.name_classes(["cat", "dog"])


def test_what_a_head_cannot_say_is_refused():
    with pytest.raises(ContractError, match="head 'align' says no phonemes"):
        decoder("align").phonemes(make_batch())
    with pytest.raises(ContractError, match="need a lexicon and a beam"):
        decoder().words(make_batch())
    unnamed = SpeechDecoder(
        replace(config("classify"), vocabulary=(), head_sizes={"n_steps": 8, "n_classes": 3})
    )
    with pytest.raises(ContractError, match="no names; call name_classes"):
        unnamed.words(make_batch())


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"head": "guess"}, "head is 'guess'"),
        ({"encoder": "os.path.join"}, "encoder is 'os.path.join'"),
        ({"encoder": "brainfm.models.duin.DuIN"}, "full name of one"),
        ({"encoder": "brainfm.models.none.X"}, "full name of one"),
        ({"sizes": {"prest": "test"}}, "unknown key \\['prest'\\]"),
        ({"sizes": BrainOmniConfig(preset="test")}, "those of a BrainOmniConfig"),
        ({"head_sizes": {"widht": 3}}, "head_sizes of 'ctc': unknown key \\['widht'\\]"),
        ({"head_sizes": {"dim": 3}}, "head_sizes.dim is 3"),
        ({"head": "regress", "head_sizes": {}}, "n_features is None"),
        ({"head": "classify", "head_sizes": {"n_classes": 4}}, "head_sizes of 'classify'"),
    ],
)
def test_a_wrong_configuration_is_named(wrong, named):
    with pytest.raises(ContractError, match=named):
        SpeechDecoder(replace(config(), **wrong))


def test_more_classes_than_words_are_refused():
    with pytest.raises(ContractError, match="n_classes is 4, but the vocabulary has 3 words"):
        SpeechDecoder(replace(config("classify"), head_sizes={"n_steps": 8, "n_classes": 4}))


def test_a_folder_of_a_foreign_encoder_imports_nothing(tmp_path):
    decoder().save_pretrained(tmp_path)
    content = json.loads((tmp_path / "config.json").read_text())
    content["config"]["encoder"] = "antigravity.Encoder"
    (tmp_path / "config.json").write_text(json.dumps(content))
    with pytest.raises(ContractError, match="encoder is 'antigravity.Encoder'"):
        load_model(tmp_path)
