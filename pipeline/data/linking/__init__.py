"""What the `links` phase reads, keeps and adds up: dumps, lists, block lists, karma."""
