"""One file per phase of the data stage: its speed against the bare loop or the peer."""
