"""Networks from files, with one clear line for everything that can be wrong with either."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from styleclip.checkpoints.native import load_native
from styleclip.errors import CheckpointError

Network = TypeVar("Network", bound=nn.Module)


def load_checked(build: Callable[[], Network], state: Mapping[str, Tensor]) -> Network:
    """The network that `build` makes, with `state` strictly loaded: frozen, in eval mode.

    It is built without memory first: a file that speaks of other sizes than its tensors have costs nothing. Raises
    CheckpointError that names the first parameter which is missing, misshapen or unknown.
    """
    with torch.device("meta"):
        _compare(build(), state)
    network = build()
    network.load_state_dict(dict(state), strict=True)
    return network.eval().requires_grad_(False)


def _compare(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    expected = network.state_dict()
    for name, tensor in expected.items():
        if name not in state:
            raise CheckpointError(f"the checkpoint lacks the parameter '{name}'")
        if state[name].shape != tensor.shape:
            raise CheckpointError(
                f"parameter '{name}' has shape {tuple(state[name].shape)}, the other parameters or the "
                f"configuration imply {tuple(tensor.shape)}"
            )
    if unknown := sorted(set(state) - set(expected)):
        raise CheckpointError(f"the checkpoint has a parameter '{unknown[0]}' that this network has not")


def load_network(path: str | Path, kind: str, build: Callable[[Mapping[str, Any]], Network]) -> Network:
    """The network of `kind` that `save_native` wrote to `path`, made by `build(config)`: frozen, on the CPU, float32.

    Raises CheckpointError, with the path in it, when the file is missing or unreadable, holds a network of another
    kind, or has weights and a configuration that do not fit each other.
    """
    found, config, state = load_native(path)
    if found != kind:
        raise CheckpointError(f"{path}: holds a network of kind '{found}', one of kind '{kind}' is needed")
    try:
        return load_checked(lambda: build(config), state)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # a configuration may be wrong in any way
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise CheckpointError(
            f"{path}: its configuration makes no {kind} ({type(error).__name__}: {reason})"
        ) from error
