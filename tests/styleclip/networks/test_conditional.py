"""A conditional generator at one class, against the conditional one."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from styleclip.networks.conditional import of_class
from styleclip.networks.generator import Generator, GeneratorConfig


@settings(max_examples=25, deadline=None)
@given(
    z_dim=st.integers(1, 9), w_dim=st.integers(1, 9), classes=st.integers(1, 5), layers=st.integers(1, 3),
    rate=st.sampled_from([0.01, 0.02, 1.0]), psi=st.sampled_from([1.0, 0.7]), seed=st.integers(0, 99),
)  # fmt: skip
def test_one_class_of_a_conditional_generator_is_a_generator_without_classes(
    z_dim, w_dim, classes, layers, rate, psi, seed
):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        conditional = Generator(
            GeneratorConfig(
                z_dim=z_dim, w_dim=w_dim, channels={4: 4, 8: 4}, c_dim=classes, mapping_layers=layers,
                mapping_lr_multiplier=rate,
            )
        )  # fmt: skip
        conditional.w_avg.normal_()
        torch.nn.init.normal_(conditional.mapping.layers[0].bias)
        z = torch.randn(3, z_dim)
    for number in range(classes):
        c = torch.zeros(3, classes)
        c[:, number] = 1
        alone = of_class(conditional, number)
        assert alone.config.c_dim == 0 and alone.mapping.embed is None
        w = conditional.map(z, c, truncation_psi=psi)
        torch.testing.assert_close(alone.map(z, truncation_psi=psi), w, atol=1e-4, rtol=1e-4)
        s = conditional.styles(w)
        torch.testing.assert_close(alone.synthesize(alone.styles(w)), conditional.synthesize(s))
