"""The stages, from links to a scaling report."""
