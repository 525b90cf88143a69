"""Does the real size fit? A random 1024² config-f generator, ViT-B/32, IR-SE50 and e4e in their published formats.

`python -m benchmarks.full_size --folder FOLDER` writes the files (about 2.2 GB), then runs `styleclip bundle check`,
`precompute` on a slice of channels, and `edit`, each in a process of its own, and prints seconds and peak memory.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from published_files import e4e_state, irse50_state

CHANNELS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
"""Feature maps of config-f."""
WIDTH, DEPTH = 512, 8
LIMIT = 8e9
TOML = """
description = "random networks at full size"
neutral = "a face"
templates = "styleclip"
generator = {path = "generator.pt"}
clip = {model = "ViT-B-32-quickgelu", checkpoint = "clip.pt"}
identity = {path = "identity.pth"}
encoder = {path = "e4e.pt"}
"""


def generator_state(seed: int = 0) -> dict[str, Tensor]:
    """Random weights under rosinality's names of a config-f generator."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    state: dict[str, Tensor] = {}
    kernel = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1]))
    kernel /= kernel.sum()
    for index in range(1, DEPTH + 1):
        state[f"style.{index}.weight"] = normal(WIDTH, WIDTH) * 100
        state[f"style.{index}.bias"] = torch.zeros(WIDTH)
    state["input.input"] = normal(1, CHANNELS[4], 4, 4)

    def layer(name: str, inputs: int, outputs: int, size: int) -> None:
        state[f"{name}.conv.weight"] = normal(1, outputs, inputs, size, size)
        state[f"{name}.conv.modulation.weight"] = normal(inputs, WIDTH)
        state[f"{name}.conv.modulation.bias"] = torch.ones(inputs)

    def convolution(name: str, inputs: int, outputs: int) -> None:
        layer(name, inputs, outputs, 3)
        state[f"{name}.noise.weight"] = torch.full((1,), 0.05)
        state[f"{name}.activate.bias"] = torch.zeros(outputs)

    def colours(name: str, inputs: int) -> None:
        layer(name, inputs, 3, 1)
        state[f"{name}.bias"] = torch.zeros(1, 3, 1, 1)

    convolution("conv1", CHANNELS[4], CHANNELS[4])
    colours("to_rgb1", CHANNELS[4])
    state["noises.noise_0"] = normal(1, 1, 4, 4)
    for index, resolution in enumerate(list(CHANNELS)[1:]):
        before, after = CHANNELS[resolution // 2], CHANNELS[resolution]
        convolution(f"convs.{2 * index}", before, after)
        state[f"convs.{2 * index}.conv.blur.kernel"] = kernel * 4
        convolution(f"convs.{2 * index + 1}", after, after)
        colours(f"to_rgbs.{index}", after)
        state[f"to_rgbs.{index}.upsample.kernel"] = kernel * 4
        for half in (1, 2):
            state[f"noises.noise_{2 * index + half}"] = normal(1, 1, resolution, resolution)
    return state


def write_files(folder: Path, images: int) -> Path:
    """All files that are not there yet; the path of the bundle."""
    folder.mkdir(parents=True, exist_ok=True)

    def keep(name: str, content: object) -> None:
        torch.save(content, folder / name)

    if not (folder / "generator.pt").exists():
        keep("generator.pt", {"g_ema": generator_state(), "latent_avg": torch.zeros(WIDTH)})
    if not (folder / "identity.pth").exists():
        keep("identity.pth", irse50_state())
    if not (folder / "e4e.pt").exists():
        state = {f"encoder.{name}": value * 0.5 for name, value in e4e_state(18).items()}
        options = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True, "stylegan_size": 1024}
        keep("e4e.pt", {"state_dict": state, "opts": options, "latent_avg": torch.zeros(18, WIDTH)})
    if not (folder / "clip.pt").exists():
        import open_clip

        torch.manual_seed(0)
        keep("clip.pt", open_clip.create_model("ViT-B-32-quickgelu", pretrained=None).state_dict())
    (folder / "full.toml").write_text(TOML, encoding="utf-8")
    pictures = folder / "images"
    pictures.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(images):
        small = Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8))
        small.resize((1024, 1024), Image.Resampling.BICUBIC).save(pictures / f"{index}.png")
    return folder / "full.toml"


def measure(name: str, *arguments: str) -> tuple[float, float]:
    """Run a styleclip command; (seconds, peak bytes of memory). Its output goes to this terminal."""
    command = [str(Path(sys.executable).with_name("styleclip")), *arguments]
    begun = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{name} failed: {' '.join(command)}")
    return seconds, 1024 * usage.ru_maxrss


def main() -> None:
    """Write, run, print a table; exit status 1 when a command used more memory than it may."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.full_size", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the files go; they are kept")
    parser.add_argument("--channels", type=int, default=8, help="channels of the slice")
    parser.add_argument("--images", type=int, default=2, help="images that are edited")
    arguments = parser.parse_args()
    bundle = str(write_files(arguments.folder, arguments.images))
    store, run = str(arguments.folder / "directions.zarr"), str(arguments.folder / "run")
    slice_of = f"0:{arguments.channels}"
    rows = {
        "bundle check": measure("check", "bundle", "check", bundle, "--device", "cpu"),
        f"precompute, {arguments.channels} channels × 1 image": measure(
            "precompute", "precompute", "-o", store, "--bundle", bundle, "--channels", slice_of, "--images", "1",
            "--statistics-samples", "1000", "--batch", "4", "--block", "512", "--device", "cpu",
        ),
        f"edit, {arguments.images} images": measure(
            "edit", "edit", str(arguments.folder / "images"), "-o", run, "--bundle", bundle, "--directions", store,
            "-t", "a smiling face", "--channels", "4", "--batch", "1", "--device", "cpu",
        ),
    }  # fmt: skip
    print("| command | seconds | peak GB |\n|---|---|---|")
    for name, (seconds, peak) in rows.items():
        print(f"| {name} | {seconds:.0f} | {peak / 1e9:.1f} |")
    if max(peak for _, peak in rows.values()) > LIMIT:
        raise SystemExit("more than 8 GB were used")


if __name__ == "__main__":
    main()
