"""Small batches of simulated recordings, and a codec that has seen one."""

import pytest
import torch

from brainfm.codecs.braintokenizer import BrainTokenizer, BrainTokenizerConfig
from brainfm.data.collate import batch_from_arrays
from brainfm.data.synthetic import synthetic_recording
from brainfm.signals.preprocess import Normalise


@pytest.fixture
def batch():
    """Four windows of half a second, six EEG channels: 128 samples, two codec windows each."""
    torch.set_num_threads(1)
    recording = synthetic_recording("EEG", seconds=2.0, n_channels=6, seed=1)
    x_BCT = recording.signal.reshape(4, 128, 6).transpose(0, 2, 1)
    return batch_from_arrays(x_BCT, recording.channels, 256.0, Normalise(), patch=64)


@pytest.fixture
def codec(batch):
    torch.manual_seed(0)
    codec = BrainTokenizer(BrainTokenizerConfig(preset="test"))
    codec.initialise_codebooks(batch)
    return codec
