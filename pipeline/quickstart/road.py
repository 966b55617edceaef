"""The whole road on one machine: pages, links, corpus, engine parity, a ladder of GPTs, fits, a report.

Every leg is an ordinary command that finds out by itself what is already done, so the road is walked again in
seconds, and after a kill it goes on where it was.
"""

import logging
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from launch.environment import available_cpus
from launch.process import ends_with_this_process
from pipeline.errors import LoglinearError, StageError
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.publish import remove_leftovers, write_json
from pipeline.quickstart import parity, server
from pipeline.quickstart.machine import Legs, describe
from pipeline.quickstart.site.build import HOST, INDEX, render_site
from pipeline.quickstart.submissions import histogram_lines, write_submissions

CONFIGS = Path(__file__).parents[2] / "configs"
VERDICT = "verdict.json"

log = logging.getLogger("loglinear.quickstart")


def run(out: Path) -> str:
    """Walk what is left of the road and return what to tell: the path of the report."""
    start = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    remove_leftovers(out)
    road = _Road(out)
    walked = [leg() for leg in (road.site, road.links, road.corpus, road.parity, road.ladder)]
    report = out / "report.html"
    if any(walked) or not report.exists():
        write_json(out / "environment.json", describe(road.legs))
        write_json(out / "commands.json", [f"loglinear quickstart --out {out}", *road.commands])
        road.command("report", out)
    told = "done" if any(walked) else "everything was finished already, nothing was done again"
    return f"{told} ({time.monotonic() - start:.0f} s)\n{report}"


class _Road:
    """The legs, in order. Each returns whether there was anything to do."""

    def __init__(self, out: Path):
        self.out = out
        self.data, self.study = out / "data", out / "study"
        self.submissions = out / "submissions" / "RS_quickstart.zst"
        self.commands: list[str] = []
        self.legs = Legs(out / "legs.json")

    def site(self) -> bool:
        """Render the documentation of installed packages: the web of the quickstart."""
        done = (self.out / "site" / INDEX).exists()
        with self.legs.measured("site", record=not done):
            summary = render_site(self.out / "site", workers=available_cpus())
        log.info("site: %s pages, %.0f MB of HTML", f"{summary.pages:,}", summary.html_bytes / 1e6)
        return not done

    def links(self) -> bool:
        """Write the site's links as a dump of submissions with votes."""
        if self.submissions.exists():
            return False
        with self.legs.measured("links"):
            counts = write_submissions(self.out / "site", self.submissions)
            write_json(self.submissions.with_name("histogram.json"), counts)
        log.info("pages by the number of other pages that link to them:")
        for line in histogram_lines(counts):
            log.info("%s", line)
        return True

    def corpus(self) -> bool:
        """Build the dataset from the links, with the site served on loopback."""
        done = (self.data / MANIFEST).exists()
        with (
            self.legs.measured("data", record=not done),
            _served(self.out / "site", done) as server_arguments,
        ):
            self.command(
                "data",
                CONFIGS / "data" / "quickstart.yaml",
                f"out={self.data}",
                f"links.inputs=[{self.submissions}]",
                *server_arguments,
            )
        return not done

    def parity(self) -> bool:
        """Train 20 steps in one process and under DeepSpeed ZeRO-2 on two, and compare the losses."""
        done = (self.out / parity.NAME).exists()
        with self.legs.measured("parity", record=not done):
            for arguments in parity.commands(CONFIGS, self.data, self.out / "parity"):
                self.command(*arguments, skip=done)
            log.info("%s", parity.compare(self.out / "parity", self.out / parity.NAME))
        return not done

    def ladder(self) -> bool:
        """Plan, train, evaluate and fit the ladder of models."""
        done = (self.study / VERDICT).exists()
        with self.legs.measured("study", record=not done):
            self.command(
                "study", CONFIGS / "study" / "quickstart.yaml", f"data={self.data}", f"out={self.study}"
            )
        return not done

    def command(self, *arguments: str | Path, skip: bool = False) -> None:
        """Note one `loglinear` command and, unless it is to be skipped, run it with its output shown."""
        words = [str(argument) for argument in arguments]
        line = shlex.join(["loglinear", *words])
        self.commands.append(line)
        if skip:
            return
        log.info("%s", line)
        environment = {**os.environ, **ends_with_this_process()}
        child = [sys.executable, "-m", "pipeline", *words]
        code = subprocess.run(child, stdin=subprocess.DEVNULL, env=environment).returncode
        if code:
            raise _FailedCommandError(line, code)


class _FailedCommandError(StageError):
    """A command of the road failed; it ends with that command's exit code."""

    def __init__(self, line: str, code: int):
        super().__init__(f"`{line}` ended with exit code {code}: mend what it says above and run again")
        self.exit_code = code if code in (1, 2, 75) else LoglinearError.exit_code


@contextmanager
def _served(site: Path, done: bool) -> Iterator[list[str]]:
    """Serve the site while the dataset is built and yield the arguments that lead the crawler to it."""
    if done:
        yield []
        return
    with server.start(site) as running:
        yield [f"fetch.hosts={{{HOST}: '{running.address}'}}", f"fetch.allow=['{running.address}']"]
