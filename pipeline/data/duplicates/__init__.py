"""What the `dedup` phase compares documents by, on disk and in parts."""
