"""What the `wikipedia` phase reads: dumps, and the text in their markup."""
