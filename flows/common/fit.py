"""A warning where the inputs of a run do not fit its bundle."""

from __future__ import annotations

from prefect import get_run_logger

from tasks.inputs.fit import check_fit
from tasks.jobs import EditJob, InvertJob


def misfit_of(job: EditJob | InvertJob) -> str | None:
    """The warning, logged as well; None where the inputs fit, or where it cannot be told: that ends no run."""
    state = check_fit(job.output, job.bundle, job.device, return_state=True)
    if not state.is_completed():
        get_run_logger().warning("whether the images fit the bundle could not be told: %s", state.message)
        return None
    words: str | None = state.result()
    if words:
        get_run_logger().warning(words)
    return words
