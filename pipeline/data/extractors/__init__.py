"""One file per way to turn a page into text."""
