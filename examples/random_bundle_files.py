"""Model files in the published layouts, with small networks of random weights: to try `styleclip bundle init` on.

`python examples/random_bundle_files.py FOLDER` writes generator.pkl (NVlabs), clip.pt and clip.json (open_clip),
identity.pth (ArcFace IR-SE50), encoder.pt (e4e) and a few pictures. What they draw is noise; how they are used is real.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from open_clip.model import CLIP
from PIL import Image
from torch import Tensor

# the writers of published layouts that the tests use
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from published_files import e4e_state, irse50_state, nvlabs_generator, write_nvlabs_pickle

from styleclip.networks.generator import Generator, GeneratorConfig

SHAPE = GeneratorConfig(z_dim=32, w_dim=32, channels={4: 16, 8: 16, 16: 16, 32: 16}, mapping_layers=2)
THIN = {"widths": (4, 6, 8, 10), "units": (2, 2, 3, 1), "squeeze": 2}
CLIP_CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def nvlabs_state(generator: Generator) -> dict[str, Tensor]:
    """The generator's parameters under NVlabs' names."""
    ours = generator.state_dict()
    state = {"mapping.w_avg": ours["w_avg"], "synthesis.b4.const": ours["const"]}
    for name, value in ours.items():
        if name.startswith("mapping.layers."):
            _, _, number, part = name.split(".")
            state[f"mapping.fc{number}.{part}"] = value
        elif name.startswith("synthesis."):
            _, layer, part = name.split(".", 2)
            kind, resolution = layer.split("_")
            state[f"synthesis.b{resolution}.{kind}.{part}"] = value
    return state


def write_files(folder: Path) -> None:
    """Everything that `styleclip bundle init` takes, and a folder of pictures."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    generator = Generator(SHAPE)
    write_nvlabs_pickle(folder / "generator.pkl", nvlabs_generator(nvlabs_state(generator)))
    torch.save(CLIP(**CLIP_CONFIG).state_dict(), folder / "clip.pt")
    (folder / "clip.json").write_text(json.dumps(CLIP_CONFIG), encoding="utf-8")
    torch.save(irse50_state(**THIN, dim=8), folder / "identity.pth")
    encoder = e4e_state(generator.num_ws, THIN["widths"], THIN["units"], w_dim=SHAPE.w_dim)
    torch.save(
        {
            "state_dict": {f"encoder.{name}": value for name, value in encoder.items()},
            "opts": {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True},
            "latent_avg": torch.zeros(generator.num_ws, SHAPE.w_dim),
        },
        folder / "encoder.pt",
    )
    random = np.random.default_rng(0)
    for number in range(4):
        coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), dtype=np.uint8))
        coarse.resize((64, 64), Image.Resampling.BICUBIC).save(folder / "pictures" / f"{number}.png")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("say where: python examples/random_bundle_files.py FOLDER")
    write_files(Path(sys.argv[1]))
