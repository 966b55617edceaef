from pathlib import Path

import pytest

from pipeline.data import remove
from pipeline.data.documents import document_files, read_documents
from pipeline.data.remove import Requests
from pipeline.errors import ConfigError
from tests.pipeline.data.conftest import document, write_files


def requests(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "requests.txt"
    path.write_text(text)
    return path


def test_urls_in_any_spelling_and_domains_with_their_subdomains_are_left_out(tmp_path: Path):
    path = requests(
        tmp_path,
        "# asked for on Monday\nHTTP://Example.org:80/a?utm_source=x\n\nBücher.example\n  gone.net \n",
    )

    found = Requests.read(path)

    assert found.reason("http://example.org/a") == "url"
    assert found.reason("http://example.org/b") is None
    assert found.reason("https://xn--bcher-kva.example/") == "domain"
    assert found.reason("https://shop.gone.net:8080/x") == "domain"
    assert found.reason("https://notgone.net/") is None
    assert found.reason("file:gone.net#3") is None


def test_a_line_that_is_neither_is_named_with_its_number(tmp_path: Path):
    path = requests(tmp_path, "ok.org\nexample.org/page\nftp://example.org/\nnot a domain\n")

    with pytest.raises(ConfigError) as refusal:
        Requests.read(path)

    assert [line.split(":")[1] for line in str(refusal.value).splitlines()] == ["2", "3", "4"]


def test_what_is_removed_leaves_no_text_behind(tmp_path: Path, phase):
    write_files(
        tmp_path / "in",
        {"0": [document("a", "a secret"), document("b", "stays")], "1": [document("c", "stays")]},
    )

    counts = remove.run(requests(tmp_path, "http://example.org/a\n"), phase("remove"))

    assert (counts.documents_in, counts.documents_out, counts.dropped) == (3, 2, {"url": 1})
    [dropped] = [each for file in document_files(tmp_path / "dropped") for each in read_documents(file)]
    assert (dropped.text, dropped.metadata["url"]) == ("", "http://example.org/a")
