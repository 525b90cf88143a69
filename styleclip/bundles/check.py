"""Is a bundle ready to work? Its files, one by one, and one picture through all of its networks."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from styleclip.bundles.load import Bundle
from styleclip.bundles.lock import has_changed, hash_files, read_lock
from styleclip.bundles.spec import BundleSpec, Origin
from styleclip.errors import BundleError, NoFaceError
from styleclip.faces.detect import FaceDetector

State = Literal["present", "missing", "changed", "absent"]


@dataclass(frozen=True)
class FileState:
    """One file of a bundle: is it there, is it the one that was first used, and where could it be had?

    A file that is "missing" is needed; one that is "absent" is not, but something cannot be done without it.
    """

    role: str
    path: Path
    state: State
    size: int
    sha256: str
    origin: Origin

    @property
    def advice(self) -> str:
        """What to do, empty for a file that is as it should be."""
        if self.state == "present":
            return ""
        if self.state == "changed":
            return "put the first file back, or accept this one with --accept"
        where = f"get it from {self.origin.page}" if self.origin.page else "put it there"
        licence = f" (licence: {self.origin.licence})" if self.origin.licence else ""
        return f"{where}{licence}, as {self.path}" if self.origin.page else f"{where}: {self.path}"


def check_files(spec: BundleSpec) -> list[FileState]:
    """Every file of a bundle; nothing is recorded, which `load_bundle` does once the files have proved to work."""
    known = read_lock(spec)
    whole = all(path.is_file() for path in spec.files.values())
    # hashing takes minutes where files are large, and a bundle that lacks some is not used yet
    now = hash_files(spec) if whole else known
    found = []
    for role, path in (spec.files | spec.extras).items():
        origin = spec.origins.get(role.removesuffix("_config"), Origin())
        if not path.is_file():
            missing: State = "missing" if role in spec.files else "absent"
            found.append(FileState(role, path, missing, 0, "", origin))
            continue
        changed = role in now and has_changed(known.get(role), now[role])
        hashes = known if changed else now
        digest = hashes[role].sha256 if role in hashes else ""
        state: State = "changed" if changed else "present"
        found.append(FileState(role, path, state, path.stat().st_size, digest, origin))
    return found


@dataclass(frozen=True)
class Step:
    """One network of the self-test: what it made, in how many milliseconds."""

    name: str
    made: str
    ms: float


@torch.inference_mode()
def self_test(models: Bundle) -> list[Step]:
    """One sampled picture through every network of a bundle.

    Raises BundleError, naming the network, for output that is not finite or nowhere near what it should be.
    """
    steps: list[Step] = []
    generator = models.generator

    def run(name: str, work: Callable[[], Tensor]) -> Tensor:
        begun = time.perf_counter()
        made = work()
        if models.device.type == "cuda":
            torch.cuda.synchronize(models.device)
        steps.append(Step(name, "×".join(map(str, made.shape)), 1000 * (time.perf_counter() - begun)))
        if not bool(torch.isfinite(made).all()):
            raise BundleError(
                f"bundle '{models.name}': the {name} gives numbers that are not finite; is its file sound?"
            )
        return made

    z = torch.randn(1, generator.z_dim, generator=torch.Generator().manual_seed(0)).to(models.device)
    w = run("mapping network", lambda: generator.map(z, truncation_psi=models.truncation_psi))
    s = run("affine layers", lambda: generator.styles(w))
    image = run("synthesis network", lambda: generator.synthesize(s))
    if float(image.abs().mean()) > 10:
        raise BundleError(
            f"bundle '{models.name}': the generator's picture is nowhere near [−1, 1]; do its weights belong to its "
            "configuration?"
        )
    run("CLIP, picture", lambda: models.clip.encode_image(image))
    run("CLIP, text", lambda: models.clip.encode_text([models.neutral]))
    if models.judge_clip is not None:
        judge = models.judge_clip
        run("judge CLIP", lambda: judge.encode_image(image))
    if models.identity is not None:
        identity = models.identity
        run("identity network", lambda: identity(image))
    if models.encoder is not None:
        encoder = models.encoder
        run("encoder", lambda: encoder(image))
    if models.detector is not None:
        steps.append(_detect(models.detector, image))
    return steps


def _detect(path: Path, image: Tensor) -> Step:
    """The detector on the sampled picture; none found is no fault, for a sample need not look like a face."""
    detector = FaceDetector(path)
    picture = ((image[0].permute(1, 2, 0).cpu().numpy() + 1) * 127.5).clip(0, 255).astype(np.uint8)
    begun = time.perf_counter()
    try:
        made = "×".join(map(str, detector.find(picture).shape))
    except NoFaceError:
        made = "no face in it"
    return Step("face detector", made, 1000 * (time.perf_counter() - begun))


def peak_memory(device: torch.device) -> int:
    """Bytes that this process has used at most: of the device, or of the machine where that is a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
