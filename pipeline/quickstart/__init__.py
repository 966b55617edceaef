"""The whole road on one machine: pages, links, corpus, ladder, report."""
