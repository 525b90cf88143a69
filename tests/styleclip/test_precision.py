"""What "float32" means is set, not left to torch: convolutions of CUDA are TF32 by its default."""

from __future__ import annotations

import pytest
import torch

from styleclip.networks.generator import Generator, GeneratorConfig
from styleclip.precision import computing_in


def switches() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize(("precision", "tf32"), [("float32", False), ("tf32", True), ("bfloat16", False)])
def test_tf32_is_used_where_it_is_asked_for_and_nowhere_else(precision, tf32):
    before = switches()
    with computing_in(precision):
        assert switches() == (tf32, tf32)
        with computing_in("float32"):
            assert switches() == (False, False)
        assert switches() == (tf32, tf32)
    assert switches() == before
    with pytest.raises(ZeroDivisionError), computing_in(precision):
        raise ZeroDivisionError
    assert switches() == before


def test_synthesis_alone_computes_in_bfloat16():
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(8, 8, {4: 8, 8: 8, 16: 8})).requires_grad_(False)
    w = torch.randn(2, generator.num_ws, 8)
    exact_styles = generator.styles(w)
    exact = generator.synthesize(exact_styles)
    with computing_in("bfloat16"):
        styles = generator.styles(w).requires_grad_()
        image = generator.synthesize(styles)
    image.sum().backward()  # torch casts back what autocast cast, wherever the backward pass runs
    assert torch.equal(styles.detach(), exact_styles) and image.dtype == torch.float32
    assert styles.grad is not None and styles.grad.dtype == torch.float32
    error = (image.detach() - exact).abs().max() / exact.abs().max()
    assert 1e-4 < error < 0.1
    with computing_in("tf32"):
        assert torch.equal(generator.synthesize(exact_styles), exact)  # a CPU has no TF32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="only CUDA has TF32")
def test_float32_convolutions_are_float32_on_cuda():
    torch.manual_seed(0)
    x, kernel = torch.randn(2, 64, 32, 32), torch.randn(64, 64, 3, 3)
    exact = torch.nn.functional.conv2d(x.double(), kernel.double(), padding=1)
    with computing_in("float32"):
        found = torch.nn.functional.conv2d(x.cuda(), kernel.cuda(), padding=1)
    assert float((found.cpu() - exact).abs().max() / exact.abs().max()) < 1e-5
