"""The network and its tokenizer: what one would publish with the weights."""
