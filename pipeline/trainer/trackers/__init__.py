"""One file per place where metrics go."""
