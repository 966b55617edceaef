"""The cells of the parity matrix: each family of engines, started as one group of processes."""

from __future__ import annotations

from pipeline.trainer.engines import ddp, deepspeed, fsdp2

HERE = {"device": "cpu", "threads": 1}


def cells(family: str, world_size: int) -> dict[str, object]:
    """Return the configurations of a family by name; a family is one group of processes."""
    if family == "ddp":
        return {"ddp": ddp.Config(**HERE)}
    if family == "fsdp2":
        found = {
            "reshard": fsdp2.Config(reshard=True, **HERE),
            "keep": fsdp2.Config(reshard=False, **HERE),
            "hsdp": fsdp2.Config(replicas=2, **HERE),
        }
        return found | (
            {"hsdp-keep": fsdp2.Config(replicas=2, reshard=False, **HERE)} if world_size > 2 else {}
        )
    if family == "offload":
        return {
            "reshard": fsdp2.Config(offload=True, **HERE),
            "keep": fsdp2.Config(offload=True, reshard=False, **HERE),
        }
    if family == "compiled":
        compiled = {"compile": True, **HERE}
        return {
            "ddp": ddp.Config(**compiled),
            "fsdp2": fsdp2.Config(**compiled),
            "zero2": deepspeed.Config(zero_stage=2, **compiled),
        }
    return {f"zero{stage}": deepspeed.Config(zero_stage=stage, **HERE) for stage in range(4)}


def cells_of(world_size: int) -> list[tuple[str, str]]:
    """Return every cell of the matrix, as family and name."""
    return [(family, cell) for family in ("ddp", "fsdp2", "deepspeed") for cell in cells(family, world_size)]
