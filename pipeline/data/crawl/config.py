"""How pages are fetched: the `fetch` section of a dataset's configuration."""

from typing import Annotated

from pydantic import AfterValidator

from pipeline.config import Schema, execution, identity
from pipeline.data.crawl.addresses import endpoint


def _endpoint(text: str) -> str:
    endpoint(text)
    return text


Endpoint = Annotated[str, AfterValidator(_endpoint)]


class FetchConfig(Schema):
    """What decides which pages are kept is identity; pace and manners are not."""

    workers: int = execution(1, ge=1, description="shares of the links; one is fetched by this very process")
    retry: list[str] = execution(
        [], description="reasons of the log (dns, http-503, host-broken, ...) whose links are asked for again"
    )
    agent: str = execution(
        "loglinear", pattern=r"^[A-Za-z_-]+$", description="the name robots.txt may address"
    )
    contact: str = execution("", description="URL or e-mail address told to every server")
    concurrency: int = execution(256, ge=1, description="links in work at the same time, by each worker")
    host_connections: int = execution(2, ge=1, description="requests at the same time to one host")
    host_delay_seconds: float = execution(1.0, ge=0, description="least time between two requests to a host")
    max_crawl_delay_seconds: float = execution(
        120.0, ge=0, description="a host whose robots.txt asks for more is left out"
    )
    connect_seconds: float = execution(10.0, gt=0)
    first_byte_seconds: float = execution(30.0, gt=0, description="until the headers are complete")
    total_seconds: float = execution(60.0, gt=0, description="for one request")
    min_bytes_per_second: float = execution(1024.0, ge=0, description="of a body, after ten seconds")
    max_header_bytes: int = execution(32 << 10, ge=1024)
    max_body_bytes: int = identity(5 << 20, ge=1024, description="on the wire, and inflated")
    max_ratio: float = identity(100.0, ge=1, description="inflated to compressed, from 1 MiB on")
    redirects: int = identity(5, ge=0, description="followed for one link")
    ports: list[int] = identity([80, 443], description="of public servers")
    attempts: int = execution(3, ge=1, description="requests for a link whose trouble may pass")
    retry_seconds: float = execution(1.0, ge=0, description="before the second attempt; doubles each time")
    max_retry_after_seconds: float = execution(120.0, ge=0, description="a server that asks for more is left")
    breaker_failures: int = execution(10, ge=1, description="in a row, until a host gets a pause")
    breaker_seconds: float = execution(
        60.0, ge=0, description="of that pause; a host that fails after it is given up"
    )
    file_bytes: int = execution(256 << 20, ge=1024, description="size at which a WARC file is full")
    gzip_level: int = execution(2, ge=1, le=9)
    allow: list[Endpoint] = execution([], description="ADDRESS:PORT that need not be public")
    hosts: dict[str, Endpoint] = execution({}, description="host name or pattern -> ADDRESS:PORT")

    @property
    def has_contact(self) -> bool:
        """Tell whether servers learn whom to write to."""
        contact = self.contact
        return contact.startswith(("https://", "http://")) or (
            "@" in contact.strip("@") and " " not in contact
        )
