"""A study before it has begun: its sizes, and all its runs where no speed must be measured first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from model.config import GPTConfig, parameters, parameters_non_embedding
from pipeline.config import Plain, Schema, identity, validate
from pipeline.errors import ConfigError
from pipeline.formats.manifest import NAME as MANIFEST
from pipeline.formats.manifest import Manifest
from pipeline.study import telling
from pipeline.study.config import Config
from pipeline.study.planner import given_by, plan_of


class _Complete(Schema):
    model: Annotated[GPTConfig, Plain(GPTConfig)] = identity()


@dataclass(frozen=True, kw_only=True)
class Preview:
    """A configuration and the shapes of its sizes."""

    config: Config
    shapes: Mapping[str, GPTConfig]

    def lines(self) -> list[str]:
        """Return the plan as lines for people; without data its epochs are not known."""
        tokens = self.config.tokens
        if tokens is not None and tokens.seconds:
            told = (
                f"tokens a run: as many as fit {tokens.seconds:g} s, once each size's speed here is measured"
            )
            return [*self._sizes(), told]
        data = self.config.data
        manifest = Manifest.read(data) if (data / MANIFEST).is_file() else None
        given, missing = given_by(self.config, self.shapes, manifest)
        absent = (
            [] if manifest else [f"{data}: no dataset is there yet; names, epochs and limits follow from it"]
        )
        absent += [f"not there yet: {what}" for what in missing]
        return telling.table(plan_of(self.config, given)) + absent

    def _sizes(self) -> list[str]:
        lines = [f"{'rung':<12}{'non-embedding':>14}{'all':>13}{'seeds':>12}"]
        for rung in self.config.sizes:
            shape, seeds = self.shapes[rung.name], ",".join(map(str, rung.seeds))
            lines.append(
                f"{rung.name:<12}{parameters_non_embedding(shape):>14,}{parameters(shape):>13,}{seeds:>12}"
            )
        return lines


def plan(config: Config) -> Preview:
    """Return the study's sizes with their true counts; ConfigError where a size is none. Touches nothing."""
    shapes = {}
    problems: list[str] = []
    for rung in config.sizes:
        merged = {**config.train.get("model", {}), **rung.shape}
        try:
            shapes[rung.name] = validate(_Complete, {"model": merged}, f"rungs.{rung.name}").model
        except ConfigError as fault:
            problems += fault.problems
    if problems:
        raise ConfigError(problems)
    return Preview(config=config, shapes=shapes)
