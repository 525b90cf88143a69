"""What a training keeps to go on from: one checkpoint per group of attributes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence

import torch

from storage import uris
from storage.curves import curves_exist
from storage.errors import StoreCorrupt
from styleclip.bundles.load import Bundle
from styleclip.mappers.training import MapperTraining
from tasks.jobs import MapperAttribute

FLOW = "train-mappers"


def group_name(attributes: Sequence[MapperAttribute]) -> str:
    """The name of a group and of its state: the same attributes in the same order, and no others, have it."""
    plain = [attribute.model_dump() for attribute in attributes]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:12]


def begun_anew(output: str, groups: Mapping[str, Sequence[MapperAttribute]]) -> list[str]:
    """Attributes that were trained here before in another group, whose state is of no use to this one."""
    return [
        attribute.name
        for group, attributes in groups.items()
        if not uris.exists(state_uri(output, group))
        for attribute in attributes
        if curves_exist(output, FLOW, curves_part(attribute.name, 0))
    ]


def state_uri(output: str, group: str) -> str:
    """The file of a group's last checkpoint."""
    return uris.join(output, "state", f"{group}.pt")


def curves_part(name: str, first: int) -> str:
    """The name of the curves from step `first` on."""
    # By attribute: one that is trained again in another group replaces its curves instead of doubling them.
    return f"{name}-{first:07}"


def save_state(
    training: MapperTraining, uri: str, attributes: Sequence[MapperAttribute], seconds: float
) -> None:
    """Write a checkpoint; seconds: spent so far."""
    buffer = io.BytesIO()
    content = {
        "training": training.state_dict(),
        "attributes": [attribute.model_dump() for attribute in attributes],
        "seconds": seconds,
    }
    torch.save(content, buffer)
    uris.write_bytes(uri, buffer.getvalue())


def load_state(
    training: MapperTraining, uri: str, attributes: Sequence[MapperAttribute], models: Bundle
) -> float:
    """Go on from a checkpoint, if there is one; the seconds that were spent before."""
    if not uris.exists(uri):
        return 0.0
    content = torch.load(io.BytesIO(uris.read_bytes(uri)), weights_only=True, map_location=models.device)
    if content["attributes"] != [attribute.model_dump() for attribute in attributes]:
        raise StoreCorrupt(
            f"{uri} is the state of other attributes ({', '.join(each['name'] for each in content['attributes'])}): "
            "delete it and run again to train these anew"
        )
    training.load_state_dict(content["training"])
    return float(content["seconds"])
