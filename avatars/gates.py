"""Are the embedded models good enough to prove anything? Four gates, on held-out data.

`python -m avatars.gates` measures them; `--markdown FILE` writes the table of the docs.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from avatars.judging.judges import Judge, load_judge, r_squared
from avatars.judging.people import pair_auc, render_uint8, sample_people
from avatars.judging.zero_shot import zero_shot
from avatars.world.attributes import STATEMENTS, holds, truth, visible
from avatars.world.factors import Z_DIM, factors_of, parameters
from avatars.world.samples import HELD_OUT_SEED, sample_pictures
from styleclip.bundles.load import Bundle, load_bundle
from styleclip.pixels import to_float

COUNT = 1000
JUDGE_R2, CLIP_RENDERS, CLIP_SAMPLES, ENCODER_KEEPS, IDENTITY_AUC = 0.7, 0.90, 0.85, 0.90, 0.95
ADVERTISED = {statement.quantity for statement in STATEMENTS}
"""Quantities that captions can name; the others (noses, brows, …) are what identity is made of."""
PEOPLE, PICTURES_EACH = 100, 8


@dataclass(frozen=True)
class Gate:
    """One measured line: what, its value, the least that is wanted (None: measured, but nothing promises it)."""

    what: str
    value: float
    wanted: float | None

    @property
    def passed(self) -> bool:
        """Whether the value is as wanted."""
        return self.wanted is None or self.value >= self.wanted


def kept(before: Tensor, after: Tensor) -> dict[str, float]:
    """Share of pictures whose judged statements are the same in both, per statement, where one of them is clear."""
    first, second = holds(before), holds(after)
    scores = {}
    for column, statement in enumerate(STATEMENTS):
        rows = first[:, column]
        scores[statement.name] = float(second[rows, column].float().mean()) if rows.any() else 1.0
    return scores


@torch.no_grad()
def generator_samples(bundle: Bundle, count: int) -> tuple[Tensor, Tensor]:
    """(pictures drawn by the generator [count, 3, 64, 64], the quantities that their latents mean)."""
    z = torch.randn(count, Z_DIM, generator=torch.Generator().manual_seed(HELD_OUT_SEED + 77))
    images = torch.cat([bundle.generator(part).clamp(-1, 1) for part in z.split(50)])
    return images, truth(parameters(factors_of(z)))


@torch.no_grad()
def identity_auc(bundle: Bundle) -> float:
    """AUC of the identity network on people it never saw, each with all kinds of hair, hats, glasses and smiles."""
    assert bundle.identity is not None
    images = to_float(render_uint8(sample_people(PEOPLE, PICTURES_EACH, HELD_OUT_SEED)))
    embedding = torch.cat([bundle.identity(part) for part in images.split(100)])
    return pair_auc(embedding, torch.arange(PEOPLE * PICTURES_EACH) // PICTURES_EACH)


@torch.no_grad()
def measure(bundle: Bundle, scorer: Judge, count: int = COUNT) -> list[Gate]:
    """All gates on `count` held-out renders and as many generator samples (CPU)."""
    assert bundle.encoder is not None

    def judged(images: Tensor) -> Tensor:
        return torch.cat([scorer(part) for part in images.split(100)])

    renders, render_truth = sample_pictures(count, seed=9)
    samples, sample_truth = generator_samples(bundle, count)
    gates = [
        Gate(f"judge R² on generator samples: {name}", value, JUDGE_R2 if name in ADVERTISED else None)
        for name, value in r_squared(judged(samples), sample_truth, visible(sample_truth)).items()
    ]
    for where, images, quantities, wanted in (
        ("renders", renders, render_truth, CLIP_RENDERS),
        ("generator samples", samples, sample_truth, CLIP_SAMPLES),
    ):
        gates += [
            Gate(f"CLIP zero-shot on {where}: {name}", value, wanted)
            for name, value in zero_shot(
                bundle.clip.encode_image, bundle.clip.encode_text, images, quantities
            ).items()
        ]
    drawn = torch.cat(
        [
            bundle.generator.synthesize(bundle.generator.styles(bundle.encoder(part))).clamp(-1, 1)
            for part in renders.split(50)
        ]
    )
    gates += [
        Gate(f"encoder keeps: {name}", value, ENCODER_KEEPS)
        for name, value in kept(judged(renders), judged(drawn)).items()
    ]
    return [
        *gates,
        Gate("identity AUC, across hair, hats, glasses and smiles", identity_auc(bundle), IDENTITY_AUC),
    ]


def to_markdown(gates: list[Gate]) -> str:
    """One table per kind of gate: name, value, wanted, passed."""
    lines = ["| gate | measured | wanted | |", "|---|---|---|---|"]
    for gate in gates:
        wanted = "" if gate.wanted is None else f"≥ {gate.wanted:.2f}"
        verdict = "not advertised" if gate.wanted is None else "yes" if gate.passed else "**no**"
        lines.append(f"| {gate.what} | {gate.value:.3f} | {wanted} | {verdict} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure and print; exit status 1 when a gate is missed."""
    parser = argparse.ArgumentParser(prog="python -m avatars.gates", description=__doc__)
    parser.add_argument("--count", type=int, default=COUNT, help="pictures of each kind")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    arguments = parser.parse_args()
    gates = measure(load_bundle("avatars", device="cpu"), load_judge("scorer"), arguments.count)
    table = to_markdown(gates)
    print(table)
    wanted = [gate for gate in gates if gate.wanted is not None]
    passed = sum(gate.passed for gate in wanted)
    print(f"{passed} of {len(wanted)} gates passed")
    if arguments.markdown:
        command = (
            f"python -m avatars.gates --count {arguments.count} --markdown {arguments.markdown.as_posix()}"
        )
        summary = f"Measured on held-out data by `{command}`; {passed} of {len(wanted)} passed."
        arguments.markdown.write_text(
            f"# Gates of the avatars world\n\n{summary}\n\n{table}", encoding="utf-8"
        )
    raise SystemExit(0 if passed == len(wanted) else 1)


if __name__ == "__main__":
    main()
