"""StyleGAN2 generator with Z, W, W+ and StyleSpace as first-class citizens.

Karras et al. 2020 (arXiv 1912.04958), architecture "skip"; StyleSpace after Wu et al. 2021 (arXiv 2011.12799).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from styleclip.networks.layers import (
    EqualLinear,
    binomial_filter,
    modulated_conv,
    normalize_second_moment,
    scaled_leaky_relu,
    upsample,
)
from styleclip.networks.layout import StyleLayer, StyleLayout
from styleclip.precision import synthesis_autocast

Noise = Literal["const", "none", "random"]
MAX_MAPPING_LAYERS = 64
"""Far more than any generator has; without a bound a damaged file could ask for millions."""


@dataclass(frozen=True)
class GeneratorConfig:
    """Everything that fixes the shape and the arithmetic of a generator.

    `channels` maps resolution → feature maps. `mapping_lr_multiplier` scales stored mapping weights when they are
    used: the wrong value loads without complaint and gives nonsense, so it travels with the weights. `conv_clamp`
    bounds the output of every layer, as generators trained in half precision have learned to expect.
    """

    z_dim: int
    w_dim: int
    channels: Mapping[int, int]
    c_dim: int = 0
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    conv_clamp: float | None = None

    @property
    def resolution(self) -> int:
        """Side of the image in pixels."""
        return max(self.channels)

    def to_dict(self) -> dict[str, Any]:
        """JSON form: the keys of `channels` become strings."""
        return asdict(self) | {"channels": {str(k): int(v) for k, v in self.channels.items()}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GeneratorConfig:
        """Inverse of `to_dict`. Raises ValueError for sizes that no generator has."""
        config = cls(**(dict(values) | {"channels": {int(k): int(v) for k, v in values["channels"].items()}}))
        sizes = {
            "z_dim": config.z_dim,
            "w_dim": config.w_dim,
            "channels": min(config.channels.values(), default=1),
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"'{name}' is {size}, at least 1 is needed")
        if config.mapping_layers > MAX_MAPPING_LAYERS:
            raise ValueError(
                f"{config.mapping_layers} mapping layers, there are at most {MAX_MAPPING_LAYERS}"
            )
        return config


@dataclass(frozen=True)
class Resume:
    """Where synthesis may resume: the input of one convolution and the picture so far.

    `layer` is a position in `StyleLayout.layers` (a convolution); x [N, C, h, w] is its input before modulation;
    rgb is the skip image [N, 3, h', w'] of the resolutions already finished, None at the first layer.
    """

    layer: int
    x: Tensor
    rgb: Tensor | None

    def expand(self, n: int) -> Resume:
        """The same state for n samples (only from a state of one sample); no memory is copied."""
        rgb = None if self.rgb is None else self.rgb.expand(n, -1, -1, -1)
        return Resume(self.layer, self.x.expand(n, -1, -1, -1), rgb)


class MappingNetwork(nn.Module):
    """Z → W: normalisation, optional class embedding, then leaky-ReLU layers."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.embed = EqualLinear(config.c_dim, config.w_dim) if config.c_dim else None
        features = config.z_dim + (config.w_dim if config.c_dim else 0)
        self.layers = nn.ModuleList()
        for _ in range(config.mapping_layers):
            self.layers.append(
                EqualLinear(features, config.w_dim, lr_multiplier=config.mapping_lr_multiplier, activate=True)
            )
            features = config.w_dim

    def forward(self, z: Tensor, c: Tensor | None) -> Tensor:
        x = normalize_second_moment(z)
        if self.embed is not None:
            assert c is not None, "this generator is class-conditional: map(z, c) needs c [N, c_dim]"
            x = torch.cat([x, normalize_second_moment(self.embed(c))], dim=1)
        for layer in self.layers:
            x = layer(x)
        return x


