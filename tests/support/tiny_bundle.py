"""A bundle of tiny networks with random weights: the real code on a world small enough for many runs.

16-pixel pictures, 40 style channels, a CLIP of two layers that knows a few words.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from open_clip.model import CLIP
from PIL import Image

from styleclip.checkpoints import save_native
from styleclip.clip import CompactTokenizer
from styleclip.networks.encoder import EncoderConfig, build_encoder
from styleclip.networks.generator import Generator, GeneratorConfig
from styleclip.networks.identity import IdentityConfig, build_identity

SIZE, CHANNELS, CONTEXT = 16, 40, 12
WORDS = ["a face with red hair", "a smiling face", "a face with a hat", "a picture of a face"]

TOML = """
description = "tiny random networks for tests"
neutral = "a face"
templates = ["{}", "a picture of {}"]
generator = {path = "generator.safetensors"}
clip = {checkpoint = "clip.safetensors"}
identity = {path = "identity.safetensors"}
encoder = {path = "encoder.safetensors"}
directions = {path = "directions.zarr"}
"""


def write_bundle(folder: Path) -> Path:
    """Weights and TOML of the bundle `tiny` (without its directions store); the path of the TOML file."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        shape = GeneratorConfig(z_dim=8, w_dim=8, channels={4: 8, 8: 8, 16: 8}, mapping_layers=2)
        generator = Generator(shape)
        tokenizer = CompactTokenizer.from_captions(WORDS, CONTEXT)
        clip_config = {
            "embed_dim": 16,
            "vision_cfg": {"image_size": SIZE, "patch_size": 4, "width": 32, "layers": 1, "head_width": 16},
            "text_cfg": {
                "context_length": CONTEXT,
                "vocab_size": tokenizer.vocab_size,
                "width": 32,
                "heads": 2,
                "layers": 1,
            },
        }
        clip = CLIP(**clip_config)
        encoder_config = EncoderConfig(SIZE, generator.num_ws, 8, widths=[8, 8], strides=[2, 2], hidden=16)
        identity_config = IdentityConfig(SIZE, widths=[8, 8], strides=[2, 2], dim=8)
        encoder, identity = build_encoder(encoder_config.to_dict()), build_identity(identity_config.to_dict())
    clip_config["vocabulary"] = list(tokenizer.vocabulary)
    for kind, config, network in (
        ("generator", shape.to_dict(), generator),
        ("clip", clip_config, clip),
        ("encoder", encoder_config.to_dict(), encoder),
        ("identity", identity_config.to_dict(), identity),
    ):
        save_native(folder / f"{kind}.safetensors", kind, config, network.state_dict())
    path = folder / "tiny.toml"
    path.write_text(TOML)
    return path


def picture(seed: int, size: int = 24) -> np.ndarray:
    """A smooth random picture, uint8 [size, size, 3]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def as_png(array: np.ndarray) -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def write_pictures(folder: Path, count: int) -> Path:
    """`count` readable PNG files, p000.png and on."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        (folder / f"p{seed:03d}.png").write_bytes(as_png(picture(seed)))
    return folder
