"""What the `commoncrawl` phase is made of: looking links up in the index, copying records."""
