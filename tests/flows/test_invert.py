"""The invert flow on tiny networks."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_bundle import write_pictures

from flows.invert import invert
from flows.parameters import InvertParams
from storage import LatentStore, read_metrics
from storage.errors import PlanMismatch, StorageError

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_codes_rows_and_reconstructions(tiny, tmp_path):
    folder = write_pictures(tmp_path / "images", 7)
    (folder / "z-empty.png").write_bytes(b"")
    run = tmp_path / "run"
    params = InvertParams(
        bundle=tiny, device="cpu", images=str(folder), output=str(run), shard_size=3, max_failed_fraction=0.2,
        save_reconstruction=True,
    )  # fmt: skip
    summary = invert(params)
    assert (summary["ok"], summary["failed"], summary["reasons"]) == (7, 1, "1 Empty")
    store = LatentStore.open(summary["latents"])
    assert store.ok.tolist() == [True] * 7 + [False]
    codes = store.read(["p000", "p006"])
    assert codes.shape == (2, 6, 8) and np.abs(codes).sum() > 0
    with pytest.raises(StorageError, match="was not inverted"):
        store.read([store.ids[-1]])
    assert len(list(run.glob("images/reconstruction/*.png"))) == 7
    rows = read_metrics(str(run))
    assert set(rows["flow"]) == {"invert"} and rows["identity_source_reconstruction"].notna().sum() == 7

    # a shard that is lost comes back with the same codes
    before = store.read()
    next(run.glob("metrics/**/shard-00001.parquet")).unlink()
    invert(params)
    assert np.array_equal(LatentStore.open(summary["latents"]).read(), before)
    with pytest.raises(PlanMismatch):
        invert(params.model_copy(update={"save_reconstruction": False}))
