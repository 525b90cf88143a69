"""Files into batches: the bad ones are failures, the good ones keep their places."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_bundle import as_png, picture

from styleclip.pixels import from_bytes, to_bytes
from tasks.inputs.decode import decode


def test_bad_files_are_failures_at_their_places(tmp_path):
    paths = [str(tmp_path / f"{i}.png") for i in range(4)]
    (tmp_path / "0.png").write_bytes(as_png(picture(0)))
    (tmp_path / "1.png").write_bytes(b"")
    (tmp_path / "3.png").write_bytes(as_png(picture(3)))
    decoded = decode(paths, 8)
    assert decoded.positions == [0, 3] and decoded.images.shape == (2, 8, 8, 3)
    assert {place: failure.error_class for place, failure in decoded.failures.items()} == {
        1: "Empty",
        2: "NotFound",
    }


def test_a_shard_of_bad_files_is_an_empty_batch(tmp_path):
    decoded = decode([str(tmp_path / "none.png")], 8)
    assert decoded.images.shape == (0, 8, 8, 3) and len(decoded.failures) == 1


@given(st.integers(0, 2**32 - 1))
def test_bytes_survive_the_way_to_the_device_and_back(seed):
    images = np.random.default_rng(seed).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    there = from_bytes(images, torch.device("cpu"))
    assert there.shape == (2, 3, 4, 5) and float(there.abs().max()) <= 1
    assert np.array_equal(to_bytes(there).numpy(), images)


def test_values_outside_the_range_are_clamped():
    assert to_bytes(torch.tensor([-3.0, 3.0, 0.0]).view(1, 3, 1, 1)).flatten().tolist() == [0, 255, 128]
