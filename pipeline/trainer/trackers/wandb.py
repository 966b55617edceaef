"""Weights & Biases: one run id for the run's whole life, steps on an explicit axis, offline without a key."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Any, Literal

from pipeline.config import Schema, execution
from pipeline.trainer.tracker import Row, Tracked, numbers

HOST = "api.wandb.ai"


class Config(Schema):
    """`mode` auto is online where a key is known, else offline (`wandb sync RUN/wandb/…` uploads later)."""

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
        return Wandb(session)


class Wandb:
    """Rows at their own step: those that a restart repeats are older than the last, and wandb drops them."""

    def __init__(self, session: Any):
        self._session = session

    def log(self, row: Row) -> None:
        """Send the numbers of a row."""
        if values := numbers(row):
            self._session.log(values, step=row["step"])

    def close(self, finished: bool) -> None:
        """End the session; one that is not finished is marked so that it can go on."""
        self._session.finish(exit_code=0 if finished else 1)


def has_key() -> bool:
    """Tell whether a key is known, from the environment or ~/.netrc; the key itself is not kept."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    file = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    try:
        return netrc.netrc(str(file)).authenticators(HOST) is not None
    except (OSError, netrc.NetrcParseError):
        return False
