"""What the flows can be asked for: jobs, and what only a flow needs. These models are the run forms of Prefect's UI."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flows.forms.edits import EditForm
from flows.forms.runners import PART_PATTERN, Runner
from tasks.jobs import (
    CompareJob,
    CostsJob,
    EditJob,
    EvaluateJob,
    FreeJob,
    InvertJob,
    Job,
    MapperAttribute,
    MapperJob,
    PrecomputeJob,
)

RUNNER = "Who does the work: this process, several of this machine, or a Dask cluster; results are the same."
PART = (
    "K/N, for sites without a scheduler: only every N-th shard from the K-th on. Start all N parts, each with the same "
    "call otherwise; the last one to end has the whole summary."
)
EDITS_FILE = "YAML, TOML or JSON file with edits."


class Claiming(Job):
    """What is asked of a run that has its output for itself."""

    output: str
    wait: bool = Field(
        default=False,
        description="Wait while another run works in the same output folder, instead of leaving.",
    )


class PrecomputeParams(PrecomputeJob, Claiming):
    """Channel directions Δi_c of one bundle, into a Zarr store."""

    runner: Runner = Field(default=Runner(), description=RUNNER)


class InvertParams(InvertJob, Claiming):
    """Latent codes of a folder of images."""

    max_failed_fraction: float = Field(
        default=0.1, ge=0, le=1, description="The run fails when a larger share of the images cannot be read."
    )
    part: str | None = Field(default=None, pattern=PART_PATTERN, description=PART)
    runner: Runner = Field(default=Runner(), description=RUNNER)


class EditParams(EditJob, Claiming):
    """A folder of images edited by words."""

    edits: list[EditForm] = Field(
        default_factory=list, description="The edits; lists of strengths make a grid."
    )
    edits_file: str | None = Field(default=None, description=EDITS_FILE)
    max_failed_fraction: float = Field(
        default=0.1, ge=0, le=1, description="The run fails when a larger share of the rows has failed."
    )
    part: str | None = Field(default=None, pattern=PART_PATTERN, description=PART)
    runner: Runner = Field(default=Runner(), description=RUNNER)


class FreeParams(FreeJob, Claiming):
    """Pictures from words alone, optimized from the mean latent."""

    targets: list[str] = Field(min_length=1, description='What to draw, for example "a face with red hair".')


class TrainMappersParams(MapperJob, Claiming):
    """Latent mappers, one per attribute; the defaults are the published ones."""

    attributes: list[MapperAttribute] = Field(default_factory=list, description="What mappers shall learn.")
    attributes_file: str | None = Field(
        default=None, description="YAML, TOML or JSON file of attributes with their settings."
    )
    together: int = Field(default=8, ge=1, description="Attributes that are trained together, on one device.")
    analysis: int = Field(default=200, ge=2, description="Codes that the similarity of steps is measured on.")
    runner: Runner = Field(default=Runner(), description=RUNNER)


EVALUATED = (
    "black hair", "brown hair", "blond hair", "red hair", "grey hair", "blue hair", "glasses", "sunglasses", "hat",
    "beard", "bald", "fringe", "long hair", "short hair", "smile", "frown", "open mouth", "lipstick", "earrings",
    "rosy cheeks", "blue eyes", "white background", "blue background", "green background", "pink background",
)  # fmt: skip


class EvaluateParams(EvaluateJob):
    """The edits of the embedded world, scored by a judge that guided nothing."""

    edits: list[str] = Field(
        default=list(EVALUATED),
        min_length=1,
        description="Which statements about avatars to edit in, or phrases of avatars/world/phrases.py.",
    )
    strengths: str | None = Field(
        default=None,
        description="Empty: words alone, each picture finds its own. chosen: per edit, on other avatars by another "
        "judge. Or the strengths.json of an earlier evaluation.",
    )
    methods: list[Literal["global", "global-weighted"]] = Field(
        default=["global"],
        min_length=1,
        description="global: the paper's directions; global-weighted: our variant.",
    )


class CompareParams(CompareJob):
    """Methods on the same images, at matched strength."""

    methods: list[Literal["global", "global-weighted", "mapper", "optimize"]] = Field(
        default=["global", "mapper", "optimize"],
        description="The methods to compare on avatars; the first sets the strength of the others.",
    )
    edits: list[str] = Field(
        default_factory=list,
        description="Statements about avatars to compare methods by; none: those with a mapper.",
    )
    edits_file: str | None = Field(
        default=None,
        description="Edits to compare instead; those with the same target stand against each other.",
    )


class CostsParams(CostsJob):
    """What each method costs on this machine, beside the paper's Table 1."""

    edits_file: str | None = Field(
        default=None, description="Edits to measure, the first of each method; empty: those of avatars."
    )
