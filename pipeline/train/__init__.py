"""Pretraining: the order of data, and the stage that runs the loop."""
