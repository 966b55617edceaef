"""One file for each labelled dataset."""
