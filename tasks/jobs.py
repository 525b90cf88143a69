"""What a unit of work is asked for, declared once.

A job is what a run's tasks get. The run forms in `flows/forms/runs.py` are jobs with what only the flow needs, the
command line makes its options of them, and both show the descriptions that stand here. No torch: `--help` reads this.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from styleclip.settings import Precision

Align = Literal["none", "landmarks", "detector"]
Level = Literal["coarse", "medium", "fine"]

DATE = "{date} in it stands for the day that the run is scheduled for (UTC)."
FIRST = ("images", "targets", "attributes", "edits", "output", "bundle")
"""What a run form asks for before anything else."""


def _first_things_first(schema: dict[str, Any]) -> None:
    asked = schema["properties"]
    schema["properties"] = {name: asked[name] for name in (*(n for n in FIRST if n in asked), *asked)}


class Job(BaseModel):
    """What every job says; plain values, so that it travels to other processes and can be a key."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, json_schema_extra=_first_things_first
    )

    bundle: str = Field(
        default="avatars", description="Models: a name from `styleclip bundle list`, or a TOML file."
    )
    device: str = Field(default="auto", description="auto (CUDA when there is one), cpu, cuda or cuda:N.")

    @field_validator("output", "images", check_fields=False)
    @classmethod
    def _is_a_place(cls, value: Any) -> Any:
        if isinstance(value, str):
            if not value.strip().strip("/"):
                raise ValueError(f"'{value}' is no folder: name one (is a variable of the script empty?)")
            from storage.uris import refuse_secret  # not before there is a value: it loads pandas

            # before Prefect's database has seen it
            refuse_secret(value)
        return value

    @classmethod
    def of(cls, params: BaseModel) -> Self:
        """The job within a run form: its fields without the flow's own."""
        return cls(**{name: getattr(params, name) for name in cls.model_fields})


class _Seeded(Job):
    seed: int = Field(default=0, description="Seed of everything random in the run.")
    precision: Precision = Field(
        default="float32",
        description="float32; tf32: faster on newer CUDA devices, less exact; bfloat16: the generator alone, never "
        "CLIP.",
    )


class _Directed(Job):
    directions: str | None = Field(
        default=None, description="Directions store made by precompute; empty: the one that the bundle ships."
    )


class PrecomputeJob(_Seeded):
    """Channel directions Δi_c of one bundle, into a Zarr store."""

    output: str = Field(
        description="The directions store to make or to continue, for example runs/directions.zarr."
    )
    images: int = Field(
        default=100, ge=1, description="N: images per channel that the direction is averaged over."
    )
    statistics_samples: int = Field(
        default=10_000,
        ge=2,
        description="Samples that the mean and standard deviation of each channel come from.",
    )
    step: float | None = Field(
        default=None,
        gt=0,
        description="Channels are moved by ± this many standard deviations; empty: the bundle's, 5 unless it says so.",
    )
    baseline: Literal["sample", "mean"] = Field(
        default="sample",
        description="sample: each image's own value is moved (the paper); mean: it is set to the mean first.",
    )
    truncation_psi: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="ψ: how far samples are pulled towards the mean latent; empty: the bundle's.",
    )
    first: int = Field(
        default=0, ge=0, description="Only channels from this one on; the others get no direction."
    )
    last: int | None = Field(default=None, ge=1, description="Only channels before this one; empty: all.")
    block: int = Field(default=256, ge=1, description="Channels per task and per shard of the store.")
    batch: int = Field(
        default=64,
        ge=1,
        description="Pictures in one pass, two for each channel; halved by itself when memory runs out.",
    )


class _FolderJob(_Seeded):
    """Work over a folder of images, shard by shard."""

    shard_size: int = Field(default=32, ge=1, description="Images per task, and per commit.")
    batch: int = Field(default=16, ge=1, description="Images on the device at once.")
    refine_steps: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Steps of gradient descent that bring each code nearer to its image; 0: the encoder's own.",
    )
    align: Align = Field(
        default="none",
        description="none: images are aligned already; landmarks: faces are cut out, turned and scaled by their "
        "landmarks; detector: by those that the bundle's face detector finds.",
    )
    landmarks: str | None = Field(
        default=None,
        description="JSON, CSV or Parquet table of landmarks; empty: NAME.landmarks.json or a landmarks.* in the "
        "folder.",
    )
    retry_failed: bool = Field(
        default=False,
        description="Do failed rows again; where a file has changed since, that happens without it.",
    )
    strict: bool = Field(
        default=False,
        description="Refuse images or edits that have changed since the run began, instead of adding what is new.",
    )


class InvertJob(_FolderJob):
    """Latent codes of a folder of images."""

    images: str = Field(description="Folder of PNG, JPEG or WebP images; local path or s3://…")
    output: str = Field(description=f"Run folder; the codes go to latents.zarr inside it. {DATE}")
    save_reconstruction: bool = Field(
        default=False, description="Also write what the generator makes of each code."
    )

    @property
    def latents(self) -> str:
        """Where the codes go."""
        return f"{self.output.rstrip('/')}/latents.zarr"


class EditJob(_FolderJob, _Directed):
    """A folder of images edited by words."""

    images: str = Field(
        description="Folder of PNG, JPEG or WebP images; local path or s3://…; or a latents store that invert or an "
        "import has made."
    )
    output: str = Field(description=f"Run folder for the plan, the images and the metrics. {DATE}")
    save_source: bool = Field(
        default=False, description="Also write the source images as the models saw them."
    )
    save_reconstruction: bool = Field(default=True, description="Also write the unedited reconstructions.")


