"""One file per way to start processes."""
