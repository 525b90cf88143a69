"""The precompute flow: what a server sees of it, and a finished store left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.common.naming import artifact_key
from flows.forms.runs import PrecomputeParams
from flows.precompute import precompute
from storage import DirectionStore

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_a_finished_store_and_a_progress_artifact_at_a_hundred(tiny, tmp_path):
    params = PrecomputeParams(
        bundle=tiny, device="cpu", output=str(tmp_path / "d.zarr"), images=3, statistics_samples=50, block=16
    )
    summary = precompute(params)
    assert (summary.channels, summary.blocks, summary.blocks_done_before) == (40, 3, 0)
    shipped = DirectionStore.open(str(Path(tiny).parent / "directions.zarr")).directions()
    assert np.array_equal(DirectionStore.open(params.output).directions(), shipped)
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                key=ArtifactFilterKey(any_=[artifact_key("precompute-progress", params.output)])
            )
        )
    assert found and max(float(artifact.data) for artifact in found) == 100.0

    times = {path: path.stat().st_mtime_ns for path in Path(params.output, "sum").rglob("c/*")}
    assert precompute(params).blocks_done_before == 3
    assert times == {path: path.stat().st_mtime_ns for path in Path(params.output, "sum").rglob("c/*")}
