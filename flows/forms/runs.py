"""What the flows can be asked for. These models are also the run form in Prefect's UI."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from flows.forms.edits import EditForm
from flows.forms.mappers import MapperSpec
from storage.uris import refuse_secret
from styleclip.precision import Precision

IMAGE_FOLDER = "Folder of PNG, JPEG or WebP images; local path or s3://…"
REFINE = "Steps of gradient descent that bring each code nearer to its image; 0: the encoder's own."
DATE = "{date} in it stands for the day that the run is scheduled for (UTC)."
ALIGN = (
    "none: images are aligned already; landmarks: faces are cut out, turned and scaled by their landmarks; "
    "detector: by those that the bundle's face detector finds."
)
RETRY = "Do shards with failed rows again; files that had failed may have been mended or replaced since."
LANDMARKS = (
    "JSON, CSV or Parquet table of landmarks; empty: NAME.landmarks.json or a landmarks.* in the folder."
)
PRECISION = (
    "float32; tf32: faster on newer CUDA devices, less exact; bfloat16: the generator alone, never CLIP."
)


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    bundle: str = Field(default="avatars", description="Name of a bundle, or path of a bundle's TOML file.")
    device: str = Field(default="auto", description="auto (CUDA when there is one), cpu, cuda or cuda:N.")
    seed: int = Field(default=0, description="Seed of everything random in the run.")

    @field_validator("output", "images", check_fields=False)
    @classmethod
    def _is_a_place(cls, value: Any) -> Any:
        if isinstance(value, str):
            if not value.strip().strip("/"):
                raise ValueError(f"'{value}' is no folder: name one (is a variable of the script empty?)")
            # before Prefect's database has seen it
            refuse_secret(value)
        return value


class PrecomputeParams(_Parameters):
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
        allow_inf_nan=False,
        description="Channels are moved by ± this many standard deviations; empty: the bundle's.",
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
    precision: Precision = Field(default="float32", description=PRECISION)


class InvertParams(_Parameters):
    """Latent codes of a folder of images."""

    images: str = Field(description=IMAGE_FOLDER)
    output: str = Field(description=f"Run folder; the codes go to latents.zarr inside it. {DATE}")
    shard_size: int = Field(default=32, ge=1, description="Images per task, and per commit.")
    batch: int = Field(default=16, ge=1, description="Images on the device at once.")
    refine_steps: int = Field(default=0, ge=0, le=100_000, description=REFINE)
    precision: Precision = Field(default="float32", description=PRECISION)
    align: Literal["none", "landmarks", "detector"] = Field(default="none", description=ALIGN)
    landmarks: str | None = Field(default=None, description=LANDMARKS)
    save_reconstruction: bool = Field(
        default=False, description="Also write what the generator makes of each code."
    )
    max_failed_fraction: float = Field(
        default=0.1, ge=0, le=1, description="The run fails when a larger share of the images cannot be read."
    )
    retry_failed: bool = Field(default=False, description=RETRY)


class EditParams(_Parameters):
    """A folder of images edited by words."""

    images: str = Field(description=f"{IMAGE_FOLDER}; or a latents store that invert or an import has made.")
    output: str = Field(description=f"Run folder for the plan, the images and the metrics. {DATE}")
    edits: list[EditForm] = Field(
        default_factory=list, description="The edits; lists of strengths make a grid."
    )
    edits_file: str | None = Field(default=None, description="YAML, TOML or JSON file with more edits.")
    directions: str | None = Field(
        default=None, description="Directions store made by precompute; empty: the one that the bundle ships."
    )
    shard_size: int = Field(default=32, ge=1, description="Images per task, and per commit.")
    batch: int = Field(default=16, ge=1, description="Images on the device at once.")
    refine_steps: int = Field(default=0, ge=0, le=100_000, description=REFINE)
    precision: Precision = Field(default="float32", description=PRECISION)
    align: Literal["none", "landmarks", "detector"] = Field(default="none", description=ALIGN)
    landmarks: str | None = Field(default=None, description=LANDMARKS)
    max_failed_fraction: float = Field(
        default=0.1, ge=0, le=1, description="The run fails when a larger share of the rows has failed."
    )
    retry_failed: bool = Field(default=False, description=RETRY)
    save_source: bool = Field(
        default=False, description="Also write the source images as the models saw them."
    )
    save_reconstruction: bool = Field(default=True, description="Also write the unedited reconstructions.")


class FreeParams(_Parameters):
    """Pictures from words alone, optimized from the mean latent."""

    targets: list[str] = Field(min_length=1, description='What to draw, for example "a face with red hair".')
    output: str = Field(description="Folder for the pictures, their latent codes and the metrics.")
    steps: int = Field(default=300, ge=1, le=100_000, description="Steps of Adam.")
    learning_rate: float = Field(default=0.1, gt=0, allow_inf_nan=False, description="Largest step size.")
    patience: int = Field(
        default=0, ge=0, description="Stop when the loss has not fallen for this many steps; 0: never."
    )
    precision: Precision = Field(default="float32", description=PRECISION)


class TrainMappersParams(_Parameters):
    """Latent mappers, one per attribute; the defaults are the published ones."""

    output: str = Field(description="Run folder for mappers, checkpoints, curves and pictures.")
    attributes: list[MapperSpec] = Field(default_factory=list, description="What mappers shall learn.")
    attributes_file: str | None = Field(default=None, description="YAML file with more attributes.")
    together: int = Field(default=8, ge=1, description="Attributes that are trained together, on one device.")
    steps: int = Field(default=50_000, ge=1, description="Steps of training.")
    batch: int = Field(default=2, ge=1, description="Latent codes per step; every attribute edits them all.")
    optimizer: Literal["ranger", "adam"] = Field(default="ranger", description="ranger is the published one.")
    learning_rate: float = Field(default=0.5, gt=0, allow_inf_nan=False, description="Step size.")
    decay: bool = Field(default=False, description="Let the step size fall to 0 along a cosine.")
    microbatch: int = Field(
        default=16, ge=1, description="Pictures on the device at once; halved by itself when memory runs out."
    )
    precision: Precision = Field(default="float32", description=PRECISION)
    latents: str | None = Field(
        default=None,
        description="Latents store of inverted images to train on; empty: codes are sampled.",
    )
    truncation_psi: float = Field(default=1.0, gt=0, le=1, description="ψ of sampled codes.")
    validation: int = Field(default=32, ge=1, description="Held-out codes that the best state is chosen on.")
    checkpoint_every: int = Field(default=500, ge=1, description="Steps between checkpoints.")
    analysis: int = Field(default=200, ge=2, description="Codes that the similarity of steps is measured on.")


EVALUATED = (
    "black hair", "brown hair", "blond hair", "red hair", "grey hair", "blue hair", "glasses", "sunglasses", "hat",
    "beard", "bald", "fringe", "long hair", "short hair", "smile", "frown", "open mouth", "lipstick", "earrings",
    "rosy cheeks", "blue eyes", "white background", "blue background", "green background", "pink background",
)  # fmt: skip


class EvaluateParams(_Parameters):
    """The edits of the embedded world, scored by a judge that guided nothing."""

    output: str = Field(description="Folder for the table and the before/after strips.")
    images: int = Field(default=240, ge=1, description="Held-out avatars that are scored.")
    choose_images: int = Field(
        default=48, ge=1, description="Other held-out avatars that strengths are chosen on."
    )
    edits: list[str] = Field(
        default=list(EVALUATED), description="Which statements about avatars to edit in."
    )
    strengths: str | None = Field(
        default=None,
        description="JSON file of strengths per edit to use as they are, instead of choosing them.",
    )
    methods: list[Literal["global", "global-weighted"]] = Field(
        default=["global"], description="global: the paper's directions; global-weighted: our variant."
    )
    compare: list[Literal["global", "global-weighted", "mapper", "optimize"]] = Field(
        default_factory=list,
        description="Instead of choosing strengths: these methods on the same images, at matched strength.",
    )
    compare_edits: list[str] | None = Field(
        default=None,
        description="Statements about avatars to compare methods by; empty: those with a mapper.",
    )
    edits_file: str | None = Field(
        default=None,
        description="Edits to compare instead; those with the same target stand against each other.",
    )
    folder: str | None = Field(
        default=None,
        description="Images to compare methods on, for any bundle; empty: held-out avatars. Without the judges of the "
        "avatars, strengths are matched by CLIP gain.",
    )
    batch: int = Field(default=16, ge=1, description="Images on the device at once.")
    costs: bool = Field(
        default=False, description="Instead: what each method costs on this machine (the paper's Table 1)."
    )
    directions: str | None = Field(
        default=None, description="Directions store made by precompute; empty: the one that the bundle ships."
    )
