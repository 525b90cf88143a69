"""The learning rate is the published one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from reference import arrays

from styleclip.optimization import ramped_learning_rate


@pytest.mark.parametrize("steps", [40, 300])
def test_every_step_has_the_published_rate(steps):
    wanted = arrays("g_lr_schedule.npz")[f"lr_schedule_{steps}"]
    ours = torch.tensor([ramped_learning_rate(i / steps, 0.1) for i in range(steps)], dtype=torch.float64)
    torch.testing.assert_close(ours, wanted, atol=1e-12, rtol=0)


@given(st.floats(0, 1, exclude_max=True), st.floats(1e-6, 10))
def test_the_rate_stays_between_0_and_its_peak(t, peak):
    assert 0 <= ramped_learning_rate(t, peak) <= peak
