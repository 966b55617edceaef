"""Checkpoints in, results with errors out."""
