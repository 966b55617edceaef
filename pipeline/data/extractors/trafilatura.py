"""Careful extraction (trafilatura 2): the best mean score of the article benchmarks, at 20 to 50 pages a
second.
"""

from __future__ import annotations

from pipeline.config import Schema, identity


class Config(Schema):
    """How trafilatura turns HTML into text."""

    favor_precision: bool = identity(False, description="less text, with less boilerplate in it")
    favor_recall: bool = identity(False, description="more text, with more boilerplate in it")
    include_comments: bool = identity(False, description="keep readers' comments")
    include_tables: bool = identity(True, description="keep the text of tables")

    def extract(self, html: str, url: str) -> str:
        """Return the main text of a page, or nothing where there is none."""
        import trafilatura

        return trafilatura.extract(html, url=url, with_metadata=False, **self.model_dump()) or ""
