"""Small corpora for the tests of the phases after fetching."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastwarc.warc import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.data.crawl import fetchlog
from pipeline.data.documents import Text, line_of, writing_documents
from pipeline.data.execute import ExecuteConfig
from pipeline.data.extract import document_id
from pipeline.data.phase import PhaseRun


def document(name: str, text: str, karma: int = 3, **metadata: Any) -> Text:
    url = f"http://example.org/{name}"
    known = {"url": url, "canonical_url": url, "domain": "example.org", "karma": karma, **metadata}
    return Text(text=text, id=document_id(url), metadata=known)


def write_files(folder: Path, files: Mapping[str, list[Text]]) -> None:
    for name, documents in files.items():
        with writing_documents(folder / f"{name}.jsonl.zst") as file:
            file.writelines(map(line_of, documents))


def write_warc(
    path: Path, pages: Mapping[str, bytes], content_type: str = "text/html; charset=utf-8"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = WARCWriter(file, gzip=True)
        for url, body in pages.items():
            headers = StatusAndHeaders("200 OK", [("Content-Type", content_type)], protocol="HTTP/1.1")
            # With its length given, warcio keeps no temporary file that it would forget to close.
            block = {"payload": io.BytesIO(body), "length": len(body), "http_headers": headers}
            writer.write_record(writer.create_warc_record(url, "response", **block))


def write_log(dataset: Path) -> None:
    """Write the log of a crawl that stored all pages of all WARC files."""
    rows = []
    for path in sorted((dataset / "pages").glob("*.warc.gz")):
        with path.open("rb") as file:
            urls = [record.headers["WARC-Target-URI"] for record in ArchiveIterator(file)]
        rows += [
            {
                "canonical_url": url,
                "reason": "stored",
                "warc": path.name,
                "offset": 0,
                "length": path.stat().st_size,
            }
            for url in urls
        ]
    pq.write_table(
        pa.Table.from_pylist(rows, schema=fetchlog.SCHEMA), dataset / "pages" / "fetch-log.parquet"
    )


def write_links(path: Path, karma: Mapping[str, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {
        "canonical_url": list(karma),
        "karma_max": list(karma.values()),
        "karma_sum": list(karma.values()),
    }
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def phase(tmp_path: Path) -> Callable[..., PhaseRun]:
    """Return a maker of phases at work in the test's directory."""

    def make(name: str, source: str = "in", workers: int = 1) -> PhaseRun:
        return PhaseRun(
            name=name,
            dataset=tmp_path,
            source=tmp_path / source,
            work=tmp_path / ".phases" / f"{name}-{workers}",
            execute=ExecuteConfig(workers=workers, retries=0),
        )

    return make
