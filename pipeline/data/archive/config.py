"""What is taken from Common Crawl: the `commoncrawl` section of a dataset's configuration."""

from datetime import date
from typing import Literal

from pipeline.config import Schema, execution, identity
from pipeline.data.crawl.config import Endpoint

WEB = ("https://", "http://")


class CommonCrawlConfig(Schema):
    """Where the index and the archive are, and which capture of a page is taken.

    Of the captures of a link that are pages (status 200, HTML or text), whole ones come before truncated
    ones; then `prefer` decides.
    """

    index: list[str] = identity(
        min_length=1,
        description="Parquet files of the columnar index, or a crawl's cc-index-table.paths.gz that lists "
        "them: paths, glob patterns, https:// or s3:// URLs; of as many crawls as you like",
    )
    prefer: Literal["nearest", "newest"] = identity(
        "nearest", description="to the link's first submission, or of all"
    )
    before: date | None = identity(None, description="first day (UTC) of captures that is too late")
    files: str = execution(
        "https://data.commoncrawl.org/", description="URL or folder below which the index's files lie"
    )
    contact: str = execution("", description="URL or e-mail address told to the server")
    connections: int = execution(8, ge=1, description="requests at the same time")
    attempts: int = execution(8, ge=1, description="requests for a record while the server is in trouble")
    spacing_seconds: float = execution(
        1.0, gt=0, description="least time between requests to a server in trouble; doubles"
    )
    total_seconds: float = execution(120.0, gt=0, description="for one request")
    file_bytes: int = execution(256 << 20, ge=1024, description="size at which a WARC file is full")
    gzip_level: int = execution(2, ge=1, le=9)
    memory_limit: str = execution("1GB", pattern=r"^\d+(\.\d+)? ?[KMGT]i?B$", description="duckdb's memory")
    allow: list[Endpoint] = execution([], description="ADDRESS:PORT that need not be public")

    @property
    def has_contact(self) -> bool:
        """Tell whether the server learns whom to write to."""
        contact = self.contact
        return contact.startswith(WEB) or ("@" in contact.strip("@") and " " not in contact)
