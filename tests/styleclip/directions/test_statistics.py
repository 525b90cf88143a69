"""Running statistics against the published numbers (vectors c) and against numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import arrays, largest_difference

from styleclip.checkpoints import from_nvlabs_state
from styleclip.directions import StyleStatistics, style_statistics


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    offset=st.sampled_from([0.0, 1e3, -1e4]),
    seed=st.integers(0, 999),
)
def test_any_division_into_batches_gives_the_same_numbers(sizes, offset, seed):
    rows = torch.randn(sum(sizes), 3, generator=torch.Generator().manual_seed(seed)) + offset
    running = StyleStatistics()
    for part in rows.split(sizes):
        running.update(part)
    assert running.count == len(rows)
    exact = rows.double().numpy()
    np.testing.assert_allclose(running.mean, exact.mean(axis=0), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(running.std, exact.std(axis=0), rtol=1e-5, atol=1e-6)


def test_samples_may_be_added_after_the_numbers_were_read():
    published = arrays("c_fs3.npz")
    generator = from_nvlabs_state(arrays("a_nvlabs_state_dict.npz"))
    z = torch.from_numpy(np.random.RandomState(5).randn(int(published["num_stat"]), 64)).float()
    styles = generator.styles(generator.map(z, truncation_psi=0.7, truncation_cutoff=8))
    running = StyleStatistics()
    running.update(styles[:700])
    early = running.std
    running.update(styles[700:])
    for layer in generator.layout.layers:
        name = layer.name.replace("torgb", "toRGB").replace("_", "_resolution_")
        part = slice(layer.start, layer.stop)
        assert largest_difference(running.mean[part], published[f"mean_{name}"]) < 1e-4
        assert largest_difference(running.std[part], published[f"std_{name}"]) < 1e-4
    assert largest_difference(early, running.std) > 1e-4


def test_one_sample_has_no_spread():
    generator = from_nvlabs_state(arrays("a_nvlabs_state_dict.npz"))
    with pytest.raises(AssertionError, match="at least two"):
        style_statistics(generator, 1, seed=0)
    running = StyleStatistics()
    running.update(torch.full((1, 2), 7.0))
    assert running.std.tolist() == [0, 0]
