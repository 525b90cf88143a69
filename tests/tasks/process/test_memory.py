"""Out of memory: the batch is halved, remembered, and nothing is lost."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.errors import Failure
from tasks.process.memory import Halving, out_of_memory


@settings(max_examples=20, deadline=None)  # every halving collects garbage
@given(count=st.integers(0, 40), size=st.integers(1, 40), limit=st.integers(1, 40))
def test_every_item_is_done_once_in_order_in_batches_that_fit(count, size, limit):
    def work(part: slice) -> list[int]:
        if part.stop - part.start > limit:
            raise torch.OutOfMemoryError("out of memory")
        return list(range(count))[part]

    halving = Halving(size)
    done = [item for _, items in halving.over(count, work) for item in items]
    assert done == list(range(count))
    assert halving.size <= max(limit, 1) or halving.halvings == 0
    assert list(halving.over(count, work)) == list(Halving(halving.size).over(count, work))


def test_the_machines_own_memory_counts_too():
    def work(part: slice) -> int:
        if part.stop - part.start > 1:
            torch.empty(2**60, dtype=torch.uint8)  # no machine has it: torch's own error for the CPU
        return part.start

    halving = Halving(4)
    assert [value for _, value in halving.over(3, work)] == [0, 1, 2] and halving.halvings >= 1


def test_one_item_that_does_not_fit_is_a_failure_and_the_others_go_on():
    def work(part: slice) -> str:
        if part.start <= 1 < part.stop:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")
        return "done"

    outcomes = [outcome for _, outcome in Halving(4).over(3, work)]
    assert outcomes[0] == outcomes[2] == "done"
    assert isinstance(outcomes[1], Failure) and outcomes[1].error_class == "OutOfMemory"
    assert "\n" not in outcomes[1].reason


def test_a_single_image_is_given_up_only_when_its_pass_is_down_to_one():
    halving = Halving(1, passes=4)

    def work(part: slice) -> str:
        if 4 >> halving.halvings > 1:
            raise torch.OutOfMemoryError("out of memory")
        return "done"

    assert [outcome for _, outcome in halving.over(2, work)] == ["done", "done"]
    assert halving.halvings == 2


def test_other_errors_are_not_swallowed():
    def work(part: slice) -> None:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        list(Halving(4).over(3, work))


@pytest.mark.parametrize(
    ("words", "memory"),
    [
        ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_ALLOC_FAILED", True),
        ("GET was unable to find an engine to execute this computation", True),
        ("Unable to find a valid cuDNN algorithm to run convolution", True),
        ("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory", True),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_libraries_say_it_in_their_own_words(words, memory):
    assert out_of_memory(RuntimeError(words)) is memory
    assert not out_of_memory(ValueError(words))
