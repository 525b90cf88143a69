"""styleclip bundle list."""

from __future__ import annotations

from flows.cli.options import Json
from flows.cli.talk import Voice, verb


@verb
def list_(as_json: Json = False) -> None:
    """List the bundles that can be named, with the folder that each comes from."""
    from styleclip.bundle_spec import list_bundles

    voice = Voice(as_json)
    found = list_bundles()
    voice.table("Bundles", ["name", "what", "file"], [[b.name, b.description, str(b.path)] for b in found])
    voice.say("A bundle of your own: a TOML file in ~/.config/styleclip/bundles, or its path after --bundle.")
    voice.finish({"bundles": {bundle.name: str(bundle.path) for bundle in found}})
