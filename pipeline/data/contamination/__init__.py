"""What the `decontaminate` phase measures: held-out n-grams, overlap, the paper's Bloom filter."""
