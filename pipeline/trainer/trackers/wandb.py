"""Weights & Biases: one run id for the run's whole life, steps on an explicit axis, offline without a key.

Rows that were sent cannot be taken back, so of those that a restart or a rollback writes again none is sent:
each step is there once, as it was first. metrics.jsonl has them as they were last.
"""

from __future__ import annotations

import netrc
import os
from html import escape
from pathlib import Path
from typing import Any, Literal

from pipeline.config import Schema, execution
from pipeline.trainer.tracker import SAMPLE, Row, Tracked, numbers

HOST = "api.wandb.ai"


class Config(Schema):
    """`mode` auto: online with a known key, else offline (`wandb sync RUN/wandb/offline-*` uploads later)."""

    project: str = execution("loglinear", description="project on the server")
    entity: str | None = execution(None, description="user or team; by default the key's own")
    mode: Literal["auto", "online", "offline"] = execution(
        "auto", description="whether to upload while training"
    )

    def build(self, run: Tracked) -> Wandb:
        """Start or continue the run on the server or on disk."""
        import wandb

        mode = self.mode if self.mode != "auto" else ("online" if has_key() else "offline")
        session = wandb.init(
            project=self.project,
            entity=self.entity,
            id=run.tracking_id,
            name=run.name,
            resume="allow",
            dir=run.directory,
            config=dict(run.settings),
            mode=mode,
            settings=wandb.Settings(console="off", silent=True),
        )
        return Wandb(session, run.last_step)


class Wandb:
    """Rows at their own step; none of those up to `sent_step`, which were sent before."""

    def __init__(self, session: Any, sent_step: int):
        self._session, self._sent_step, self._newest = session, sent_step, 0

    def log(self, row: Row) -> None:
        """Send the numbers of a row, or a sample."""
        if row["step"] <= self._sent_step:
            return
        # An event may come late, as a checkpoint's does when it is written; wandb takes no step back.
        self._newest = max(self._newest, row["step"])
        if values := _shown(row):
            self._session.log(values, step=self._newest)

    def close(self, finished: bool) -> None:
        """End the session; one that is not finished is marked so that it can go on."""
        self._session.finish(exit_code=0 if finished else 1)


def _shown(row: Row) -> dict[str, Any]:
    """Return what a row has to show: numbers, or a sample as it stands, its prompt in bold."""
    if row.get("event") != SAMPLE:
        return dict(numbers(row))
    import wandb

    page = f"<pre style='white-space: pre-wrap'><b>{escape(row['prompt'])}</b>{escape(row['text'])}</pre>"
    return {f"sample/{row['number']}": wandb.Html(page, inject=False)}


def has_key() -> bool:
    """Tell whether a key is known, from the environment or ~/.netrc; the key itself is not kept."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    file = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    try:
        return netrc.netrc(str(file)).authenticators(HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False
