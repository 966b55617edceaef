"""Everything on disk, and nowhere else."""
