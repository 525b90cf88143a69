"""CLIPs from open_clip's own list, from local files and from custom configurations.

The network is touched only when a `pretrained` tag is given. Local files are read with safetensors or with
`weights_only`: nothing that they contain is executed.
"""

from __future__ import annotations

import difflib
import json
import logging
import pickle
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import load_state_dict
from open_clip.model import CLIP, CustomTextCLIP
from safetensors import SafetensorError
from torch import Tensor, nn

from styleclip.checkpoints.native import load_native
from styleclip.checkpoints.strict import load_checked
from styleclip.clip.model import ClipModel
from styleclip.clip.openai_files import openai_weights
from styleclip.clip.tokenizer import CompactTokenizer
from styleclip.errors import BundleError, CheckpointError

NOT_ARCHITECTURE = {"vocabulary", "mean", "std", "custom_text"}
"""Keys of a custom configuration that are not arguments of open_clip's model classes."""


def load_clip(
    model: str | None = None,
    pretrained: str | None = None,
    checkpoint: str | Path | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    device: torch.device | str = "cpu",
) -> ClipModel:
    """Load a CLIP.

    - `model` and `pretrained`: any pair that open_clip knows (open_clip may download it);
    - `model` and `checkpoint`: a local file for an architecture that open_clip knows; nothing is downloaded. Weights
      trained with QuickGELU (OpenAI's, and those descended from them) need the name that ends in "-quickgelu";
    - `checkpoint` alone: our own safetensors, which carry their configuration;
    - `config` (a mapping or a JSON file) and `checkpoint`: a custom architecture. The keys are open_clip's own
      ("embed_dim", "vision_cfg", "text_cfg", …) plus "mean", "std" and "vocabulary" (see `CompactTokenizer`), or the
      two sections of an `open_clip_config.json`.

    Raises BundleError for a name that open_clip does not know or an impossible combination, CheckpointError when the
    weights cannot be had or do not fit the architecture.
    """
    if model is not None and config is not None:
        raise BundleError(
            f"give either the model name '{model}' or a config: each of them is an architecture"
        )
    if pretrained is not None and (checkpoint is not None or config is not None):
        raise BundleError(
            f"give either the tag '{pretrained}' or a checkpoint file: each of them is the weights"
        )
    if checkpoint is not None and not Path(checkpoint).is_file():
        raise CheckpointError(f"CLIP checkpoint {checkpoint}: no such file")
    if model is not None:
        return _load_known(model, pretrained, checkpoint).to(device)
    if config is not None and checkpoint is None:
        raise BundleError("a CLIP of custom configuration needs a checkpoint file")
    if checkpoint is None:
        raise BundleError(
            "a CLIP needs a model name and a tag, a model name and a checkpoint file, or a checkpoint that carries "
            "its configuration"
        )
    return _load_custom(Path(checkpoint), config).to(device)


def _load_known(model: str, pretrained: str | None, checkpoint: str | Path | None) -> ClipModel:
    if model not in open_clip.list_models():
        raise BundleError(f"open_clip knows no model '{model}'{_nearest(model, open_clip.list_models())}")
    quick_gelu = False
    if checkpoint is not None:
        # Absolute, so that a file called like a tag is never taken for it.
        weights = str(Path(checkpoint).absolute())
    else:
        tags = open_clip.list_pretrained_tags_by_model(model)
        if pretrained is None:
            shown = ", ".join(tags[:5]) + (f" and {len(tags) - 5} more" if len(tags) > 5 else "")
            raise BundleError(
                f"CLIP model '{model}' needs a checkpoint file or one of the tags that open_clip has: {shown or 'none'}"
            )
        described = open_clip.get_pretrained_cfg(model, pretrained)
        if not described:
            raise BundleError(
                f"open_clip has no weights '{pretrained}' for '{model}'{_nearest(pretrained, tags)}"
            )
        weights = pretrained
        # Plain names such as ViT-B-32 stand for GELU, although OpenAI's weights were trained with QuickGELU: open_clip
        # only warns, and the embeddings are quietly wrong.
        quick_gelu = bool(described.get("quick_gelu"))
    if checkpoint is not None and (state := openai_weights(Path(checkpoint))):
        return _load_openai(model, Path(checkpoint), state)
    with _quiet():
        try:
            tokenizer = open_clip.get_tokenizer(model)
            network = open_clip.create_model(
                model, pretrained=weights, force_quick_gelu=quick_gelu, require_pretrained=True
            )
        except Exception as error:  # a dozen types, by what is wrong with the file
            raise CheckpointError(
                f"CLIP '{model}' cannot take {checkpoint or pretrained}: {_why(error)}"
            ) from error
    settings = open_clip.get_model_preprocess_cfg(network)
    name = f"{model}/{pretrained or Path(str(checkpoint)).name}"
    return _assemble(name, network, tokenizer, settings)


def _load_openai(model: str, checkpoint: Path, weights: Mapping[str, Tensor]) -> ClipModel:
    """OpenAI's weights in a model of open_clip's; they were trained with QuickGELU, whatever its name says."""
    with _quiet():
        tokenizer = open_clip.get_tokenizer(model)
        network = open_clip.create_model(model, pretrained=None, force_quick_gelu=True)
    try:
        network = load_checked(lambda: network, weights)
    except CheckpointError as error:
        raise CheckpointError(f"CLIP '{model}' cannot take {checkpoint}: {error}") from error
    settings = open_clip.get_model_preprocess_cfg(network)
    return _assemble(f"{model}/{checkpoint.name}", network, tokenizer, settings)


