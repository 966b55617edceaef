"""One file per way to come by a tokenizer."""
