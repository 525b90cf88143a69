"""styleclip bundle list, check."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.cli.options import Device, Json
from flows.cli.talk import Failed, Voice, verb


@verb
def list_(as_json: Json = False) -> None:
    """List the bundles that can be named, with the folder that each comes from."""
    from styleclip.bundle_spec import list_bundles

    voice = Voice(as_json)
    found = list_bundles()
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
    voice.say("A bundle of your own: a TOML file in ~/.config/styleclip/bundles, or its path after --bundle.")
    voice.say("Next:   styleclip bundle check NAME    which files it needs, and where they can be had")
    voice.finish({"bundles": {bundle.name: str(bundle.path) for bundle in found}, "missing": missing})


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

    Size and SHA-256 of every file are recorded on first use and held to after that.

    \b
    Example:
      styleclip bundle check ffhq
    """
    from styleclip.bundle import load_bundle
    from styleclip.bundle_check import check_files, peak_memory, self_test
    from styleclip.bundle_lock import forget_lock
    from styleclip.bundle_spec import read_bundle

    voice = Voice(as_json)
    spec = read_bundle(name)
    if accept:
        forget_lock(spec)
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
    wrong = [each for each in files if each.state in ("missing", "changed")]
    summary = {
        "bundle": spec.name,
        "files": {
            each.role: {"state": each.state, "path": str(each.path), "sha256": each.sha256} for each in files
        },
    }
    if wrong:
        voice.finish(summary | {"ready": False})
        raise Failed(
            f"bundle '{spec.name}' is not ready: {len(wrong)} of {len(files)} files are missing or have changed"
        )
    models = load_bundle(name, device=device)
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
    voice.finish(
        summary
        | {
            "ready": True,
            "notes": list(models.notes),
            "ms": {step.name: step.ms for step in steps},
            "peak_bytes": memory,
        }
    )
