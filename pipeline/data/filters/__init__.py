"""One file per reason to drop a document."""
