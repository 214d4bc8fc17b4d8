import pytest

from brainfm.errors import DataError
from brainfm.signals.names import clean_name, clean_names, kind_from_name

CLEANED = {
    "EEG Fp1-Ref": "Fp1",
    "EEG FP1-LE": "Fp1",
    "EEG F3-LE": "F3",
    "EEG C3-REF": "C3",
    "Fc5.": "FC5",
    "C3..": "C3",
    "Iz..": "Iz",
    "CZ": "Cz",
    "fpz": "Fpz",
    "T3": "T7",
    "T4": "T8",
    "T5": "P7",
    "EEG T6-Ref": "P8",
    " Pz ": "Pz",
    "'O1'": "O1",
    "POL LA1": "LA1",
    "POL A'3": "A'3",
    "EEG LAH2-Ref": "LAH2",
    "SEEG TP1": "TP1",
    "MEG 0113": "MEG 0113",
    "EEG 053": "EEG 053",
    "MLC21-2908": "MLC21-2908",
    "F3-C3": "F3-C3",
    "G12": "G12",
}


@pytest.mark.parametrize(("written", "meant"), CLEANED.items())
def test_names_as_people_write_them(written, meant):
    assert clean_name(written) == meant


@pytest.mark.parametrize("name", list(CLEANED.values()))
def test_cleaning_twice_changes_nothing(name):
    assert clean_name(name) == name


KINDS = {
    "EOG left": "eog",
    "HEOG": "eog",
    "EEG EKG1-REF": "ecg",
    "ECG": "ecg",
    "POL ECG II": "ecg",
    "EMG Chin": "emg",
    "Chin1-Chin2": "emg",
    "STI 014": "stim",
    "Status": "stim",
    "SpO2": "misc",
    "Resp oro-nasal": "misc",
    "EEG PHOTIC-REF": "misc",
    "EEG Fpz-Cz": None,
    "Cz": None,
    "ECoG1": None,
    "EM1": None,
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_channels_called_eeg_that_are_not(name, kind):
    assert kind_from_name(name) == kind


def test_duplicates_after_cleaning_are_refused_with_both_columns():
    with pytest.raises(DataError, match=r"f\.edf: channel 'F3' appears twice \(columns 1.* and 3"):
        clean_names(["EEG F3-Ref", "Cz", "F3."], where="f.edf")


def test_old_and_new_name_of_one_electrode_are_a_duplicate():
    with pytest.raises(DataError, match="'T7' appears twice"):
        clean_names(["T3", "T7"])


def test_first_of_two_may_be_kept_on_request():
    report = clean_names(["F3", "EEG F3"], duplicates="first")
    assert report.names == ["F3", "F3__2"]
    assert "repeats the name 'F3'" in report.notes[0]


@pytest.mark.parametrize("name", ["", "   ", "C\x013", "EEG \x7f"])
def test_unprintable_names_are_refused(name):
    with pytest.raises(DataError, match="column 2"):
        clean_names(["Cz", name])


def test_non_ascii_names_are_kept():
    assert clean_names(["Électrode", "電極1"]).names == ["Électrode", "電極1"]


def test_changes_are_reported_and_nothing_else():
    assert clean_names(["Cz", "C3"]).notes == []
    assert "'CZ' to 'Cz'" in clean_names(["CZ", "C3"]).notes[0]


def test_reference_is_read_off_the_suffix_when_all_agree():
    assert clean_names(["EEG F3-LE", "EEG F4-LE"]).reference == "linked ears"
    assert clean_names(["EEG F3-AVG", "EEG F4-AVG"]).reference == "average"
    assert clean_names(["EEG F3-LE", "EEG F4-REF"]).reference == "unknown"
