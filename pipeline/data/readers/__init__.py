"""One file per form in which somebody may already have documents."""
