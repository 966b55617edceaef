"""Scaling studies: a ladder of runs planned, trained through `launch`, read back, fitted and judged."""
