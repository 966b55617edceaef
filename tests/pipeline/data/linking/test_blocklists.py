import pickle
from pathlib import Path

import pytest
import yaml

from pipeline.data.linking import blocklists
from pipeline.data.linking.blocklists import Blocked, BlockList, read_blocklists
from pipeline.errors import ConfigError

DEFAULT = Path(__file__).parents[4] / "configs" / "data" / "blocklists" / "default.yaml"


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/karpathy/nanoGPT",
        "https://www.google.com/about",
        "https://books.google.com/books?id=1",
        "https://archive.org/details/texts",
        "https://www.nytimes.com/2017/07/01/x.html",
        "https://www.reddit.com/r/books/comments/1/x/",
        "https://twitter.com/openai/status/1",
        "https://www.amazon.com/dp/1",
        "https://notimgur.com/abc",
        "http://example.com/jpg",
        "http://example.com/a.jpg/about",
        "http://example.com/?file=a.jpg",
        "https://en.wikibooks.org/wiki/Web",
    ],
)
def test_the_default_list_keeps_pages(url):
    assert read_blocklists([DEFAULT]).reason(url) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://i.imgur.com/abc", "blocked-domain"),
        ("https://www.youtube.com:8443/watch?v=1", "blocked-domain"),
        ("https://en.m.wikipedia.org/wiki/Web", "blocked-domain"),
        ("http://example.com/photo.JPG?size=2", "blocked-extension"),
        ("http://example.com/paper.pdf", "blocked-extension"),
    ],
)
def test_the_default_list_leaves_out_media_binaries_and_wikipedia(url, reason):
    assert read_blocklists([DEFAULT]).reason(url) == reason


def test_the_default_list_gives_a_reason_for_every_group_and_names_nothing_twice():
    text = DEFAULT.read_text(encoding="utf-8")
    lists = BlockList.model_validate(yaml.safe_load(text))
    entries = [*lists.domains, *lists.extensions]

    assert len(entries) == len(set(entries))
    for domain in lists.domains:
        above = domain.partition(".")[2]
        assert not any(each == above or above.endswith(f".{each}") for each in lists.domains), domain
    groups = text.split("\n  # ")[1:]
    assert sum(group.count("\n  - ") for group in groups) == len(entries)


def test_lists_are_united(tmp_path):
    one, other = tmp_path / "one.yaml", tmp_path / "other.yaml"
    one.write_text(yaml.safe_dump({"domains": ["Example.com"]}))
    other.write_text(yaml.safe_dump({"extensions": [".PDF"], "patterns": ["[?&]print=1"]}))
    blocked = read_blocklists([one, other])

    assert [
        blocked.reason(url)
        for url in (
            "http://a.example.com/",
            "http://b.com/x.pdf",
            "http://b.com/x?print=1",
            "http://b.com/x.html",
            "http://[::1]:8080/x",
        )
    ] == ["blocked-domain", "blocked-extension", "blocked-pattern", None, None]


def test_lists_travel_to_other_processes_and_forget_hosts_beyond_many(monkeypatch):
    monkeypatch.setattr(blocklists, "_REMEMBERED", 2)
    blocked = pickle.loads(pickle.dumps(Blocked([BlockList(domains=["a.com"])])))

    for _ in range(2):
        reasons = [blocked.reason(f"http://{name}.com/") for name in "abcda"]
        assert reasons == ["blocked-domain", None, None, None, "blocked-domain"]


def test_the_faults_of_all_lists_are_told_at_once(tmp_path):
    bad, broken = tmp_path / "bad.yaml", tmp_path / "broken.yaml"
    bad.write_text(yaml.safe_dump({"patterns": ["("], "domain": ["x"]}))
    broken.write_text("domains: [")

    with pytest.raises(ConfigError) as refused:
        read_blocklists([bad, broken, tmp_path / "absent.yaml"])

    assert len(refused.value.problems) == 4
