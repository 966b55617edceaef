"""One file per way to spread a model over processes and take a step."""
