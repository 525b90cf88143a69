"""A CLIP model of any origin behind one small face."""

from __future__ import annotations

import difflib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from styleclip.checkpoints.native import load_native
from styleclip.clip.preprocess import preprocess
from styleclip.clip.tokenizer import CompactTokenizer
from styleclip.errors import BundleError, CheckpointError, PromptError

ARCHITECTURE_KEYS = ("embed_dim", "vision_cfg", "text_cfg", "quick_gelu")


class ClipModel(nn.Module):
    """CLIP (Radford et al. 2021), frozen, float32.

    `encode_image`: [N, 3, H, W] in [−1, 1], any size, → [N, D]; `encode_text`: N strings → [N, D]; neither
    is normalised. Gradients pass from embeddings to images.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        model: Any,
        tokenizer: Callable[..., Tensor],
        image_size: int,
        context_length: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.name, self.image_size, self.context_length = name, image_size, context_length
        # open_clip's towers share methods, not a base class.
        self.model: Any = model.float().eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.register_buffer("mean", torch.tensor(list(mean)), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)), persistent=False)
        with torch.no_grad():
            self.dim = int(self.encode_text(["a"]).shape[1])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    def encode_image(self, image: Tensor) -> Tensor:
        """image [N, 3, H, W] in [−1, 1] → embeddings [N, D], float32, not normalised."""
        return self.model.encode_image(preprocess(image, self.image_size, self.mean, self.std)).float()

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """prompts → embeddings [N, D], float32, not normalised. Raises PromptError when one is too long."""
        for prompt in prompts:
            self.check_prompt(prompt)
        return self.model.encode_text(self.tokenizer(list(prompts)).to(self.device)).float()

    def check_prompt(self, prompt: str) -> None:
        """Raise PromptError when `prompt` is empty or does not fit the context: open_clip would cut it silently."""
        if not prompt.strip():
            raise PromptError("an empty prompt says nothing: give words")
        # Tokenized with twice the room, a prompt that fits leaves the second half empty.
        needed = int((self.tokenizer([prompt], context_length=2 * self.context_length) != 0).sum())
        if needed > self.context_length:
            raise PromptError(
                f"the prompt '{_shorten(prompt)}' needs {needed if needed < 2 * self.context_length else 'far more'} "
                f"tokens, {self.name} reads {self.context_length}: shorten it"
            )

    def unknown_words(self, prompt: str) -> list[str]:
        """Words that this CLIP has never seen; empty for models with a full vocabulary."""
        return self.tokenizer.unknown_words(prompt) if isinstance(self.tokenizer, CompactTokenizer) else []


def _shorten(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _nearest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.3)
    return f"; nearest: {', '.join(close)}" if close else ""


def load_clip(
    model: str | None = None,
    pretrained: str | None = None,
    checkpoint: str | Path | None = None,
    config: Mapping[str, Any] | str | Path | None = None,
    device: torch.device | str = "cpu",
) -> ClipModel:
    """Load a CLIP.

    - `model` and `pretrained`: any pair that open_clip knows (open_clip may download it);
    - `model` and `checkpoint`: a local file for an architecture that open_clip knows; nothing is downloaded;
    - `checkpoint` alone: our own safetensors, which carry their configuration;
    - `config` (a mapping or a JSON file) and `checkpoint`: a custom architecture.

    Raises BundleError for a name that open_clip does not know or an impossible combination, CheckpointError when the
    weights do not fit the architecture.
    """
    if config is not None or (model is None and checkpoint is not None):
        return _load_custom(checkpoint, config).to(device)
    if model is None:
        raise BundleError(
            "a CLIP needs a model name, a config, or a checkpoint that carries its configuration"
        )
    if model not in open_clip.list_models():
        raise BundleError(f"open_clip knows no model '{model}'{_nearest(model, open_clip.list_models())}")
    if checkpoint is None:
        tags = open_clip.list_pretrained_tags_by_model(model)
        if pretrained is None:
            raise BundleError(
                f"CLIP model '{model}' needs a checkpoint file or one of the tags {', '.join(tags)}"
            )
        if pretrained not in tags:
            raise BundleError(
                f"open_clip has no weights '{pretrained}' for '{model}'; it has: {', '.join(tags) or 'none'}"
            )
    elif not Path(checkpoint).is_file():
        raise CheckpointError(f"CLIP checkpoint {checkpoint}: no such file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            network, _, _ = open_clip.create_model_and_transforms(
                model, pretrained=str(checkpoint) if checkpoint else pretrained, require_pretrained=True
            )
        except (RuntimeError, KeyError, ValueError, OSError) as error:
            first_line = str(error).strip().splitlines()[0]
            raise CheckpointError(
                f"CLIP '{model}' cannot take {checkpoint or pretrained}: {first_line}"
            ) from error
    settings = open_clip.get_model_preprocess_cfg(network)
    size = settings["size"]
    return ClipModel(
        f"{model}/{pretrained or Path(str(checkpoint)).name}",
        network,
        open_clip.get_tokenizer(model),
        size if isinstance(size, int) else size[0],
        int(getattr(network, "context_length", 77)),
        settings["mean"],
        settings["std"],
    ).to(device)


def _load_custom(checkpoint: str | Path | None, config: Mapping[str, Any] | str | Path | None) -> ClipModel:
    if checkpoint is None:
        raise BundleError("a CLIP of custom configuration needs a checkpoint file")
    kind, carried, state = load_native(checkpoint)
    if kind != "clip":
        raise CheckpointError(f"{checkpoint}: holds a network of kind '{kind}', a CLIP is needed")
    settings = carried if config is None else _read_config(config)
    try:
        network = CLIP(**{key: settings[key] for key in ARCHITECTURE_KEYS if key in settings})
        network.load_state_dict(state)
    except (RuntimeError, TypeError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise CheckpointError(
            f"{checkpoint}: the weights do not fit the CLIP configuration ({first_line})"
        ) from error
    context = int(settings["text_cfg"]["context_length"])
    vocabulary = settings.get("vocabulary")
    tokenizer = (
        open_clip.SimpleTokenizer(context_length=context)
        if vocabulary is None
        else CompactTokenizer(vocabulary, context)
    )
    return ClipModel(
        Path(checkpoint).stem,
        network,
        tokenizer,
        int(settings["vision_cfg"]["image_size"]),
        context,
        settings.get("mean", open_clip.OPENAI_DATASET_MEAN),
        settings.get("std", open_clip.OPENAI_DATASET_STD),
    )


def _read_config(config: Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    if isinstance(config, Mapping):
        return config
    try:
        return json.loads(Path(config).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"CLIP config {config} cannot be read: {error}") from error
