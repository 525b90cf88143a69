"""A CLIP model of any origin behind one small face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from styleclip.clip.preprocess import Interpolation, ResizeMode, preprocess
from styleclip.clip.tokenizer import CompactTokenizer
from styleclip.errors import PromptError


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
        resize_mode: ResizeMode = "shortest",
        interpolation: Interpolation = "bicubic",
    ) -> None:
        super().__init__()
        self.name, self.image_size, self.context_length = name, image_size, context_length
        self.resize_mode, self.interpolation = resize_mode, interpolation
        # open_clip's towers share methods, not a base class.
        self.model: Any = model.float().eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.register_buffer("mean", torch.tensor(list(mean)), persistent=False)
        self.register_buffer("std", torch.tensor(list(std)), persistent=False)
        self.eval()
        with torch.no_grad():
            self.dim = int(self.encode_text(["a"]).shape[1])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.mean.device

    def encode_image(self, image: Tensor) -> Tensor:
        """image [N, 3, H, W] in [−1, 1] → embeddings [N, D], float32, not normalised."""
        x = preprocess(image, self.image_size, self.mean, self.std, self.resize_mode, self.interpolation)
        return self.model.encode_image(x, normalize=False).float()

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """prompts → embeddings [N, D], float32, not normalised. Raises PromptError when one is too long."""
        for prompt in prompts:
            self.check_prompt(prompt)
        return self.model.encode_text(self.tokenizer(list(prompts)).to(self.device), normalize=False).float()

    def check_prompt(self, prompt: str) -> None:
        """Raise PromptError when `prompt` is empty or does not fit the context: open_clip would cut it silently."""
        if not prompt.strip():
            raise PromptError("an empty prompt says nothing: give words")
        # A prompt fits when twice the room holds no more of it. What fills unused room differs between tokenizers
        # (0, 1, …) and is read off a prompt that surely leaves some.
        room = 2 * self.context_length
        padding = self.tokenizer(["a"], context_length=room)[0, self.context_length]
        used, needed = (
            int((self.tokenizer([prompt], context_length=length) != padding).sum())
            for length in (self.context_length, room)
        )
        if used < needed:
            raise PromptError(
                f"the prompt '{_shorten(prompt)}' needs {needed if needed < room else 'far more'} "
                f"tokens, {self.name} reads {self.context_length}: shorten it"
            )

    def unknown_words(self, prompt: str) -> list[str]:
        """Words that this CLIP has never seen; empty for models with a full vocabulary."""
        return self.tokenizer.unknown_words(prompt) if isinstance(self.tokenizer, CompactTokenizer) else []


def _shorten(text: str, length: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"
