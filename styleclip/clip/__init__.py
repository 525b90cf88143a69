"""CLIP through open_clip: known models, local checkpoints and custom configurations."""

from styleclip.clip.loading import load_clip
from styleclip.clip.model import ClipModel
from styleclip.clip.tokenizer import CompactTokenizer

__all__ = ["ClipModel", "CompactTokenizer", "load_clip"]
