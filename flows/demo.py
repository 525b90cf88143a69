"""demo: the whole program once, on a folder of images that no model has seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from prefect import flow
from pydantic import BaseModel, ConfigDict, Field

from flows.common.outcome import one_line_failures
from flows.edit import edit
from flows.forms.edits import EditForm
from flows.forms.runs import EditParams, PrecomputeParams
from flows.precompute import PrecomputeSummary, precompute
from tasks.edit.summary import EditSummary
from tasks.evaluate.agreement import Agreement, compare_stores


class DemoParams(BaseModel):
    """Which images, and how much of everything."""

    model_config = ConfigDict(extra="forbid")

    images: str = Field(description="Folder of images to edit.")
    output: str = Field(description="Folder for the demo's results.")
    edits: list[EditForm] = Field(description="The edits; lists of strengths make a grid.")
    bundle: str = Field(default="avatars", description="Name of a bundle, or path of a bundle's TOML file.")
    device: str = Field(default="auto", description="auto (CUDA when there is one), cpu, cuda or cuda:N.")
    precompute_images: int = Field(default=2, ge=1, description="Images per channel of the small precompute.")


@dataclass(frozen=True)
class DemoSummary:
    """The two flows, and how well the directions that were computed agree with the shipped ones."""

    edit: EditSummary
    precompute: PrecomputeSummary
    agreement: Agreement

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"edit": self.edit.to_json()}


@flow(
    name="demo",
    description="Invert and edit a folder, recompute the channel directions with few images, compare.",
)
@one_line_failures
def demo(params: DemoParams) -> DemoSummary:
    """Edit with the shipped directions, then check a small part of how they were made."""
    common: dict[str, Any] = {"bundle": params.bundle, "device": params.device}
    edited = edit(
        EditParams(
            images=params.images,
            output=f"{params.output}/run",
            edits=params.edits,
            save_source=True,
            **common,
        )
    )
    small = f"{params.output}/directions.zarr"
    computed = precompute(
        PrecomputeParams(output=small, images=params.precompute_images, statistics_samples=2000, **common)
    )
    agreement = compare_stores(params.bundle, params.device, small)
    return DemoSummary(edited, computed, agreement)
