"""One encoder for EEG, MEG, intracranial EEG and fMRI, judged kind by kind and across kinds."""
