"""kill -9 in the middle, the same command again: nothing shows that it happened."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import command
from tiny_bundle import write_pictures

from flows.edit import edit
from flows.forms.edits import edit_form
from flows.forms.runs import EditParams, PrecomputeParams
from flows.precompute import precompute
from storage import DirectionStore, read_metrics
from storage.curves import read_curves
from styleclip.checkpoints.mappers import load_mapper

pytestmark = pytest.mark.usefixtures("prefect_server")


def start_and_kill(arguments: list[str], when: str, where: Path) -> None:
    """Run `styleclip` until the first file that matches `when` is there, then kill it at once."""
    process = subprocess.Popen(
        [command("styleclip"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    begun = time.monotonic()
    while not any(where.glob(when)):
        if process.poll() is not None or time.monotonic() - begun > 280:
            output = process.communicate()[0].decode() if process.poll() is not None else "(still running)"
            pytest.fail(f"no {when} before the end: {output}")
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def timeless(run: Path) -> pd.DataFrame:
    rows = read_metrics(str(run))
    columns = [column for column in rows.columns if not column.startswith("ms_")]
    return rows[columns].sort_values(["image_id", "edit"]).reset_index(drop=True)


def pictures(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.glob("images/**/*.png")}


def test_edit(tiny, tmp_path):
    images = write_pictures(tmp_path / "images", 60)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    arguments = [
        "edit",
        str(images),
        "-o",
        str(killed),
        "-b",
        tiny,
        "-t",
        "a face with red hair",
        "-a",
        "2,4",
    ]
    arguments += ["--channels", "5", "--shard-size", "2", "--batch", "2", "--device", "cpu"]
    start_and_kill(arguments, "metrics/**/shard-00002.parquet", killed)
    survived = {path: path.stat().st_mtime_ns for path in killed.glob("metrics/**/*.parquet")}
    assert 3 <= len(survived) < 30

    params = EditParams(
        images=str(images), output=str(killed), bundle=tiny, device="cpu", shard_size=2, batch=2,
        edits=[edit_form(target="a face with red hair", alpha=[2, 4], channels=5)],
    )  # fmt: skip
    summary = edit(params)
    assert summary.shards_done_before == len(survived) and summary.rows == 120
    assert survived == {path: path.stat().st_mtime_ns for path in survived}
    edit(params.model_copy(update={"output": str(whole)}))
    pd.testing.assert_frame_equal(timeless(killed), timeless(whole))
    assert pictures(killed) == pictures(whole)
    assert json.loads((killed / "plan.json").read_text()) == json.loads((whole / "plan.json").read_text())


def test_optimize(tiny, tmp_path):
    """Steps of Adam blow up what differs in the last bit, so both runs are those of the command."""
    images = write_pictures(tmp_path / "images", 24)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    arguments = ["optimize", str(images), "-b", tiny, "-t", "a face with red hair", "--steps", "20"]
    arguments += [
        "--space",
        "s",
        "--channels",
        "8",
        "--latent-noise",
        "0.3",
        "--lambda-id",
        "0.1",
        "--shard-size",
        "2",
    ]
    arguments += ["--batch", "2", "--device", "cpu", "-o"]
    start_and_kill([*arguments, str(killed)], "metrics/**/shard-00002.parquet", killed)
    survived = {path: path.stat().st_mtime_ns for path in killed.glob("metrics/**/*.parquet")}
    assert 3 <= len(survived) < 12
    for run in (killed, whole):
        subprocess.run(
            [command("styleclip"), *arguments, str(run)], check=True, capture_output=True, timeout=250
        )
    assert survived == {path: path.stat().st_mtime_ns for path in survived}
    pd.testing.assert_frame_equal(timeless(killed), timeless(whole))
    pd.testing.assert_frame_equal(read_curves(str(killed)), read_curves(str(whole)))
    assert pictures(killed) == pictures(whole)


def test_train_mappers(tiny, tmp_path):
    """Bit for bit: the mappers, and every number of the curves."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    attributes = tmp_path / "attributes.yaml"
    attributes.write_text(
        "- {name: red, target: a face with red hair, levels: [coarse, medium]}\n"
        "- {name: smile, target: a smiling face, levels: [coarse, medium]}\n"
    )
    arguments = ["train-mappers", "-b", tiny, "--attributes", str(attributes), "--steps", "60"]
    arguments += ["--checkpoint-every", "3", "--validation", "4", "--device", "cpu", "-o"]
    start_and_kill([*arguments, str(killed)], "curves/**/*-0000009*", killed)
    (state,) = killed.glob("state/*.pt")
    reached = torch.load(state, weights_only=True)["training"]["step"]
    assert 9 <= reached < 60 and not list(killed.glob("mappers/*"))
    for run in (killed, whole):
        subprocess.run(
            [command("styleclip"), *arguments, str(run)], check=True, capture_output=True, timeout=250
        )
    pd.testing.assert_frame_equal(read_curves(str(killed)), read_curves(str(whole)))
    mappers = sorted(path.name for path in whole.glob("mappers/*"))
    assert len(mappers) == 2
    for name in mappers:
        again, first = (load_mapper(run / "mappers" / name)[0].state_dict() for run in (killed, whole))
        assert all(torch.equal(again[key], value) for key, value in first.items()), name


def test_precompute(tiny, tmp_path):
    killed, whole = tmp_path / "killed.zarr", tmp_path / "whole.zarr"
    arguments = ["precompute", "-o", str(killed), "-b", tiny, "-n", "3", "--statistics-samples", "50"]
    arguments += ["--block", "2", "--device", "cpu"]
    start_and_kill(arguments, "done/c/2", killed)
    store = DirectionStore.open(str(killed))
    missing = store.missing_blocks()
    assert 0 < len(missing) <= 17
    finished = {path: path.stat().st_mtime_ns for path in killed.glob("sum/c/*/0")}

    params = PrecomputeParams(
        bundle=tiny, device="cpu", output=str(killed), images=3, statistics_samples=50, block=2
    )
    assert precompute(params).blocks_done_before == 20 - len(missing)
    done = {path: when for path, when in finished.items() if int(path.parent.name) not in missing}
    assert done == {path: path.stat().st_mtime_ns for path in done}
    precompute(params.model_copy(update={"output": str(whole)}))
    ours, reference = DirectionStore.open(str(killed)), DirectionStore.open(str(whole))
    for part in ("directions", "magnitude"):
        assert np.array_equal(getattr(ours, part)(), getattr(reference, part)())
    for part in ("std", "mean", "resultant", "count"):
        assert np.array_equal(getattr(ours, part), getattr(reference, part))
