"""Patients whose probabilities are known, shared by the tests of seizure scoring."""

import numpy as np

from brainfm.types import Event
from eval.seizure.predictions import Prediction

STEP_S = 2.0


def prediction(
    subject="a", seizures=((100, 160),), proba=None, duration=600.0, name=None, **settings
):
    """A recording whose probability is .9 in seizures and .1 elsewhere, or `proba`.

    Parameters
    ----------
    proba : a number for every step, a function of (end of step, ictal), or an array
    """
    time = np.arange(1, int(duration / STEP_S) + 1) * STEP_S
    events = [Event(float(a), float(b - a), "sz") for a, b in seizures]
    label = np.zeros(len(time), bool)
    for a, b in seizures:
        label |= (time > a) & (time - STEP_S < b)
    if proba is None:
        proba = np.where(label, 0.9, 0.1)
    elif callable(proba):
        proba = proba(time, label)
    proba = np.broadcast_to(np.asarray(proba, float), time.shape).copy()
    name = name or f"{subject}.edf"
    return Prediction(name, subject, duration, STEP_S, time, proba, events, **settings)


def people(tag="t", quality=0.8, n=6, seed=0, **settings):
    """n patients with one seizure each; the higher the quality, the easier."""
    rng = np.random.default_rng(seed)

    def proba(t, y):
        return np.clip(0.1 + quality * y + rng.normal(0, 0.12, len(t)), 0, 1)

    return [
        prediction(f"{tag}{i}", ((150 + 40 * i, 210 + 40 * i),), proba, **settings)
        for i in range(n)
    ]


def a_comparison(n=6):
    """Test and validation predictions of a good model and of two seeds of a poor one."""
    test = {
        "good": people(n=n),
        "twin#1": people(quality=0.25, n=n, seed=1),
        "twin#2": people(quality=0.25, n=n, seed=2),
    }
    val = {
        "good": people("v", n=3, seed=3),
        "twin#1": people("v", 0.25, 3, 4),
        "twin#2": people("v", 0.25, 3, 5),
    }
    return test, val
