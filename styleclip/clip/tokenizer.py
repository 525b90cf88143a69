"""A tokenizer for small worlds: open_clip's byte-pair encoding over the few tokens that the captions use.

A text tower of 49,408 embeddings would outweigh everything else in the avatars CLIP; this one keeps the rows that
were trained and maps every other token to one "unknown" row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

PAD, UNKNOWN, FIRST_WORD = 0, 1, 2


@cache
def _byte_pairs() -> SimpleTokenizer:
    return SimpleTokenizer()


class CompactTokenizer:
    """Texts → token ids int64 [N, context_length].

    Ids: 0 padding, 1 unknown, then `vocabulary` (byte-pair ids of open_clip's tokenizer) in order, then start and end
    of text. The end is the largest id, because open_clip pools the text at the argmax of the ids.
    """

    def __init__(self, vocabulary: Sequence[int], context_length: int) -> None:
        self.vocabulary = tuple(vocabulary)
        self.context_length = context_length
        self._id = {token: FIRST_WORD + position for position, token in enumerate(self.vocabulary)}
        self.start_of_text = FIRST_WORD + len(self.vocabulary)
        self.end_of_text = self.start_of_text + 1

    @classmethod
    def from_captions(cls, captions: Iterable[str], context_length: int) -> CompactTokenizer:
        """The tokenizer that knows exactly the tokens of `captions`."""
        tokens = {token for caption in captions for token in _byte_pairs().encode(caption)}
        return cls(sorted(tokens), context_length)

    @property
    def vocab_size(self) -> int:
        """Rows of the text tower's embedding."""
        return self.end_of_text + 1

    def encode(self, text: str) -> list[int]:
        """Ids of a text without start, end and padding."""
        return [self._id.get(token, UNKNOWN) for token in _byte_pairs().encode(text)]

    def unknown_words(self, text: str) -> list[str]:
        """The words of `text` that hold a token outside the vocabulary, in order."""
        return [word for word in text.split() if UNKNOWN in self.encode(word)]

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> Tensor:
        """Tokenize; a text that is too long is cut, as open_clip does (`ClipModel.check_prompt` refuses it first)."""
        length = self.context_length if context_length is None else context_length
        rows = [texts] if isinstance(texts, str) else list(texts)
        result = torch.full((len(rows), length), PAD, dtype=torch.long)
        for row, text in zip(result, rows, strict=True):
            ids = [self.start_of_text, *self.encode(text)[: length - 2], self.end_of_text]
            row[: len(ids)] = torch.tensor(ids)
        return result
