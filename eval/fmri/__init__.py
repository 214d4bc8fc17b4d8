"""What fMRI tells: categories, persons, and what stimulus features explain."""
