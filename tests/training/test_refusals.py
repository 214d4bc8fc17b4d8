"""Sentences of the configuration library, made readable."""

import pytest

from brainfm.errors import ContractError, DataError
from brainfm.training.refusals import explain

NONE = "Expected a <class 'NoneType'>"


def union(*causes: str) -> ValueError:
    listed = "\n".join(f"  - {c}" for c in (*causes, NONE))
    return ValueError(
        'Parser key "model":\n  Does not validate against any of the Union subtypes\n'
        f"  Subtypes: [<class 'X'>]\n  Errors:\n{listed}\n"
        "  Given value type: <class 'dict'>\n  Given value: {'lr': 'lots of text'}"
    )


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (union("Problem with given class_path 'a.B':\n Option 'lrr' is not accepted"),
         "unknown key 'model.lrr'"),
        (union("Expected a dot import path string: Codek"),
         "model.class_path: there is no class 'Codek'; did you mean 'Codec'?"),
        (union("Expected a dot import path string: Zebra"),
         "model.class_path: there is no class 'Zebra'"),
        (union("Problem with given class_path 'a.B':\n Parser key \"lr\": "
               "Expected a <class 'float'>. Got value: fast"),
         "model.lr must be a number, but is 'fast'"),
        (ValueError('Parser key "data.window_s": Expected a <class \'float\'>. Got value: 2 s'),
         "data.window_s must be a number, but is '2 s'; give it in seconds, without a unit"),
        (ValueError('Parser key "a.cut_hz": Expected a <class \'float\'>. Got value: 1 kHz'),
         "a.cut_hz must be a number, but is '1 kHz'; give it in Hz, without a unit"),
        (ValueError('Parser key "a.on": Expected a <class \'bool\'>. Got value: 3'),
         "a.on must be true or false, but is '3'"),
        (ValueError("Subcommand 'fit' does not accept option 'trainer.stepz'"),
         "unknown key 'trainer.stepz'"),
        (union("preset is 'x'; it must be one of ['y']"),
         "model: preset is 'x'; it must be one of ['y']"),
    ],
)  # fmt: skip
def test_the_key_and_the_cause_are_all_that_remains(error, sentence):
    assert explain(error, ["Codec", "Encoder"]) == sentence


@pytest.mark.parametrize("kind", [ContractError, DataError])
def test_our_own_sentence_inside_a_library_s_is_the_one_that_is_said(kind):
    try:
        try:
            raise kind("lr is 5;\n a rate lies below 1")
        except kind as inner:
            raise ValueError("Does not validate against any of the Union subtypes") from inner
    except ValueError as error:
        assert explain(error) == "lr is 5; a rate lies below 1"


def test_whatever_else_is_said_stays_on_one_line():
    assert explain(ValueError("something\n   else")) == "something"
