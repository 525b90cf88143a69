"""Do the inputs look like what the bundle can invert? Told by their inversions, against the bundle's own samples."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from prefect import task

from storage.rows import row_batches
from styleclip.bundles.load import Bundle
from styleclip.encode import invert_images
from styleclip.methods.measures import inversion_measures, see
from styleclip.precision import computing_in
from styleclip.seeds import sample_z
from tasks.process.limits import device_limit
from tasks.process.models import bundle

SAMPLES, TOGETHER = 32, 8
DISTANCE, IDENTITY = "distance_source_reconstruction", "identity_source_reconstruction"
LEAST = 3
"""Fewer images say nothing about a folder."""


@dataclass(frozen=True)
class Figures:
    """Inversions of several images: distances in pixels and, where the bundle has an identity network, identities."""

    distances: np.ndarray
    identities: np.ndarray

    def misfit(self, own: Figures) -> str | None:
        """What is wrong with these images, measured by the bundle's `own`; None when they look like its own.

        Wrong is a median as far outside of what 95 % of the bundle's own samples keep to as these spread themselves.
        """
        if len(self.distances) < LEAST:
            return None
        told = []
        low, middle = np.quantile(own.distances, [0.95, 0.5])
        median = float(np.median(self.distances))
        if median > 2 * low - middle and median > 2 * middle:
            told.append(f"reconstructions differ by {median:.3f} (its own samples by {middle:.3f})")
        if len(self.identities) and len(own.identities):
            low, middle = np.quantile(own.identities, [0.05, 0.5])
            median = float(np.median(self.identities))
            if median < 2 * low - middle:
                told.append(f"identity is {median:.2f} (of its own samples {middle:.2f})")
        return " and ".join(told) or None


@functools.lru_cache(maxsize=4)
def own_figures(models: Bundle) -> Figures:
    """Inversions of pictures that the bundle's generator has made itself, the same at every call."""
    found: dict[str, list[torch.Tensor]] = {}
    generator = models.generator
    with torch.inference_mode(), computing_in("float32"):
        z = sample_z(0, range(SAMPLES), generator.z_dim).to(models.device)
        for part in z.split(TOGETHER):
            images = generator.synthesize(
                generator.styles(generator.map(part, truncation_psi=models.truncation_psi))
            )
            w = invert_images(models, images, 0, 0)
            again = generator.synthesize(generator.styles(w))
            for name, values in inversion_measures(see(models, images), see(models, again)).items():
                found.setdefault(name, []).append(values)
    host = {name: torch.cat(values).cpu().numpy() for name, values in found.items()}
    return Figures(host[DISTANCE], host.get(IDENTITY, np.zeros(0)))


def figures_of(run: str) -> Figures:
    """Inversions of a run's images, each once however many edits it has; none for a run that began with codes."""
    distances, identities = [], []
    for table in row_batches(run, ["image_id", DISTANCE, IDENTITY], on_damage=lambda error: None):
        rows = table.to_pandas().drop_duplicates("image_id")
        distances.append(rows[DISTANCE].dropna().to_numpy(float))
        identities.append(rows[IDENTITY].dropna().to_numpy(float))
    nothing = [np.zeros(0)]
    return Figures(np.concatenate(nothing + distances), np.concatenate(nothing + identities))


@task(name="fit", task_run_name="fit of {run}")
@device_limit()
def check_fit(run: str, name: str, device: str) -> str | None:
    """One line of warning where a run's inputs are not what the bundle `name` can invert; None where they are."""
    theirs = figures_of(run)
    if len(theirs.distances) < LEAST:
        return None
    if (wrong := theirs.misfit(own_figures(bundle(name, device)))) is None:
        return None
    return (
        f"These images do not look like what the bundle '{name}' knows: {wrong}. Look at the reconstructions before "
        "anything else; photographs may need --align, or another bundle"
    )
