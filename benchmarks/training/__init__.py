"""Whole training steps of ours and of peers on the same batch, timed in turns."""
