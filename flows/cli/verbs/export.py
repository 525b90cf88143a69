"""styleclip export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.cli.asked import made, options
from flows.cli.options import Json, check_folder
from flows.cli.talk import Voice, verb
from tasks.jobs import ExportJob

if TYPE_CHECKING:
    from flows.export import ExportSummary

OPEN = {
    "imagefolder": "load_dataset('imagefolder', data_dir='{}')",
    "parquet": "load_dataset('{}')",
    "webdataset": "load_dataset('webdataset', data_files='{}/*/*.tar')",
}


@verb
@options(ExportJob, arguments=("run",))
def export(as_json: Json = False, **asked: Any) -> None:
    """Pack the good pairs of a run as a dataset.

    Each pair is a source and its edit. Conditions know the columns of the rows, and identity, gain, direction, pixels,
    clipped and channels as short names. Writes a dataset card and Croissant.

    \b
    Example:
      styleclip export runs/red --output sets/red --to webdataset --accept "identity > 0.8 and gain > 0.1"
    """
    from storage.accept import Accept
    from storage.splits import shares

    voice = Voice(as_json)
    job = made(ExportJob, asked)
    check_folder(job.run, "results")
    Accept.parse(job.accept)
    shares(job.split)
    from flows.cli.running import run_flow

    voice.say(f"Export the pairs of {job.run} as {job.to} into {job.output}")

    summary: ExportSummary = run_flow("flows.export:export", job)
    splits = ", ".join(f"{name} {count}" for name, count in summary.splits.items())
    voice.say(
        f"Done: {summary.accepted} of {summary.rows} rows were accepted ({splits}), in {summary.packs} packs."
    )
    voice.say(f"Card: {summary.output}/README.md, {summary.output}/croissant.json")
    voice.say(f"Open: {OPEN[job.to].format(summary.output)}")
    voice.finish(summary)
