"""Groups of attributes as units of work that any process can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.context import TaskRunContext

from storage import uris
from tasks.jobs import MapperAttribute, MapperJob
from tasks.mappers.train import Trained, train
from tasks.process.limits import device_limit
from tasks.process.models import bundle
from tasks.process.plans import sees
from tasks.process.units import LOG, Sight, Unit


@dataclass(frozen=True)
class Group:
    """Attributes of one shape that are trained together, under their `group_name`."""

    name: str
    attributes: list[MapperAttribute]


@device_limit()
def train_group(job: MapperJob, group: Group) -> list[Trained]:
    """`train`, which tells how far it is: in a progress artifact, or in the run's log where there is no Prefect."""
    return train(job, group.name, group.attributes, _reporter(group.name))


def _reporter(group: str) -> Callable[[float], object]:
    if TaskRunContext.get() is None:
        return lambda share: LOG.info("mappers %s: %.0f %%", group, share)
    artifact = create_progress_artifact(0.0, key=f"train-mappers-{group}")
    assert isinstance(artifact, UUID)
    return lambda share: update_progress_artifact(artifact, share)


def look(job: MapperJob) -> Sight:
    """Load the models, and look at the output."""
    models = bundle(job.bundle, job.device)
    there = uris.exists(uris.join(job.output, "training.json"))
    where = "this run" if there else f"no run in {job.output}"
    return sees(models, where)


def none_missing(_job: MapperJob) -> list[Group]:
    """Files do not tell which groups are finished; one that is begun again does no step twice."""
    return []


def name_of(group: Group) -> str:
    """How a group is called."""
    return group.name


TRAIN = Unit(
    name="train mappers",
    noun="group",
    work=train_group,
    sight=look,
    missing=none_missing,
    label=name_of,
)
