import html.parser
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote, urljoin

import pytest

from pipeline.errors import ConfigError, StageError
from pipeline.formats import publish
from pipeline.quickstart.site.build import HOST, SiteSummary, render_site
from pipeline.quickstart.site.pages import PAGE_BYTES

RENDER = "import sys; from pathlib import Path; from pipeline.quickstart.site.build import render_site; "
RENDER += "render_site(Path(sys.argv[1]), sys.argv[3:], int(sys.argv[2]))"


class Reader(html.parser.HTMLParser):
    """Collects links, anchors and tags, and complains about tags that do not match."""

    def __init__(self, text: str):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.links += [given["href"] or ""] if "href" in given else []
        self.anchors |= {given["id"] or ""} if "id" in given else set()
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def pages_of(site: Path) -> dict[str, str]:
    return {str(path.relative_to(site)): path.read_text() for path in site.rglob("*.html")}


def hashes(site: Path) -> dict[str, str]:
    return {
        str(path.relative_to(site)): publish.sha256_of(path) for path in site.rglob("*") if path.is_file()
    }


def render_elsewhere(folder: Path, workers: int, hash_seed: str) -> dict[str, str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "HOME": str(folder.parent)}
    arguments = [str(folder), str(workers), "zoo", "plain"]
    subprocess.run([sys.executable, "-c", RENDER, *arguments], check=True, env=environment)
    return hashes(folder)


def test_modules_that_misbehave_are_left_out_and_the_reason_is_told(site: Path, summary: SiteSummary):
    left_out = publish.read_json(site / "index.json")["left_out"]

    assert left_out == {
        "zoo.prints": "prints",
        "zoo.raises": "import fails: RuntimeError",
        "zoo.leaves": "import fails: SystemExit",
        "zoo.writes": "writes files",
        "zoo.starts": "starts a process",
        "zoo.browses": "opens a window",
    }
    assert summary.left_out["prints"] == 1
    assert not list(site.glob("zoo/zoo.tests*"))


def test_a_module_that_hangs_or_ends_the_process_costs_no_other_its_page(make_package, tmp_path: Path):
    crashes, hangs = "import os\nos._exit(3)", "while True: pass"
    modules = {"__init__.py": "", "a.py": '"""A."""', "b.py": crashes, "c.py": hangs, "d.py": '"""D."""'}
    make_package("hostile", modules, "1.0")

    render_site(tmp_path / "site", ["hostile"], module_seconds=1.0)

    index = publish.read_json(tmp_path / "site/index.json")
    assert index["left_out"] == {"hostile.b": "ends the process", "hostile.c": "takes more than 1 s"}
    assert {"hostile/hostile.a.html", "hostile/hostile.d.html"} <= {page["path"] for page in index["pages"]}


def test_every_page_is_whole_html_under_the_cap(site: Path):
    for path, text in pages_of(site).items():
        reader = Reader(text)
        assert len(text.encode()) <= PAGE_BYTES, path
        assert text.startswith('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>')
        assert not {"script", "style", "link", "img"} & set(reader.tags)


def test_every_link_ends_at_an_anchor_of_another_page_of_the_site(site: Path):
    readers = {path: Reader(text) for path, text in pages_of(site).items()}
    for path, reader in readers.items():
        for link in reader.links:
            url, _, anchor = urljoin(f"http://{HOST}/{path}", link).partition("#")
            target = unquote(url.removeprefix(f"http://{HOST}/"))
            assert target != path
            assert not anchor or unquote(anchor) in readers[target].anchors, (path, link)


def test_the_index_lists_pages_with_their_hashes_and_links(site: Path):
    pages = publish.read_json(site / "index.json")["pages"]

    assert {page["path"] for page in pages} == set(pages_of(site))
    for page in pages:
        assert publish.sha256_of(site / page["path"]) == page["sha256"]
        reader = Reader((site / page["path"]).read_text())
        found = {urljoin(f"http://{HOST}/{page['path']}", link).partition("#")[0] for link in reader.links}
        assert found == {f"http://{HOST}/{target}" for target in page["links"]}


