"""Precompute block by block: order and interruptions leave no trace, another job is kept out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny_bundle import CHANNELS

import tasks.precompute
from flows.forms.runs import PrecomputeParams
from storage import DirectionStore, arrays
from storage.errors import PlanMismatch, StorageError
from styleclip.errors import EditError, StyleclipError
from styleclip.networks.generator import Generator
from tasks.jobs import PrecomputeJob
from tasks.precompute import compute_block, finalize_store, prepare_store
from tasks.process.models import bundle


@pytest.fixture
def job(tiny: str, tmp_path: Path) -> PrecomputeJob:
    return PrecomputeJob(
        bundle=tiny,
        device="cpu",
        seed=0,
        output=str(tmp_path / "directions.zarr"),
        images=3,
        statistics_samples=50,
        step=None,
        baseline="sample",
        truncation_psi=None,
        block=16,
        batch=64,
    )


def test_blocks_in_any_order_and_twice_give_the_shipped_numbers(job, tiny):
    assert prepare_store.fn(job).missing == [0, 1, 2]
    for block in (2, 0, 2):
        compute_block(job, block)
    state = prepare_store.fn(job)
    assert (state.blocks, state.missing) == (3, [1])
    compute_block(job, 1)
    summary = finalize_store.fn(job)
    assert summary.channels == CHANNELS and 0 < summary.reliability <= 1
    ours, reference = (
        DirectionStore.open(job.output),
        DirectionStore.open(str(Path(tiny).parent / "directions.zarr")),
    )
    assert np.array_equal(ours.directions(), reference.directions())
    assert np.array_equal(ours.magnitude(), reference.magnitude())
    np.testing.assert_allclose(np.linalg.norm(ours.directions(), axis=1), 1, atol=1e-5)


def test_the_store_says_how_it_was_made(job, tiny):
    prepare_store.fn(job)
    attrs = DirectionStore.open(job.output).attrs
    assert (attrs["n_images"], attrs["step"], attrs["psi"], attrs["baseline"]) == (3, 5.0, 0.7, "sample")
    fingerprint = bundle(tiny, "cpu").fingerprint
    assert attrs["weights"] == {role: fingerprint[role] for role in ("generator", "clip")}


def test_more_images_are_added_to_those_that_are_there(job, tiny, tmp_path, monkeypatch):
    """Grown in two steps, killed in the second: as good as made at once, and the first images are not drawn again."""
    drawn: list[list[int]] = []
    seen = tasks.precompute.sample_z
    monkeypatch.setattr(
        tasks.precompute, "sample_z", lambda seed, ids, dim: drawn.append(list(ids)) or seen(seed, ids, dim)
    )
    for images, blocks in ((3, [0, 1, 2]), (5, [0, 1, 2])):
        grown = job.model_copy(update={"images": images})
        state = prepare_store.fn(grown)
        assert state.missing == blocks
        compute_block(grown, 0)
        if images == 5:
            store = DirectionStore.open(job.output)
            assert store.missing_blocks() == [1, 2] and store.images_in(1) == 3
            with pytest.raises(StorageError, match="is not finished"):
                store.directions()
            # killed while block 1 was written: its mark is gone
            arrays.write_rows(job.output, store._array("done"), slice(1, 2), 0)
        compute_block(grown, 1)
        compute_block(grown, 2)
        finalize_store.fn(grown)
    assert drawn[3:] == [[3, 4], [0, 1, 2, 3, 4], [3, 4]]
    whole = job.model_copy(update={"images": 5, "output": str(tmp_path / "at-once.zarr")})
    prepare_store.fn(whole)
    for block in range(3):
        compute_block(whole, block)
    finalize_store.fn(whole)
    ours, theirs = DirectionStore.open(job.output), DirectionStore.open(whole.output)
    np.testing.assert_allclose(ours.directions(), theirs.directions(), atol=1e-5)
    np.testing.assert_allclose(ours.magnitude(), theirs.magnitude(), atol=1e-5)
    assert (ours.count == theirs.count).all() and ours.attrs["n_images"] == 5
    with pytest.raises(PlanMismatch, match="n_images was 5, is 3"):
        prepare_store.fn(job)


@pytest.mark.parametrize("change", [{"images": 2}, {"step": 3.0}, {"seed": 1}, {"baseline": "mean"}])
def test_another_job_does_not_touch_the_store(job, change):
    prepare_store.fn(job)
    with pytest.raises(PlanMismatch, match="was made otherwise"):
        prepare_store.fn(job.model_copy(update=change))


def test_the_batch_changes_only_the_last_bits(job, tiny):
    few = job.model_copy(update=dict(batch=8))
    for block in prepare_store.fn(few).missing:
        compute_block(few, block)
    finalize_store.fn(few)
    many = DirectionStore.open(str(Path(tiny).parent / "directions.zarr")).directions()
    np.testing.assert_allclose(DirectionStore.open(few.output).directions(), many, atol=1e-4)


def test_memory_that_runs_out_halves_the_passes_and_changes_no_direction(job, tiny, monkeypatch):
    synthesize, seen = Generator.synthesize, []

    def small_device(generator, s, *arguments, **options):
        seen.append(len(s))
        if len(s) > 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return synthesize(generator, s, *arguments, **options)

    monkeypatch.setattr(Generator, "synthesize", small_device)
    blocks = [compute_block(job, block) for block in prepare_store.fn(job).missing]
    assert {block.batch for block in blocks} == {8}
    assert sum(size > 8 for size in seen) == 1, "what one block learns holds for the next ones"
    finalize_store.fn(job)
    reference = DirectionStore.open(str(Path(tiny).parent / "directions.zarr"))
    np.testing.assert_allclose(
        DirectionStore.open(job.output).directions(), reference.directions(), atol=1e-4
    )


def test_one_channel_that_does_not_fit_is_one_line_that_names_the_batch(job, monkeypatch):
    def no_memory(*_arguments, **_options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")

    prepare_store.fn(job)
    monkeypatch.setattr(Generator, "synthesize", no_memory)
    with pytest.raises(StyleclipError, match=r"\(--batch 2\), do not fit .* another --device") as caught:
        compute_block(job, 0)
    assert "\n" not in str(caught.value)


def test_channels_that_are_not_there_are_refused_before_anything_is_made(job):
    with pytest.raises(
        EditError, match=rf"100000:100001: the generator of bundle 'tiny' has {CHANNELS}, 0 to"
    ):
        prepare_store.fn(job.model_copy(update=dict(first=100_000, last=100_001)))
    assert not Path(job.output).exists()


@pytest.mark.parametrize("psi", [0, -0.5, float("nan"), float("inf"), 1.5])
def test_a_truncation_that_makes_no_samples_is_refused(psi):
    with pytest.raises(ValidationError, match="truncation_psi"):
        PrecomputeParams(output="d.zarr", truncation_psi=psi)


def test_the_store_says_in_which_precision_it_was_made(job):
    prepare_store.fn(job.model_copy(update=dict(precision="tf32")))
    with pytest.raises(PlanMismatch, match="precision was tf32, is float32"):
        prepare_store.fn(job)


@pytest.mark.parametrize(("first", "last"), [(5, 20), (16, 32), (38, None)])
def test_a_slice_of_channels_gets_the_same_directions_and_the_others_none(job, tiny, first, last):
    part = job.model_copy(update=dict(first=first, last=last))
    for block in prepare_store.fn(part).missing:
        compute_block(part, block)
    asked = slice(first, last)
    assert finalize_store.fn(part).channels == len(range(CHANNELS)[asked])
    ours = DirectionStore.open(part.output)
    reference = DirectionStore.open(str(Path(tiny).parent / "directions.zarr"))
    # passes of another size round differently
    np.testing.assert_allclose(ours.directions()[asked], reference.directions()[asked], atol=1e-4)
    rest = np.ones(CHANNELS, bool)
    rest[asked] = False
    assert not ours.directions()[rest].any() and not ours.count[rest].any()
    with pytest.raises(PlanMismatch, match="channels"):
        prepare_store.fn(job)
