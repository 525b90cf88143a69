"""`python -m avatars.training RECIPE`: train one of the avatars models, resumably, on CPU or GPU."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from avatars.training import clip, encoder, generator, identity, judges
from avatars.training.bank import Bank, build_bank
from styleclip.allocator import keep_freed_memory

WEIGHTS = Path(__file__).parents[1] / "weights"
COUNT, TWINS = 60_000, 48_000


def main() -> None:
    """Parse the command line and run one recipe."""
    parser = argparse.ArgumentParser(prog="python -m avatars.training", description=__doc__)
    parser.add_argument(
        "recipe",
        choices=["bank", "generator", "clip", "judge-clip", "encoder", "identity", "chooser", "scorer"],
    )
    parser.add_argument("--cache", type=Path, default=Path(".cache/avatars"), help="bank and resumable state")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where finished weights are written")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--count", type=int, default=COUNT, help="avatars in the bank")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()
    device = torch.device(arguments.device)
    output = arguments.weights / f"{arguments.recipe}.safetensors"
    if arguments.recipe == "identity":
        identity.train(arguments.cache, output, device)
        return
    build_bank(arguments.cache / "bank", arguments.count)
    bank = Bank(arguments.cache / "bank", arguments.count)
    if arguments.recipe == "generator":
        build_bank(arguments.cache / "twins", TWINS, twins=True)
        twins = Bank(arguments.cache / "twins", TWINS)
        generator.train(arguments.cache, output, bank, twins, device)
    elif arguments.recipe == "clip":
        clip.train(arguments.cache, output, bank, device)
    elif arguments.recipe == "judge-clip":
        clip.train(arguments.cache, output.with_name("clip-judge.safetensors"), bank, device, role="judge")
    elif arguments.recipe == "encoder":
        encoder.train(arguments.cache, output, arguments.weights / "generator.safetensors", bank, device)
    elif arguments.recipe in ("chooser", "scorer"):
        output = output.with_name(f"judge-{arguments.recipe}.safetensors")
        judges.train(arguments.recipe, arguments.cache, output, bank, device)


if __name__ == "__main__":
    main()
