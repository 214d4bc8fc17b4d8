"""The TR comes from the sidecar, then the caller, then the header with a warning; or not at all."""

import json
import logging

import pytest

from brainfm.errors import DataError
from data_prep.readers.inheritance import read_sidecar
from data_prep.readers.tr import timing


def test_the_sidecar_comes_first_and_agrees_with_the_caller():
    found = timing("a.nii", sidecar={"RepetitionTime": 0.72, "StartTime": 0.36}, header=1.0)
    assert (found.tr_s, found.offset_s, found.notes) == (0.72, 0.36, ())
    assert timing("a.nii", sidecar={"RepetitionTime": 2.0}, tr_s=2.0001).tr_s == 2.0


def test_a_sidecar_and_a_caller_who_disagree_are_refused():
    with pytest.raises(DataError, match="sidecar says a TR of 2 s, you said 2.5 s; leave one out"):
        timing("a.nii", sidecar={"RepetitionTime": 2.0}, tr_s=2.5)


@pytest.mark.parametrize(("header", "unit", "tr"), [(2.5, "sec", 2.5), (2500.0, "msec", 2.5)])
def test_the_header_is_believed_with_a_warning(header, unit, tr, caplog):
    with caplog.at_level(logging.WARNING):
        found = timing("a.nii", header=header, header_unit=unit)
    assert found.tr_s == tr
    assert "which often lies" in caplog.text and "which often lies" in found.notes[0]


@pytest.mark.parametrize("header", [0.0, 1.0, None])
def test_a_header_that_says_nothing_or_one_is_refused(header):
    with pytest.raises(DataError, match="nobody says its TR"):
        timing("a.nii", header=header)
    assert timing("a.nii", header=header, tr_s=1.0).tr_s == 1.0


def test_milliseconds_called_seconds_are_refused_with_a_guess():
    with pytest.raises(DataError, match="as milliseconds it would be 2 s; give seconds"):
        timing("a.nii", tr_s=2000.0)
    with pytest.raises(DataError, match="a TR of 0.001 s is outside"):
        timing("a.nii", tr_s=0.001)


def test_frames_of_corrected_slices_stand_for_the_middle():
    assert timing("a.nii", tr_s=2.0, slices_corrected=True).offset_s == 1.0
    found = timing("a.nii", tr_s=2.0)
    assert found.offset_s == 0.0 and "no slice-time reference" in found.notes[-1]
    with pytest.raises(DataError, match="StartTime is 3 s, outside its TR of 2 s"):
        timing("a.nii", sidecar={"RepetitionTime": 2.0, "StartTime": 3})


def test_slices_that_are_not_corrected_stand_for_their_mean():
    said = {"RepetitionTime": 2.0, "SliceTiming": [0.0, 1.0, 0.5, 1.5]}
    found = timing("a.nii", sidecar=said)
    assert found.offset_s == 0.75 and "0 to 1.5 s into the TR" in found.notes[-1]
    # fMRIPrep says whether it corrected them; its name alone says that it did.
    told = said | {"SliceTimingCorrected": False}
    assert timing("a.nii", sidecar=told, slices_corrected=True).offset_s == 0.75
    assert timing("a.nii", sidecar=said, slices_corrected=True).offset_s == 1.0
    with pytest.raises(DataError, match="SliceTiming runs from 0 to 1500, outside its TR of 2 s"):
        timing("a.nii", sidecar=said | {"SliceTiming": [0, 500, 1000, 1500]})
    with pytest.raises(DataError, match="SliceTiming of its sidecar is no list of numbers"):
        timing("a.nii", sidecar=said | {"SliceTiming": "ascending"})


def test_times_of_volumes_are_a_tr_if_they_are_even():
    assert timing("a.nii", sidecar={"VolumeTiming": [0.0, 1.2, 2.4]}).tr_s == pytest.approx(1.2)
    with pytest.raises(DataError, match="VolumeTiming of its sidecar is not evenly spaced"):
        timing("a.nii", sidecar={"VolumeTiming": [0.0, 1.2, 3.4]})


def test_a_header_that_contradicts_is_named_and_not_believed(caplog):
    with caplog.at_level(logging.WARNING):
        found = timing("a.nii", sidecar={"RepetitionTime": 2.0}, header=1.4)
    assert found.tr_s == 2.0 and "the header says 1.4 s and is not believed" in found.notes[0]
    assert "not believed" in caplog.text
    for silent in (1.0, 0.0, 2.005):
        assert "header" not in " ".join(
            timing("a.nii", sidecar={"RepetitionTime": 2.0}, header=silent).notes
        )


def test_sidecars_lie_beside_the_image_and_are_read_or_refused(tmp_path):
    image = tmp_path / "sub-01_bold.nii.gz"
    assert read_sidecar(image) == {}
    beside = tmp_path / "sub-01_bold.json"
    beside.write_text(json.dumps({"RepetitionTime": 2}))
    assert read_sidecar(image) == {"RepetitionTime": 2}
    beside.write_text("{")
    with pytest.raises(DataError, match=r"sub-01_bold.json: no readable JSON"):
        read_sidecar(image)
    beside.write_text("[1]")
    with pytest.raises(DataError, match="holds no object"):
        read_sidecar(image)
    with pytest.raises(DataError, match="RepetitionTime of its sidecar is 'two', no number"):
        timing("a.nii", sidecar={"RepetitionTime": "two"})