def _load_custom(checkpoint: Path, config: Mapping[str, Any] | str | Path | None) -> ClipModel:
    state: Mapping[str, Tensor]
    if config is None:
        try:
            kind, settings, state = load_native(checkpoint)
        except CheckpointError as error:
            raise CheckpointError(
                f"{error}; a CLIP of other origin needs its model name or config as well"
            ) from error
        if kind != "clip":
            raise CheckpointError(f"{checkpoint}: holds a network of kind '{kind}', a CLIP is needed")
    else:
        settings = _read_config(config)
        try:
            if (published := openai_weights(checkpoint)) is not None:
                settings["quick_gelu"] = True  # OpenAI trained with it, whatever a configuration says
            state = load_state_dict(str(checkpoint)) if published is None else published
        except CheckpointError:
            raise
        except Exception as error:  # as above
            raise CheckpointError(f"CLIP checkpoint {checkpoint} cannot be read: {_why(error)}") from error
    architecture = {key: value for key, value in settings.items() if key not in NOT_ARCHITECTURE}
    family = CustomTextCLIP if settings.get("custom_text") else CLIP
    with _quiet():
        try:
            network = family(**architecture)
            network.load_state_dict(state)
            context = int(settings["text_cfg"].get("context_length", 77))
            tokenizer = _tokenizer(settings, context)
            image_size = settings["vision_cfg"].get("image_size", 224)
        except Exception as error:  # a configuration may be wrong in any way
            raise CheckpointError(
                f"{checkpoint}: the weights do not fit the CLIP configuration: {_why(error)}"
            ) from error
    preprocessing = {
        "size": image_size,
        "mean": settings.get("mean", open_clip.OPENAI_DATASET_MEAN),
        "std": settings.get("std", open_clip.OPENAI_DATASET_STD),
    }
    return _assemble(checkpoint.stem, network, tokenizer, preprocessing)


def _tokenizer(settings: Mapping[str, Any], context: int) -> CompactTokenizer | open_clip.SimpleTokenizer:
    if (vocabulary := settings.get("vocabulary")) is None:
        return open_clip.SimpleTokenizer(context_length=context)
    tokenizer = CompactTokenizer(vocabulary, context)
    rows = settings["text_cfg"].get("vocab_size")
    if tokenizer.vocab_size != rows:
        raise ValueError(
            f"a vocabulary of {len(vocabulary)} tokens needs vocab_size {tokenizer.vocab_size}, not {rows}"
        )
    return tokenizer


def _read_config(config: Mapping[str, Any] | str | Path) -> dict[str, Any]:
    if isinstance(config, Mapping):
        settings = dict(config)
    else:
        try:
            settings = json.loads(Path(config).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BundleError(f"CLIP config {config} cannot be read: {error}") from error
    if isinstance(settings, dict) and "model_cfg" in settings:
        # open_clip_config.json, as it lies beside published weights.
        preprocessing = settings.get("preprocess_cfg", {})
        settings = settings["model_cfg"] | {k: v for k, v in preprocessing.items() if k in ("mean", "std")}
    named = "" if isinstance(config, Mapping) else f" {config}"
    for key in ("embed_dim", "vision_cfg", "text_cfg"):
        if not isinstance(settings, dict) or key not in settings:
            raise BundleError(f"the CLIP config{named} lacks '{key}': it must have open_clip's model keys")
    return settings


def _assemble(name: str, network: nn.Module, tokenizer: Any, settings: Mapping[str, Any]) -> ClipModel:
    size = settings["size"]
    sides = (size, size) if isinstance(size, int) else tuple(size)
    mode, interpolation = settings.get("resize_mode", "shortest"), settings.get("interpolation", "bicubic")
    if sides[0] != sides[-1] or mode not in ("shortest", "squash"):
        raise BundleError(f"CLIP '{name}' reads pictures of {sides} ({mode}); only square ones are supported")
    for key in ("mean", "std"):
        if not _three_numbers(settings[key], positive=key == "std"):
            raise BundleError(
                f"CLIP '{name}': '{key}' must be three numbers, one for each colour: {settings[key]!r}"
            )
    return ClipModel(
        name,
        network,
        tokenizer,
        sides[0],
        int(tokenizer.context_length),
        settings["mean"],
        settings["std"],
        mode,
        interpolation,
    )


def _three_numbers(values: object, positive: bool) -> bool:
    return (
        isinstance(values, Sequence)
        and len(values) == 3
        and all(isinstance(value, int | float) and (value > 0 or not positive) for value in values)
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """What open_clip logs and warns while it loads either is no fault or comes back as an exception."""

    def other(record: logging.LogRecord) -> bool:
        return "open_clip" not in record.pathname

    root = logging.getLogger()
    root.addFilter(other)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeFilter(other)


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or list(names)[:3]
    return f"; nearest: {', '.join(close)}" if close else ""


def _why(error: BaseException, length: int = 240) -> str:
    """The one line of an exception that says something."""
    text = str(error)
    if isinstance(error, ImportError):
        return f"it needs the package '{error.name}', which is not installed"
    if "TorchScript" in text:
        return (
            "it is a TorchScript program, as OpenAI published them, and no file is executed here; "
            "use pretrained = 'openai', or save its state dict as safetensors"
        )
    if isinstance(error, pickle.UnpicklingError) and "global" in text.lower():
        return "it holds program objects besides tensors, and no file is executed here"
    if not isinstance(error, RuntimeError | ValueError | TypeError | OSError | SafetensorError):
        return f"it is no weight file of a CLIP ({type(error).__name__})"
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    # torch's first line only announces the mismatches that follow it.
    line = lines[1] if lines[0].startswith("Error(s) in loading state_dict") and len(lines) > 1 else lines[0]
    return line if len(line) <= length else line[: length - 1] + "…"
