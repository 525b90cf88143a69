"""How runs grow with workers and images; figures of docs/scale.md come from here.

`python -m benchmarks.workers images --folder FOLDER --count 240` edits drawn avatars `here`, with one and with two
processes: images per second, milliseconds per image, and what Prefect's server had to do.
`python -m benchmarks.workers stub --shards 2000 --seconds 1` lets up to 64 workers sleep instead of edit, and commit a
shard of rows each: what is left beside the sleep is the price of the scheduler, of the flow and of the store. The
workers are threads of this process, so all of them share its one interpreter: real ones can only do better.

One thread per worker. A Prefect server must be set for `images`: PREFECT_API_URL.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")

import httpx

ROWS = 32


@dataclass(frozen=True)
class Stub:
    """A job whose units sleep."""

    output: str
    seconds: float


def sleep_and_commit(job: Stub, shard: int) -> int:
    """The time of a shard, and its commit: as many rows as 32 images have with one edit."""
    from storage.metrics import write_shard

    time.sleep(job.seconds)
    row = {"path": "p", "input_hash": "h", "edit": "e", "status": "ok"}
    write_shard(job.output, "edit", "stub", shard, [row | {"image_id": f"{shard}-{n}"} for n in range(ROWS)])
    return shard


def look(job: Stub) -> object:
    """What a stub sees: always the same."""
    from tasks.process.units import Sight

    return Sight("stub", (), "stub")


def stub(shards: int, seconds: float, counts: list[int]) -> None:
    """Wall seconds per shard and worker, beyond the sleep."""
    import dask
    from distributed import Client, LocalCluster

    import tasks.process.units as units
    from flows.common.cluster import QUIET
    from flows.common.crew import Crew

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    units._ONE_AT_A_TIME = contextlib.nullcontext()  # type: ignore[assignment] - workers are threads of one process
    unit = units.Unit("stub", "shard", sleep_and_commit, look, lambda _: [])
    print("workers  shards  wall s  ideal s  efficiency  shards/s  ms of wall per shard beyond the ideal")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder, dask.config.set(QUIET):
            cluster = LocalCluster(
                n_workers=count, threads_per_worker=1, processes=False, dashboard_address=None
            )
            with cluster, Client(cluster, set_as_default=False) as client:
                mine, job = shards * count // max(counts), Stub(folder, seconds)
                crew = Crew(client, unit, job, look(job), threading.Event(), logging.getLogger("bench"))  # type: ignore[arg-type]
                begun = time.perf_counter()
                done = sum(ended.error is None for ended in crew.carry_out(range(mine)))
                wall = time.perf_counter() - begun
                assert done == mine == len(list(Path(folder).glob("metrics/**/*.parquet"))), (done, mine)
        ideal = -(-mine // count) * seconds
        print(
            f"{count:7d} {mine:7d} {wall:7.1f} {ideal:8.1f} {ideal / wall:11.2f} {mine / wall:9.1f} "
            f"{1000 * (wall - ideal) / mine:8.1f}",
            flush=True,
        )


class Requests:
    """Counts HTTP requests of this process while the block runs."""

    def __enter__(self) -> Requests:
        self.count = 0
        self._sends = httpx.Client.send, httpx.AsyncClient.send

        def counted(client: httpx.Client, *args: object, **kwargs: object) -> httpx.Response:
            self.count += 1
            return self._sends[0](client, *args, **kwargs)  # type: ignore[arg-type]

        async def counted_too(client: httpx.AsyncClient, *args: object, **kwargs: object) -> httpx.Response:
            self.count += 1
            return await self._sends[1](client, *args, **kwargs)  # type: ignore[arg-type]

        httpx.Client.send, httpx.AsyncClient.send = counted, counted_too  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        httpx.Client.send, httpx.AsyncClient.send = self._sends  # type: ignore[method-assign]


def images(folder: Path, count: int, runners: list[str], refine: int) -> None:
    """Drawn avatars edited by each runner, after one shard that nobody counts."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterFlowRunId

    from avatars.world.samples import write_images
    from flows.edit import edit
    from flows.forms.edits import edit_form
    from flows.forms.runs import EditParams

    source = folder / f"images-{count}"
    if not source.exists():
        write_images(str(source), count, seed=3)
    ids: list[str] = []
    flow = edit.with_options(on_running=[lambda _f, run, _s: ids.append(str(run.id))])
    print("runner       images  wall s  images/s  images/s between commits  ms/image  requests  task runs")
    for name in runners:
        kind, _, workers = name.partition(":")
        runner = {"kind": kind} | ({"workers": int(workers)} if workers else {})
        run = folder / f"run-{count}-{kind}-{workers or 1}-{time.time_ns()}"
        params = EditParams(
            images=str(source), output=str(run), device="cpu", refine_steps=refine, runner=runner,  # type: ignore[arg-type]
            edits=[edit_form(target="a face with red hair", channels=20)],
        )  # fmt: skip
        begun = time.perf_counter()
        with Requests() as requests:
            flow(params)
        wall = time.perf_counter() - begun
        stamps = sorted(path.stat().st_mtime for path in run.glob("metrics/**/*.parquet"))
        # the first commits of all workers come at about the same time
        parallel = int(workers or 1)
        rate = (count - ROWS * parallel) / (stamps[-1] - stamps[parallel - 1])
        with get_client(sync_client=True) as client:
            task_runs = client.read_task_runs(
                task_run_filter=TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[ids[-1]]))
            )
        print(
            f"{name:12s} {count:6d} {wall:7.1f} {count / wall:9.2f} {rate:25.2f} {1000 / rate:9.1f} "
            f"{requests.count:9d} {len(task_runs):10d}",
            flush=True,
        )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True, dest="verb")
    of_images = verbs.add_parser("images")
    of_images.add_argument("--folder", type=Path, required=True)
    of_images.add_argument("--count", type=int, default=240)
    of_images.add_argument("--refine-steps", type=int, default=0)
    of_images.add_argument("--runner", action="append", help="here, processes:1, processes:2; repeat")
    of_stub = verbs.add_parser("stub")
    of_stub.add_argument("--shards", type=int, default=2000)
    of_stub.add_argument("--seconds", type=float, default=1.0)
    of_stub.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64])
    asked = parser.parse_args()
    if asked.verb == "stub":
        stub(asked.shards, asked.seconds, asked.workers)
    else:
        runners = asked.runner or ["here", "processes:1", "processes:2"]
        images(asked.folder, asked.count, runners, asked.refine_steps)


if __name__ == "__main__":
    main()