class ConvLayer(nn.Module):
    """Modulated 3×3 convolution, noise, bias, leaky ReLU; the first of a resolution doubles the size."""

    noise_const: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        resolution: int,
        w_dim: int,
        up: bool,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.up, self.clamp = up, clamp

    def forward(self, x: Tensor, styles: Tensor, kernel: Tensor, noise: Noise) -> Tensor:
        x = modulated_conv(x, self.weight, styles, True, kernel if self.up else None)
        if noise == "const":
            x = x + (self.noise_const * self.noise_strength).to(x.dtype)
        elif noise == "random":
            random = torch.randn(x.shape[0], 1, *x.shape[2:], device=x.device)
            x = x + (random * self.noise_strength).to(x.dtype)
        x = scaled_leaky_relu(x + self.bias.to(x.dtype)[:, None, None])
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """Modulated 1×1 convolution to colours, without demodulation."""

    def __init__(self, in_channels: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.style_gain = 1.0 / math.sqrt(in_channels)

    def forward(self, x: Tensor, styles: Tensor) -> Tensor:
        x = modulated_conv(x, self.weight, styles * self.style_gain, False)
        x = x + self.bias.to(x.dtype)[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Generator(nn.Module):
    """One StyleGAN2 for every checkpoint format. float32, CPU or CUDA, no compiled operations.

    z [N, z_dim] → `map` → w [N, num_ws, w_dim] → `styles` → s [N, C_total] → `synthesize` → image [N, 3, H, W].
    """

    w_avg: Tensor
    kernel: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        # what was done where its file lacks something: a name that never changes → a line for its user
        self.notes: dict[str, str] = {}
        self.layout = StyleLayout.from_channels(config.channels)
        self.mapping = MappingNetwork(config)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))
        self.register_buffer("kernel", binomial_filter(), persistent=False)
        self.const = nn.Parameter(torch.randn(config.channels[4], 4, 4))
        self.synthesis = nn.ModuleDict()
        for layer in self.layout.layers:
            width = config.channels[layer.resolution]
            self.synthesis[layer.name] = (
                ToRGB(layer.channels, config.w_dim, config.conv_clamp)
                if layer.kind == "torgb"
                else ConvLayer(
                    layer.channels,
                    width,
                    layer.resolution,
                    config.w_dim,
                    up=layer.name.startswith("conv0"),
                    clamp=config.conv_clamp,
                )
            )

    @property
    def z_dim(self) -> int:
        return self.config.z_dim

    @property
    def w_dim(self) -> int:
        return self.config.w_dim

    @property
    def num_ws(self) -> int:
        return self.layout.num_ws

    @property
    def resolution(self) -> int:
        return self.config.resolution

    def map(
        self,
        z: Tensor,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """z [N, z_dim] → w [N, num_ws, w_dim].

        Truncation pulls the first `truncation_cutoff` rows (all rows when None) towards the mean latent:
        w_avg + psi·(w − w_avg) (Karras et al. 2019, appendix B). c [N, c_dim] is read by class-conditional
        generators only.
        """
        assert z.ndim == 2 and z.shape[1] == self.z_dim, f"z must be [N, {self.z_dim}], got {tuple(z.shape)}"
        w = self.mapping(z.float(), c).unsqueeze(1).repeat(1, self.num_ws, 1)
        if truncation_psi != 1.0:
            cut = self.num_ws if truncation_cutoff is None else truncation_cutoff
            w = torch.cat([self.w_avg.lerp(w[:, :cut], truncation_psi), w[:, cut:]], dim=1)
        return w

    def styles(self, w: Tensor) -> Tensor:
        """w [N, num_ws, w_dim] → style vector s [N, C_total] in the order of `layout`.

        Each layer's part is affine(w) with bias; ToRGB parts without the 1/√C gain, which the layer applies itself.
        """
        assert w.shape[1:] == (self.num_ws, self.w_dim), (
            f"w must be [N, {self.num_ws}, {self.w_dim}], got {tuple(w.shape)}"
        )
        parts = []
        for layer in self.layout.layers:
            module = self.synthesis[layer.name]
            assert isinstance(module, ConvLayer | ToRGB)
            parts.append(module.affine(w[:, layer.ws_row]))
        return torch.cat(parts, dim=1)

    def synthesize(self, s: Tensor, noise: Noise = "const", start: Resume | None = None) -> Tensor:
        """s [N, C_total] → image [N, 3, H, W], float32, about [−1, 1], not clamped.

        With `start` (see `checkpoint_activations`) the layers before it are not computed: they must be the
        same for all samples of s, or the result is not the image of s. Computes in bfloat16 where
        `styleclip.precision.computing_in` says so; the image is float32 all the same.
        """
        with synthesis_autocast(s.device):
            return self._run(s, noise, start, None)

    def checkpoint_activations(self, s: Tensor, noise: Noise = "const") -> list[Resume]:
        """The input of every convolution for s [N, C_total], in the order of `layout.conv_layers`."""
        states: list[Resume] = []
        self._run(s, noise, None, states)
        return states

    def forward(self, z: Tensor, c: Tensor | None = None, truncation_psi: float = 1.0) -> Tensor:
        """z [N, z_dim] → image [N, 3, H, W] with constant noise."""
        return self.synthesize(self.styles(self.map(z, c, truncation_psi)))

    def _run(self, s: Tensor, noise: Noise, start: Resume | None, states: list[Resume] | None) -> Tensor:
        assert s.ndim == 2 and s.shape[1] == self.layout.total, (
            f"s must be [N, {self.layout.total}], got {tuple(s.shape)}"
        )
        if start is None:
            x = self.const.unsqueeze(0).expand(s.shape[0], -1, -1, -1)
            start = Resume(0, x, None)
        assert start.x.shape[0] == s.shape[0], (start.x.shape, s.shape)
        x, rgb = start.x, start.rgb
        for index in range(start.layer, len(self.layout.layers)):
            layer = self.layout.layers[index]
            if states is not None and layer.kind == "conv":
                states.append(Resume(index, x, rgb))
            x, rgb = self._step(layer, x, rgb, s[:, layer.start : layer.stop], noise)
        assert rgb is not None
        return rgb.float()

    def _step(
        self, layer: StyleLayer, x: Tensor, rgb: Tensor | None, styles: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor | None]:
        module = self.synthesis[layer.name]
        if layer.kind == "conv":
            return module(x, styles, self.kernel, noise), rgb
        colours = module(x, styles)
        return x, colours if rgb is None else upsample(rgb, self.kernel) + colours
