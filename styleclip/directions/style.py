"""Δs: from a direction of words to a step in StyleSpace (paper §6)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from styleclip.errors import EditError
from styleclip.networks.layout import StyleLayer, StyleLayout


@dataclass(frozen=True)
class StyleDirection:
    """Δs of an edit: `delta` [C_conv] in style units per unit of α, how many channels move, and the β that says so."""

    delta: Tensor
    channels_used: int
    beta: float


def style_direction(
    directions: Tensor,
    dt: Tensor,
    *,
    beta: float | None = None,
    channels: int | None = None,
    scaled: bool = True,
    std: Tensor | None = None,
) -> StyleDirection:
    """Δs from Δi_c `directions` [C_conv, D] and Δt `dt` [D].

    Channels with |Δi_c·Δt| < β stay still; `channels` = k chooses the β that leaves the k most relevant ones (more only
    if several are equally relevant, fewer if not so many have any effect). The
    scaled form divides by max|Δs| and multiplies by σ_c (`std` [C_conv]), so that α counts standard deviations of the
    strongest channel; `scaled=False` is the paper's raw form. Raises EditError when no channel is left.
    """
    return _threshold(directions @ dt, beta, channels, scaled, std)


def weighted_style_direction(
    magnitude: Tensor,
    dt: Tensor,
    *,
    beta: float | None = None,
    channels: int | None = None,
    scaled: bool = True,
    std: Tensor | None = None,
) -> StyleDirection:
    """A variant of our own, offered as "global-weighted": channels that hardly move CLIP weigh little.

    `magnitude` [C_conv, D] holds the *unnormalised* differences, summed or averaged over images. The relevance of a
    channel is m_c·Δt / (‖m_c‖ + ½ median‖m‖): the published one for strong channels, fading to 0 for near-dead ones,
    whose direction is noise. Otherwise as `style_direction`; EditError also when no magnitudes are known (imported
    directions).
    """
    if not bool(magnitude.any()):
        raise EditError("these directions were imported, without magnitudes: use the method 'global'")
    length = magnitude.norm(dim=1)
    # Where most channels are dead the median is 0, and a dead channel must not become 0 / 0.
    weight = (length + 0.5 * length.median()).clamp(min=torch.finfo(length.dtype).tiny)
    return _threshold((magnitude @ dt) / weight, beta, channels, scaled, std)


def _threshold(
    relevance: Tensor, beta: float | None, channels: int | None, scaled: bool, std: Tensor | None
) -> StyleDirection:
    if (beta is None) == (channels is None):
        raise EditError("give either beta or channels: each of them chooses the channels that move")
    strength = relevance.abs()
    if channels is not None:
        if channels < 1:
            raise EditError(f"channels is {channels}; at least one channel must move")
        beta = float(strength.topk(min(channels, len(strength))).values[-1])
    assert beta is not None
    moves = (strength >= beta) & (strength > 0)
    used = int(moves.sum())
    if used == 0:
        largest = float(strength.max())
        if not largest > 0:
            raise EditError("no channel has anything to do with these words: |Δi·Δt| is 0 for all of them")
        # Rounded down: the number in the message must itself be a usable beta.
        usable = math.floor(largest * 1e4) / 1e4 if largest >= 1e-4 else largest
        raise EditError(
            f"beta {beta:g} leaves no channel to move: the most relevant one has |Δi·Δt| = {usable:g}, "
            "the largest usable beta"
        )
    delta = torch.where(moves, relevance, torch.zeros_like(relevance))
    if scaled:
        if std is None:
            raise EditError("the scaled form needs the standard deviation of each channel")
        delta = delta / delta.abs().max() * std
    return StyleDirection(delta, used, beta)


def expand(layout: StyleLayout, delta: Tensor) -> Tensor:
    """Δs of the convolution channels [C_conv] → [C_total], zeros at ToRGB."""
    assert delta.shape == (layout.conv_count,), (
        f"delta must be [{layout.conv_count}], got {tuple(delta.shape)}"
    )
    full = torch.zeros(layout.total, dtype=delta.dtype, device=delta.device)
    full[layout.conv.to(delta.device)] = delta
    return full


@dataclass(frozen=True)
class RelevantChannel:
    """One channel and how far it moves pictures towards some words."""

    position: int
    layer: StyleLayer
    channel: int
    relevance: float


def strongest_channels(directions: Tensor, dt: Tensor, layout: StyleLayout, k: int) -> list[RelevantChannel]:
    """The k channels with the largest |Δi_c·Δt|, strongest first."""
    relevance = directions @ dt
    order = relevance.abs().topk(min(k, len(relevance))).indices.tolist()
    return [
        RelevantChannel(
            position,
            layout.layers[layout.layer_of[position]],
            layout.channel_of[position],
            float(relevance[position]),
        )
        for position in order
    ]
