"""Who carries a run out: this process, several of this machine, or a Dask cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from styleclip.errors import StyleclipError

PART_PATTERN = r"^[1-9][0-9]*/[1-9][0-9]*$"


def share(numbers: Sequence[int], part: str | None) -> list[int]:
    """Those shards that belong to a part K/N: every N-th, from the K-th on; all of them without a part.

    Raises RunnerError for a part that there cannot be.
    """
    if part is None:
        return list(numbers)
    which, of = (int(number) for number in part.split("/"))
    if which > of:
        raise RunnerError(f"part {part}: there are parts 1/{of} to {of}/{of}")
    return [number for number in numbers if number % of == which - 1]


class RunnerError(StyleclipError):
    """The runner that was asked for cannot be had."""


class Runner(BaseModel):
    """Where the units of a run are done; results do not depend on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["here", "processes", "dask"] = Field(
        default="here",
        description="here: one after the other in this process; processes: one process per GPU, or as many as "
        "`workers`; dask: the cluster at `address` or of class `cluster`, or a local one.",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        description="Processes, or workers that a cluster is scaled to; empty: one per GPU, or per core without GPUs.",
    )
    address: str | None = Field(
        default=None,
        description="Dask scheduler to use, for example tcp://node1:8786; its workers may come and go.",
    )
    cluster: str | None = Field(
        default=None, description="Class of a Dask cluster to start, for example dask_jobqueue.SLURMCluster."
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="Arguments of that class, by name.")

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and "://" not in value:
            raise ValueError(f"'{value}' is no address of a Dask scheduler: write tcp://HOST:PORT")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Runner:
        if self.kind != "dask" and (self.address or self.cluster):
            raise ValueError("an address or a cluster belongs to the runner 'dask'")
        if self.kind == "here" and self.workers:
            raise ValueError("workers belong to the runner 'processes' or 'dask': 'here' is this one process")
        if self.address and (self.cluster or self.workers):
            raise ValueError(
                "the scheduler at an address has workers of its own: leave out cluster and workers"
            )
        if self.arguments and not self.cluster:
            raise ValueError("arguments are those of a cluster class: name it in `cluster`")
        return self
