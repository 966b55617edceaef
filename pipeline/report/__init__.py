"""HTML pages from the files that the stages leave."""
