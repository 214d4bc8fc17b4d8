"""Code files: what was stored comes back to the bit, or is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_batches import make_batch

from brainfm.codecs.biocodec import BioCodec, BioCodecConfig
from brainfm.codecs.bits import pack_ids, unpack_ids, width_of
from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.codecs.duin import DuIN, DuINConfig
from brainfm.codecs.meggpt import EphysTokenizer, EphysTokenizerConfig
from brainfm.codecs.scalar import ScalarCodec, ScalarCodecConfig
from brainfm.codes import decode_recording, encode_recording
from brainfm.data.codes import load_codes, save_codes
from brainfm.data.collate import batch_from_arrays
from brainfm.data.synthetic import synthetic_recording
from brainfm.errors import ContractError, DataError
from brainfm.hub import load_model
from brainfm.signals.preprocess import Normalise, Preprocess, Recipe

CODECS = {
    "BrainTokenizer": lambda: BrainTokenizer(BrainTokenizerConfig(preset="test")),
    "BioCodec": lambda: BioCodec(BioCodecConfig(preset="test")),
    "ScalarCodec": lambda: ScalarCodec(ScalarCodecConfig(preset="test")),
    "DuIN": lambda: DuIN(DuINConfig(preset="test")),
    "EphysTokenizer": lambda: EphysTokenizer(EphysTokenizerConfig(preset="test")),
}


def made(name="BioCodec", seed=0):
    torch.manual_seed(seed)
    codec = CODECS[name]()
    if hasattr(codec, "initialise_codebooks"):
        codec.initialise_codebooks(make_batch(8, t=256, seed=5))
    return codec.eval()


@pytest.fixture(scope="module")
def recording():
    return synthetic_recording("EEG", 21.3, 5, sfreq=256.0)


@pytest.fixture
def stored(recording, tmp_path):
    codec = made()
    return codec, save_codes(tmp_path / "a.codes", encode_recording(recording, codec))


@pytest.mark.parametrize("limit", [1, 2, 3, 24, 256, 512, 6561, 2**16])
@pytest.mark.parametrize("n", [0, 1, 7, 1001])
def test_ids_take_as_many_bits_as_they_need(limit, n):
    ids = np.random.default_rng(0).integers(0, limit, n)
    content = pack_ids(ids, limit)
    assert len(content) == -(-n * width_of(limit) // 8)
    assert np.array_equal(unpack_ids(content, n, limit), ids)


def test_ids_beyond_the_codebook_are_refused_both_ways():
    for ids in ([24], [-1]):
        with pytest.raises(ValueError, match="0 to 23"):
            pack_ids(np.array(ids), 24)
    with pytest.raises(ValueError, match="0 to 23"):
        unpack_ids(pack_ids(np.array([31]), 32), 1, 24)
    with pytest.raises(ValueError, match="there are 4"):
        unpack_ids(bytes(4), 3, 24)


@pytest.mark.parametrize("name", CODECS)
def test_packed_codes_are_the_codes(name):
    codec, batch = made(name), make_batch(2, t=128)
    codes = codec.encode(batch)
    back = codec.unpack(codec.pack(codes, batch), batch)
    assert torch.equal(back.ids_BSWQ, codes.ids_BSWQ) and back.duration_s == codes.duration_s
    torch.testing.assert_close(back.latent_BSWD, codes.latent_BSWD)
    assert torch.allclose(back.time_W, codes.time_W)
    bits = 8 * len(codec.pack(codes, batch))
    assert bits <= codes.ids_BSWQ.numel() * width_of(codec.config.codebook_size) + 8 * 26


def test_packed_codes_of_something_else_are_refused():
    codec, batch = made(), make_batch(2, t=128)
    content = codec.pack(codec.encode(batch), batch)
    for damaged in (b"", content[:10], content[:-1], content + b"x"):
        with pytest.raises(ContractError, match="cut off|damaged"):
            codec.unpack(damaged, batch)
    with pytest.raises(ContractError, match="2 windows, not of 3"):
        codec.unpack(content, make_batch(3, t=128))


@pytest.mark.parametrize("name", CODECS)
def test_a_file_gives_the_signal_that_the_codec_gives(name, recording, tmp_path):
    codec = made(name)
    coded = load_codes(save_codes(tmp_path / "a.codes", encode_recording(recording, codec, 4.0)))
    found = decode_recording(coded, codec)
    assert found.shape == recording.signal.T.shape and found.dtype == np.float32
    length = round(4.0 * 256) // codec_step(codec) * codec_step(codec)
    x_1CT = recording.signal.T[None, :, length : 2 * length]
    batch = batch_from_arrays(x_1CT, recording.channels, 256.0, Normalise())
    with torch.inference_mode():
        alone = codec.reconstruct(batch)[0].numpy()
    alone = alone * batch.scale_BC[0, :, None].numpy() + batch.offset_BC[0, :, None].numpy()
    # Windows that are coded together differ from one alone by rounding, which may turn an id.
    away = np.abs(found[:, length : 2 * length] - alone) > 1e-4 * np.abs(alone).max()
    assert away.mean() < 0.05


def codec_step(codec):
    return getattr(codec.config, "window", None) or getattr(codec.config, "hop", 1)


def test_everything_beside_the_codes_comes_back(recording, tmp_path):
    codec = made()
    coded = encode_recording(replace(recording, notes=["a note"]), codec)
    back = load_codes(save_codes(tmp_path / "deep" / "a.codes", coded))
    assert back.channels.layout() == recording.channels.layout()
    assert (back.codec, back.fingerprint) == ("BioCodec", codec.fingerprint())
    assert (back.n_samples, back.sfreq, back.notes) == (5453, 256.0, ["a note"])
    for a, b in zip(back.pieces, coded.pieces, strict=True):
        assert a.payload == b.payload and a.length == b.length
        for key in ("start_N", "valid_NC", "scale_NC", "offset_NC"):
            x, y = getattr(a, key), getattr(b, key)
            assert np.array_equal(x, y) and x.dtype == y.dtype
    assert back.recipe["sfreq"] == 256.0
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.codes"]


def test_the_rate_is_that_of_the_codec(recording, tmp_path):
    codec = made("BrainTokenizer")
    coded = encode_recording(recording, codec)
    # Ids of 24 take 5 bits instead of 4.58; heads and the last, overlapping window come on top.
    fixed = codec.bits_per_second(256.0) * 5 / np.log2(24)
    assert fixed < coded.bits_per_second < 1.5 * fixed


def test_the_end_of_a_recording_is_coded_whole(recording):
    codec = made("BrainTokenizer")
    coded = encode_recording(recording, codec, 4.0)
    starts = np.concatenate([p.start_N for p in coded.pieces])
    assert starts.tolist() == [0, 1024, 2048, 3072, 4096, 5453 - 1024]
    short = replace(recording, signal=recording.signal[:40], intervals_s=[], events=[])
    assert decode_recording(encode_recording(short, codec), codec).shape == (5, 40)


def test_a_flat_channel_decodes_to_zero(recording):
    signal = recording.signal.copy()
    signal[:, 2] = 1e-5
    codec = made()
    x_CT = decode_recording(encode_recording(replace(recording, signal=signal), codec), codec)
    assert (x_CT[2] == 0).all() and (x_CT[1] != 0).any()


def test_fingerprints_follow_weights_sizes_and_contract(tmp_path):
    codec = made()
    assert codec.fingerprint() == made().fingerprint() == codec.frozen().fingerprint()
    assert load_model(codec.save_pretrained(tmp_path)).fingerprint() == codec.fingerprint()
    other_gain = BioCodec(replace(codec.config, gain=2.0))
    other_gain.load_state_dict(codec.state_dict())
    contract = BioCodec(codec.config, Preprocess(Recipe(sfreq=200.0)))
    contract.load_state_dict(codec.state_dict())
    moved = made()
    with torch.no_grad():
        next(moved.parameters())[0] += 1e-6
    prints = {c.fingerprint() for c in (codec, other_gain, contract, moved, made(seed=1))}
    assert len(prints) == 5


def test_codes_of_another_codec_are_refused_with_both_fingerprints(stored):
    codec, path = stored
    coded = load_codes(path)
    coded.require(codec, str(path), "here")
    other = made(seed=1)
    with pytest.raises(ContractError) as refusal:
        coded.require(other, str(path), "runs/other")
    sentence = str(refusal.value)
    for part in (str(path), "runs/other", codec.fingerprint()[:12], other.fingerprint()[:12]):
        assert part in sentence
    assert "encode the recording again" in sentence and "\n" not in sentence


@pytest.mark.parametrize("cut", [0, 5, 200, 3000, -1])
def test_a_truncated_file_is_refused(stored, cut):
    _, path = stored
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"a\.codes.*again"):
        load_codes(path)


@pytest.mark.parametrize("where", [-1, -200, 0.5, 0.9])
def test_a_changed_byte_is_noticed(stored, where):
    _, path = stored
    content = bytearray(path.read_bytes())
    content[int(where * len(content)) if isinstance(where, float) else where] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a\.codes.*again"):
        load_codes(path)


def test_other_files_are_refused(tmp_path, stored):
    from safetensors.numpy import save_file

    with pytest.raises(DataError, match="no such file"):
        load_codes(tmp_path / "missing.codes")
    other = tmp_path / "other.codes"
    save_file({"x": np.zeros(3)}, str(other))
    with pytest.raises(DataError, match="its format is 'none'"):
        load_codes(other)
    save_file({"x": np.zeros(3)}, str(other), metadata={"format": "brainfm codes 9"})
    with pytest.raises(DataError, match="'brainfm codes 9'.*encode the recording again"):
        load_codes(other)


def test_codes_made_in_half_precision_need_nothing_special_to_decode(recording):
    codec = made("BrainTokenizer")
    single, half = (encode_recording(recording, codec, half=h) for h in (False, True))
    assert single.fingerprint == half.fingerprint
    assert [p.payload for p in single.pieces] != [p.payload for p in half.pieces]
    a, b = decode_recording(single, codec), decode_recording(half, codec)
    assert np.isfinite(b).all() and np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.5


def test_a_codec_that_packs_for_itself_is_stored_as_well(recording, tmp_path):
    class Verbose(BioCodec):
        def pack(self, codes, batch):
            return b"v" + super().pack(codes, batch)

        def unpack(self, content, batch):
            assert content[:1] == b"v"
            return super().unpack(content[1:], batch)

    plain = made()
    codec = Verbose(plain.config).eval()
    codec.load_state_dict(plain.state_dict())
    coded = load_codes(save_codes(tmp_path / "a.codes", encode_recording(recording, codec)))
    assert coded.fingerprint != plain.fingerprint()
    expected = decode_recording(encode_recording(recording, plain), plain)
    assert np.array_equal(decode_recording(coded, codec), expected)
