"""Fine-tuning a checkpoint on a labelled task, as GPT-1's paper does: datasets, transformations, figures."""
