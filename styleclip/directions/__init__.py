"""Global directions in StyleSpace (paper §6)."""

from styleclip.directions.channel import (
    channel_direction_sums,
    passes_of,
    resultant_length,
)
from styleclip.directions.loaded import ChannelDirections
from styleclip.directions.statistics import STATISTICS_BATCH, StyleStatistics, style_statistics
from styleclip.directions.style import (
    StyleDirection,
    expand,
    strongest_channels,
    style_direction,
    weighted_style_direction,
)
from styleclip.directions.text import embed_prompt, text_direction

__all__ = [
    "STATISTICS_BATCH",
    "ChannelDirections",
    "StyleDirection",
    "StyleStatistics",
    "channel_direction_sums",
    "embed_prompt",
    "expand",
    "passes_of",
    "resultant_length",
    "strongest_channels",
    "style_direction",
    "style_statistics",
    "text_direction",
    "weighted_style_direction",
]
