"""Mappers out to the published format, for `styleclip mappers export`."""

from __future__ import annotations

from typing import Any

from styleclip.checkpoints.mapper_export import save_published_mapper
from styleclip.checkpoints.mappers import load_mapper
from styleclip.errors import EditError
from styleclip.methods.mapper import check_mapper, found_mapper
from tasks.process.models import bundle, setting


def export_mapper(mapper: str, output: str, name: str | None, device: str) -> dict[str, Any]:
    """A mapper file, or one that the bundle `name` ships, as a published `.pt` in `output`.

    With a bundle, its generator goes into the file as the decoder that the published code loads from there. {mapper,
    output, target, space, decoder}. Raises EditError for a mapper that is not there or belongs to another generator,
    CheckpointError when `output` is there already.
    """
    if not output.endswith(".pt"):
        raise EditError(f"{output}: published mappers are .pt files")
    generator = None
    if name is None:
        network, card = load_mapper(mapper)
    else:
        models = bundle(name, device)
        generator = models.generator
        with found_mapper(setting(name, device, None), mapper) as path:
            network, card = load_mapper(path)
            check_mapper(models, path, network, card)
    save_published_mapper(output, network, card, generator)
    return {
        "mapper": mapper,
        "output": output,
        "target": card.target,
        "space": network.config.space,
        "decoder": generator is not None,
    }
