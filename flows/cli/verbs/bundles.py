"""styleclip bundle list, check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.cli.options import Device, Json
from flows.cli.talk import Failed, Voice, verb

if TYPE_CHECKING:
    from styleclip.bundles.spec import BundleSpec


@verb
def list_(as_json: Json = False) -> None:
    """List the bundles that can be named, with the folder that each comes from."""
    from styleclip.bundles.spec import BundleSpec, list_bundles

    voice = Voice(as_json)
    everything = list_bundles()
    found = [each for each in everything.values() if isinstance(each, BundleSpec)]
    broken = {name: str(each) for name, each in everything.items() if not isinstance(each, BundleSpec)}
    missing = {b.name: sum(not path.is_file() for path in b.files.values()) for b in found}
    voice.table(
        "Bundles",
        ["name", "what", "ready", "file"],
        [
            [
                b.name,
                b.description,
                f"lacks {missing[b.name]} files" if missing[b.name] else "yes",
                str(b.path),
            ]
            for b in found
        ],
    )
    for name, what in broken.items():
        voice.say(f"{name}: broken; {what}")
    voice.say("A bundle of your own: styleclip bundle init NAME --generator FILE")
    voice.say("Next:   styleclip bundle check NAME    which files it needs, and where they can be had")
    voice.finish(
        {"bundles": {bundle.name: str(bundle.path) for bundle in found}, "missing": missing, "broken": broken}
    )


@verb
def check(
    name: Annotated[str, typer.Argument(help="Name of a bundle, or path of its TOML file.")],
    accept: Annotated[
        bool, typer.Option("--accept", help="Record the files as they are now, even if they have changed.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Look at every file of a bundle, and send one picture through all of its networks.

    SHA-256 of every file is recorded on first use and held to after that.

    \b
    Example:
      styleclip bundle check ffhq
    """
    from styleclip.bundles.lock import forget_lock
    from styleclip.bundles.spec import read_bundle

    voice = Voice(as_json)
    spec = read_bundle(name)
    if accept:
        forget_lock(spec)
    summary = report(voice, spec, device)
    if not summary["ready"]:
        raise Failed(not_ready(spec, summary), summary)
    voice.finish(summary)


def not_ready(spec: BundleSpec, summary: dict[str, Any]) -> str:
    """The line to end with where files are missing or have changed."""
    files = summary["files"].values()
    wrong = sum(each["state"] in ("missing", "changed") for each in files)
    return f"bundle '{spec.name}' is not ready: {wrong} of {len(files)} files are missing or have changed"


def report(voice: Voice, spec: BundleSpec, device: str) -> dict[str, Any]:
    """Say how the files of a bundle are and, when none is missing, what its networks make; {bundle, files, ready, …}.

    Raises StyleclipError for files that do not hold what they should or do not belong together.
    """
    from styleclip.bundles.check import check_files, peak_memory, self_test
    from styleclip.bundles.load import load_bundle

    files = check_files(spec)
    voice.table(
        f"Files of bundle '{spec.name}' ({spec.path})",
        ["role", "state", "MB", "sha256", "file"],
        [
            [
                each.role,
                each.state,
                f"{each.size / 1e6:.1f}" if each.size else "",
                each.sha256[:12],
                str(each.path),
            ]
            for each in files
        ],
    )
    if spec.identity is None:
        voice.say(
            "No identity network: fine, but the identity loss cannot be used and identity is not measured."
        )
    if spec.encoder is None:
        voice.say("No encoder: images cannot be inverted; edits start from a latents store.")
    if any(each.state == "absent" for each in files):
        voice.say("No face detector: photographs need landmarks, or must be aligned already.")
    for each in files:
        if each.advice:
            voice.say(f"{each.role}: {each.advice}")
    summary = {
        "bundle": spec.name,
        "files": {
            each.role: {"state": each.state, "path": str(each.path), "sha256": each.sha256} for each in files
        },
    }
    if any(each.state in ("missing", "changed") for each in files):
        return summary | {"ready": False}
    models = load_bundle(spec.path, device=device)
    steps = self_test(models)
    voice.table(
        f"One picture of {models.image_size}×{models.image_size} on {models.device}",
        ["network", "makes", "ms"],
        [[step.name, step.made, f"{step.ms:.0f}"] for step in steps],
    )
    for note in models.notes:
        voice.say(f"Note: {note}.")
    memory = peak_memory(models.device)
    voice.say(f"Done: bundle '{spec.name}' is ready; at most {memory / 1e9:.1f} GB of memory were used.")
    return summary | {
        "ready": True,
        "notes": list(models.notes),
        "ms": {step.name: step.ms for step in steps},
        "peak_bytes": memory,
    }
