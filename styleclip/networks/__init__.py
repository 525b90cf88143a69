"""The networks: StyleGAN2 generator, W+ encoder, identity network."""

from styleclip.networks.generator import Generator, GeneratorConfig, Resume
from styleclip.networks.layout import StyleLayer, StyleLayout

__all__ = ["Generator", "GeneratorConfig", "Resume", "StyleLayer", "StyleLayout"]