def test_addresses_local_paths_and_links_off_the_host_are_gone(site: Path):
    text, places = pages_of(site)["zoo/zoo.html"], pages_of(site)["zoo/zoo.places.html"]

    assert "&lt;zoo.Cat object&gt;" in text
    assert "0x7f00deadbeef" not in text
    assert "<p>Look in ..., ... and ...</p>" in places
    assert "find(start=PosixPath('...'))" in places
    assert "file:" not in text
    assert "/home/somebody" not in text
    assert "http://elsewhere.example/page" in text
    assert 'href="http' not in text


def test_names_become_links_in_the_context_of_their_module_and_class(site: Path):
    zoo, animals, plain = (
        (site / path).read_text() for path in ("zoo/zoo.html", "zoo/zoo.animals.html", "plain/plain.html")
    )

    assert '<a href="zoo.animals.html#zoo.animals.Cat">zoo.animals.Cat</a>' in zoo
    assert 'href="../zoo/zoo.animals.html#zoo.animals.Cat"' in plain
    assert "<p>Feed an animal such as zoo.animals.Cat.</p>" in zoo  # linked above already
    assert "Dog</a>" not in animals


def test_what_one_module_takes_from_another_is_documented_once(site: Path):
    zoo, animals = ((site / path).read_text() for path in ("zoo/zoo.html", "zoo/zoo.animals.html"))

    assert 'id="zoo.animals.Cat"' in animals
    assert 'id="zoo.Cat"' not in zoo
    assert animals.count("Move somewhere.") == 1
    assert "Return self==value." not in animals
    assert "<pre>&gt;&gt;&gt; Animal().move() &lt; 3</pre>" in animals


def test_a_module_too_long_for_a_page_is_divided_into_pages_that_know_each_other(site: Path):
    parts = sorted((site / "zoo").glob("zoo.huge.*.html"))
    whole = Reader((site / "zoo/zoo.huge.html").read_text())

    assert len(parts) > 10
    assert {part.name for part in parts} == {link.partition("#")[0] for link in whole.links} - {"zoo.html"}
    for part in parts:
        links = set(Reader(part.read_text()).links)
        assert {"zoo.huge.html", *(other.name for other in parts if other != part)} <= links


def test_the_same_bytes_come_from_any_number_of_workers_hash_seed_and_home(site: Path, tmp_path: Path):
    assert render_elsewhere(tmp_path / "a", workers=1, hash_seed="1") == hashes(site)


@pytest.mark.parametrize("stage", ["modules/plain-00.json", "pages/plain.json"])
def test_killed_at_any_time_and_run_again_it_goes_on(site: Path, tmp_path: Path, stage: str):
    folder = tmp_path / "site"
    done = folder / ".work" / stage
    arguments = (
        [str(folder), "1", "plain", "zoo"] if "modules" in stage else [str(folder), "1", "zoo", "plain"]
    )
    child = subprocess.Popen([sys.executable, "-c", RENDER, *arguments])
    while not done.exists() and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    left = done.stat().st_mtime_ns if done.exists() else None
    assert left is not None

    render_site(folder, arguments[2:])

    undisturbed = {
        path: digest for path, digest in hashes(site).items() if path.startswith(("zoo/", "plain/"))
    }
    assert hashes(folder).items() >= undisturbed.items()


def test_a_finished_site_is_not_rendered_again(site: Path, summary: SiteSummary):
    before = {path: path.stat().st_mtime_ns for path in site.rglob("*")}

    assert render_site(site, ["zoo", "plain"]) == summary
    assert {path: path.stat().st_mtime_ns for path in site.rglob("*")} == before
    assert not (site / ".work").exists()


def test_other_packages_or_versions_in_the_same_place_are_refused(make_package, tmp_path: Path):
    make_package("moving", {"__init__.py": '"""Moving."""'}, "1.0")
    render_site(tmp_path / "site", ["moving"])

    with pytest.raises(StageError, match=r"plain: absent -> 1\.0.*remove that directory"):
        render_site(tmp_path / "site", ["moving", "plain"])
    make_package("moving", {"__init__.py": '"""Moved."""'}, "2.0")
    with pytest.raises(StageError, match=r"moving: 1\.0 -> 2\.0"):
        render_site(tmp_path / "site", ["moving"])


def test_a_package_that_is_not_installed_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="'no_such_package' is not installed"):
        render_site(tmp_path / "site", ["no_such_package"])
