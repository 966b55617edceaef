"""The crawler behind the `fetch` phase: manners, limits, WARC files, and a log of every link."""
