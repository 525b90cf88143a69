"""Identity networks and encoders from files: our own format, ArcFace IR-SE50, e4e and pSp."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleclip.checkpoints.strict import load_checked, load_network
from styleclip.checkpoints.torch_files import is_torch_file, load_torch_file
from styleclip.errors import CheckpointError
from styleclip.networks.e4e import E4e
from styleclip.networks.encoder import Encoder, build_encoder
from styleclip.networks.identity import IdentityNet, build_identity
from styleclip.networks.irse50 import IRSE50


def load_identity(path: str | Path) -> IdentityNet | IRSE50:
    """An identity network: our own safetensors, or a `.pth` of ArcFace IR-SE50; frozen, on the CPU, float32.

    Either maps images [N, 3, H, W] in [−1, 1] to unit rows. Raises CheckpointError.
    """
    if not is_torch_file(path):
        return load_network(path, "identity", build_identity)
    content = load_torch_file(path)
    try:
        state = _tensors(content.get("state_dict", content))
        return load_checked(lambda: IRSE50.from_state(state), state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def load_encoder(path: str | Path) -> Encoder | E4e:
    """An encoder: our own safetensors, or a `.pt` of e4e or pSp; frozen, on the CPU, float32.

    Of a `.pt` file only the encoder is read; the generator that it holds as well must be named by the bundle. Either
    maps images [N, 3, H, W] in [−1, 1] to w [N, num_ws, w_dim]. Raises CheckpointError.
    """
    if not is_torch_file(path):
        return load_network(path, "encoder", build_encoder)
    content = load_torch_file(path)
    try:
        return _published(content)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _published(content: Mapping[str, Any]) -> E4e:
    everything = _tensors(content.get("state_dict"))
    state = {
        name.removeprefix("encoder."): value
        for name, value in everything.items()
        if name.startswith("encoder.")
    }
    if not state:
        raise CheckpointError("not an e4e or pSp checkpoint: its 'state_dict' has no parameter 'encoder.…'")
    options = content.get("opts")
    options = options if isinstance(options, Mapping) else {}
    sums = _adds_up(options.get("encoder_type"))
    average = content.get("latent_avg")
    if not options.get("start_from_latent_avg", True):
        average = None
    elif not isinstance(average, Tensor):
        raise CheckpointError("lacks 'latent_avg', which this encoder was trained to start from")
    rows = 1 if average is None or average.ndim == 1 else average.shape[0]
    with torch.device("meta"):
        shape = E4e.from_state(state, rows)
    if rows not in (1, shape.num_ws):
        raise CheckpointError(f"'latent_avg' has {rows} rows, the encoder makes {shape.num_ws}")
    zero = torch.zeros(rows, shape.w_dim)
    state["latent_avg"] = zero if average is None else average.float().reshape(rows, -1)
    return load_checked(lambda: E4e.from_state(state, rows, sums), state)


def _adds_up(kind: Any) -> bool:
    """Whether an encoder of the type that `opts` names adds row 0 to every other row; parameters do not tell.

    Raises CheckpointError for a type that makes no code for each row, or none at all.
    """
    if kind == "Encoder4Editing":
        return True
    if kind == "GradualStyleEncoder":
        return False
    if kind is None:
        raise CheckpointError(
            "does not say what encoder it holds (opts['encoder_type']), and e4e and pSp cannot be told apart without "
            "it: take the file that training wrote"
        )
    raise CheckpointError(
        f"holds an encoder of type '{kind}': only e4e (Encoder4Editing) and pSp (GradualStyleEncoder) can be used"
    )


def _tensors(values: Any) -> dict[str, Tensor]:
    if not isinstance(values, Mapping) or not all(isinstance(value, Tensor) for value in values.values()):
        raise CheckpointError("holds no parameters where they are expected ('state_dict')")
    # counters of batch norm stay whole numbers; before 0.4.1 torch wrote none, and nothing is computed from them
    state = {
        str(name): value.float() if value.is_floating_point() else value for name, value in values.items()
    }
    for name in list(state):
        if name.endswith(".running_mean"):
            state.setdefault(name.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    return state
