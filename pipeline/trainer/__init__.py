"""The machine that train and finetune feed."""
