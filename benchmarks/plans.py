"""What planning costs, from ten thousand to a million images: the plan, going on with nothing to do, and a shard's own.

    python benchmarks/plans.py 10000 100000 1000000

Images are hard links of one small file; no network runs. Each figure comes from a process of its own, and memory is
that process's peak above its imports. "grow" plans ten new images; "shard" is what each shard costs before and after
its work on the device: finding its images, and committing its rows, without the disk's own time to make a file last
(fsync), which is given beside it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from storage import durable
from storage.datasets import content_hash, list_images
from storage.growth import Kept, Wanted, keep_plan
from storage.metrics import finished_shards, write_shard
from storage.plan import path_of, shard_of
from storage.reading import read_metrics  # noqa: F401  what a run imports

PER_FOLDER, LINKS, SHARDS = 1000, 60_000, 300


def make(folder: Path, count: int) -> None:
    """`count` image files below `folder`, links of as few files as the file system allows."""
    for number in range(count):
        inside = folder / f"part{number // PER_FOLDER:04d}"
        if number % PER_FOLDER == 0:
            inside.mkdir(parents=True)
        if number % LINKS == 0:
            first = inside / f"image-{number:07d}.png"
            first.write_bytes(b"\x89PNG small")
        else:
            os.link(first, inside / f"image-{number:07d}.png")


def plan(images: Path, run: Path) -> Kept:
    """What an edit run does to plan, but for its models."""
    folder = list_images(str(images), str(run))
    wanted = Wanted(
        folder.table, folder.root, ({"name": "red"}, {"name": "hat"}), 32, {"flow": "edit", "seed": 0},
        lambda _, names: [content_hash(path_of(folder.root, name)) for name in names],
    )  # fmt: skip
    return keep_plan(str(run), wanted)


def one_shard(run: str, number: int) -> None:
    """A shard without its work: its images from the plan, its rows into their file."""
    planned = shard_of(run, number)
    rows = [
        {
            "image_id": image.id, "path": image.path, "input_hash": "0" * 16, "edit": edit, "status": "ok",
            "clip_gain": 0.1, "generation": planned.generation,
        }
        for image in planned.images
        for edit in planned.names
    ]  # fmt: skip
    write_shard(run, "edit", planned.run_id, number, rows)


def shards(run: Path, numbers: list[int]) -> tuple[float, float, float]:
    """Milliseconds per shard: without fsync, on the processor, and of the fsyncs."""
    waited = [0.0]
    sync = os.fsync

    def timed(descriptor: int) -> None:
        begun = time.perf_counter()
        sync(descriptor)
        waited[0] += time.perf_counter() - begun

    one_shard(str(run), numbers[0])  # opens the table, as the first shard of a process does
    durable.os.fsync = timed
    begun, on_cpu = time.perf_counter(), time.process_time()
    for number in numbers[1:]:
        one_shard(str(run), number)
    took, on_cpu = time.perf_counter() - begun, time.process_time() - on_cpu
    durable.os.fsync = sync
    each = 1000 / (len(numbers) - 1)
    return (took - waited[0]) * each, on_cpu * each, waited[0] * each


def finish(run: Path, kept: Kept) -> None:
    """Commit every shard without its rows' cost: links to one file, which is all that going on looks at."""
    done = finished_shards(str(run), "edit", kept.generation.run_id)
    folder = run / "metrics" / "flow=edit" / f"run=r-{kept.generation.run_id}"
    first = folder / f"shard-{min(done):05d}.parquet"
    for number in set(kept.missing) - done:
        shutil.copyfile(first, folder / f"shard-{number:05d}.parquet")


def alone(what: Callable[[], object]) -> tuple[object, str]:
    """(result, "seconds, of which on the processor, MiB above the imports") of a call in a process of its own."""
    parent, child = multiprocessing.Pipe()

    def work() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun, on_cpu = time.perf_counter(), time.process_time()
        result = what()
        took, on_cpu = time.perf_counter() - begun, time.process_time() - on_cpu
        memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        child.send((result, f"{took:.1f} s ({on_cpu:.1f} s of processor), {memory:.0f} MiB"))

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    found = parent.recv()
    process.join()
    return found


def measure(place: Path, count: int) -> None:
    """One line of the table."""
    images, run = place / "images", place / "run"
    make(images, count)
    cells = [f"{count:,}"]
    kept, cost = alone(lambda: plan(images, run))
    cells.append(cost)
    assert isinstance(kept, Kept)
    numbers = kept.missing[:: max(1, len(kept.missing) // SHARDS)]
    (own, on_cpu, disk), _ = alone(lambda: shards(run, numbers))  # type: ignore[misc]
    cells.append(f"{own:.1f} ms ({on_cpu:.1f} ms of processor) + {disk:.1f} ms fsync")
    finish(run, kept)
    again, cost = alone(lambda: plan(images, run))
    assert isinstance(again, Kept) and not again.missing and again.generation.number == 0
    cells.append(cost)
    make(images / "new", 10)
    grown, cost = alone(lambda: plan(images, run))
    assert isinstance(grown, Kept) and grown.generation.changes["new"] == 10
    cells.append(cost)
    size = sum(file.stat().st_size for file in run.glob("plan*")) + sum(
        file.stat().st_size for file in (run / "plan").iterdir()
    )
    cells.append(f"{size / 2**20:.1f} MiB")
    print("| " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """A Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="+", type=int)
    parser.add_argument("--place", help="folder for the files; default: a temporary one")
    arguments = parser.parse_args()
    print(
        "| images | plan | each shard | go on, nothing to do | grow by 10 | plan on disk |\n|---|---|---|---|---|---|"
    )
    for count in arguments.counts:
        with tempfile.TemporaryDirectory(dir=arguments.place) as place:
            measure(Path(place), count)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
