"""Fast extraction (Lexbor's parser): up to fifty times trafilatura's speed; keeps more, boilerplate too."""

from __future__ import annotations

from pipeline.config import Schema, identity


class Config(Schema):
    """How resiliparse turns HTML into text."""

    main_content: bool = identity(
        True, description="leave out navigation, headers and footers by simple rules"
    )

    def extract(self, html: str, _url: str) -> str:
        """Return the text of a page, its paragraphs separated by blank lines."""
        from resiliparse.extract.html2text import extract_plain_text

        return str(
            extract_plain_text(
                html, main_content=self.main_content, preserve_formatting=True, alt_texts=False
            )
        )