FolderJob = EditJob | InvertJob
"""Work over a folder of images, whose run has a plan."""


class FreeJob(_Seeded):
    """Pictures from words alone, optimized from the mean latent."""

    output: str = Field(description="Folder for the pictures, their latent codes and the metrics.")
    steps: int = Field(default=300, ge=1, le=100_000, description="Steps of Adam.")
    learning_rate: float = Field(default=0.1, gt=0, description="Largest step size.")
    patience: int = Field(
        default=0, ge=0, description="Stop when the loss has not fallen for this many steps; 0: never."
    )

    @property
    def latents(self) -> str:
        """Where the codes go."""
        return f"{self.output.rstrip('/')}/latents.zarr"


class MapperJob(_Seeded):
    """Latent mappers, one per attribute; the defaults are the published ones."""

    output: str = Field(description="Run folder for mappers, checkpoints, curves and pictures.")
    steps: int = Field(default=50_000, ge=1, description="Steps of training.")
    batch: int = Field(default=2, ge=1, description="Latent codes per step; every attribute edits them all.")
    optimizer: Literal["ranger", "adam"] = Field(default="ranger", description="ranger is the published one.")
    learning_rate: float = Field(default=0.5, gt=0, description="Step size.")
    decay: bool = Field(default=False, description="Let the step size fall to 0 along a cosine.")
    microbatch: int = Field(
        default=16, ge=1, description="Pictures on the device at once; halved by itself when memory runs out."
    )
    latents: str | None = Field(
        default=None,
        description="Latents store of inverted images to train on; empty: codes are sampled.",
    )
    truncation_psi: float = Field(default=1.0, gt=0, le=1, description="ψ of sampled codes.")
    validation: int = Field(default=32, ge=1, description="Held-out codes that the best state is chosen on.")
    checkpoint_every: int = Field(default=500, ge=1, description="Steps between checkpoints.")


class MapperAttribute(BaseModel):
    """One attribute that a mapper shall learn; the defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    target: str = Field(
        min_length=1, description='What images shall show, for example "a face with red hair".'
    )
    name: str = Field(default="", description="Name of the mapper; empty: made from the target.")
    neutral: str = Field(
        default="", description="What they show now; empty: the neutral words of the bundle."
    )
    space: Literal["levels", "single", "s"] = Field(
        default="levels",
        description="levels: a network per level of W+; single: one for all rows; s: one per style layer.",
    )
    levels: list[Level] = Field(
        default=["coarse", "medium", "fine"],
        min_length=1,
        description="levels only: which rows of W+ may move (0–3, 4–7, 8 on); leave fine out for shapes.",
    )
    lambda_clip: float = Field(default=1.0, gt=0, description="Weight of the CLIP loss.")
    lambda_l2: float = Field(
        default=0.8, ge=0, description="Weight of the mean squared step; smaller edits more."
    )
    lambda_id: float = Field(default=0.1, ge=0, description="Weight of keeping the face's identity.")
    relative: float = Field(
        default=0.0,
        ge=0,
        description="0: aim at the words (the paper). Above: at each image's own embedding, plus so much of Δt.",
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_default(cls, values: Any) -> Any:
        return {k: v for k, v in values.items() if v is not None} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _levels_belong_to_levels(self) -> Self:
        if self.space != "levels" and self.levels != type(self).model_fields["levels"].default:
            raise ValueError(f"'levels' belongs to the space levels, this mapper is of space '{self.space}'")
        return self


class EvaluateJob(_Directed):
    """The edits of the embedded world, scored by a judge that guided nothing."""

    output: str = Field(default="runs/evaluate", description="Folder for the table and the pictures.")
    images: int = Field(default=240, ge=1, description="Held-out avatars that are scored.")
    choose_images: int = Field(
        default=48, ge=1, description="Other held-out avatars that strengths are chosen on, where they are."
    )
    seed: int = Field(default=14, ge=2, description="Which held-out avatars are scored.")


class CompareJob(EvaluateJob):
    """Methods on the same images, at matched strength."""

    folder: str | None = Field(
        default=None,
        description="Images to compare methods on, for any bundle; empty: held-out avatars. Without the judges of the "
        "avatars, strengths are matched by CLIP gain.",
    )
    batch: int = Field(default=16, ge=1, description="Images on the device at once.")


class CostsJob(_Directed):
    """What each method costs on this machine, beside the paper's Table 1."""

    output: str = Field(default="runs/evaluate", description="Folder for the table.")
    batch: int = Field(default=16, ge=1, description="Images on the device at once.")


class ExportJob(BaseModel):
    """The good pairs of a run as a dataset that others open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str = Field(description="Output folder of an edit run.")
    output: str = Field(description="Folder for the dataset.")
    to: Literal["imagefolder", "parquet", "webdataset"] = Field(
        default="imagefolder",
        description="imagefolder: pictures beside metadata.parquet; parquet: pictures in the tables; webdataset: tars.",
    )
    accept: str = Field(
        default="",
        description='Which rows, for example "identity > 0.8 and clip_gain > 0.1"; empty: all that are ok.',
    )
    split: str = Field(
        default="train=1",
        description="Names and shares, train=0.9,test=0.1; all edits of an image go to one split.",
    )
    source: Literal["auto", "input", "seen", "reconstruction"] = Field(
        default="auto",
        description="What stands beside an edit: the input file, the input as the models saw it (seen), or the "
        "reconstruction; auto: the first that there is of seen, input, reconstruction.",
    )
    pack: int = Field(default=500, ge=1, le=100_000, description="Pairs in one file or folder.")
    license: str = Field(default="other", description="License of the dataset, as Hugging Face names it.")
