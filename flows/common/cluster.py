"""A Dask cluster to work on, brought by the user or started here, and a look at its workers before the work."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.deploy.cluster import Cluster
from distributed.security import Security

from flows.common.crew import address_of, addresses, scheduler_gone
from flows.common.reporting import one_line
from flows.forms.runners import Runner, RunnerError
from storage.errors import StorageError
from tasks.process.devices import environments, gpus_for, usual_workers
from tasks.process.units import LOG, Sight, Unit, arrive

PATIENCE = 60.0
"""Seconds until a scheduler answers and has a worker."""

LOAD_PATIENCE = 900.0
"""Seconds until all workers have loaded their models."""

QUIET = {
    "distributed.scheduler.worker-saturation": 1.0,  # a worker holds one unit: its death blames no other
    "distributed.comm.timeouts.connect": "10s",
}


@contextmanager
def connected(runner: Runner, device: str, items: int, log: Any) -> Iterator[Client]:
    """A client of the runner's cluster; what was started here ends with the block.

    Raises RunnerError for a scheduler that does not answer or a class that is none.
    """
    # its tracebacks about lost connections say nothing that our own lines do not
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    if runner.address:
        with _client(runner.address, runner.address, None) as client:
            yield client
        return
    with dask.config.set(QUIET):
        if runner.cluster:
            cluster = _of_class(runner)
        else:
            workers = min(runner.workers or usual_workers(gpus_for(device)), items)
            log.info("%d worker processes on this machine", workers)
            cluster = local_cluster(workers, device)
    try:
        with _client(cluster, cluster.scheduler_address, getattr(cluster, "security", None)) as client:
            yield client
    finally:
        cluster.close()


@contextmanager
def _client(target: Any, address: str, security: Any) -> Iterator[Client]:
    try:
        client = Client(target, set_as_default=False, timeout=10, security=security)
    except (OSError, ValueError, ImportError) as error:
        why = " ".join(str(error).split())[:200]
        raise RunnerError(
            f"no Dask scheduler answers at {address} ({why}): start it with `dask scheduler`, and its workers with "
            f"`styleclip workers start --address {address}`"
        ) from None
    try:
        yield client
    finally:
        client.close(timeout=5)


def local_cluster(workers: int, device: str) -> SpecCluster:
    """`workers` processes of this machine, one per GPU or with a share of the cores; a dead one is started anew."""
    each = {"nthreads": 1, "memory_limit": None, "host": "127.0.0.1", "silence_logs": logging.CRITICAL}
    security = Security.temporary()  # other people of this machine must not be able to send it code
    return SpecCluster(
        workers={
            number: {"cls": Nanny, "options": {**each, "env": environment, "security": security}}
            for number, environment in enumerate(environments(workers, gpus_for(device)))
        },
        # a unit whose worker has died comes back at once: the crew does it again, alone
        scheduler={
            "cls": Scheduler,
            "options": {
                "allowed_failures": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0", "host": "127.0.0.1",
                "port": 0, "security": security,
            },
        },
        security=security,
        silence_logs=logging.CRITICAL,
    )  # fmt: skip


def _of_class(runner: Runner) -> Any:
    module, _, name = str(runner.cluster).replace(":", ".").rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RunnerError(f"there is no cluster class {runner.cluster} here: {error}") from None
    if not (isinstance(kind, type) and issubclass(kind, Cluster)):
        raise RunnerError(f"{runner.cluster} is no class of Dask clusters")
    try:
        cluster = kind(**runner.arguments)
        if runner.workers:
            cluster.scale(runner.workers)
    except Exception as error:
        why = one_line(error)[:300]
        raise RunnerError(f"{runner.cluster} could not be started: {why}") from None
    return cluster


def survey(
    client: Client, unit: Unit[Any, Any, Any], job: Any, log: Any, patience: float = PATIENCE
) -> Sight:
    """Let every worker load its models and say what it sees, before the first one gets work; what all must see.

    Raises RunnerError when there is no worker, or when one cannot run this program; WorkerUnfit when one sees another
    version, other weights, or another output.
    """
    expected = unit.sight(job)
    address = address_of(client)
    begun = time.monotonic()
    while not (workers := addresses(client, address)):
        if time.monotonic() - begun > patience:
            raise RunnerError(
                f"no worker is connected to the Dask scheduler at {address}: start some with "
                f"`styleclip workers start --address {address}`"
            )
        time.sleep(0.5)
    looks = {
        worker: client.submit(
            arrive,
            unit.sight,
            job,
            expected,
            workers=[worker],
            pure=False,
            key=f"look-{worker}-{time.time_ns()}",
        )
        for worker in workers
    }
    names = []
    for worker, future in looks.items():
        try:
            names.append(future.result(timeout=LOAD_PATIENCE))
        except StorageError:
            raise
        except TimeoutError:
            raise RunnerError(
                f"the worker at {worker} has not loaded its models in {LOAD_PATIENCE:.0f} s"
            ) from None
        except Exception as error:
            if future.status in ("cancelled", "lost"):
                raise scheduler_gone(address) from None
            why = one_line(error)[:300]
            raise RunnerError(f"the worker at {worker} cannot run this program ({why})") from None
    log.info("%d workers ready: %s", len(names), ", ".join(sorted(names)[:8]))
    return expected


class ToRun(logging.Handler):
    """What units say, into the log of the run in Prefect."""

    def __init__(self, log: Any) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over."""
        self._log.log(record.levelno, "%s", record.getMessage())


@contextmanager
def heard(log: Any, client: Client | None = None) -> Iterator[None]:
    """While the block runs, what units say here, and in the workers of `client`, is in the run's log."""
    handler = ToRun(log)
    LOG.propagate = False
    LOG.addHandler(handler)
    try:
        if client is not None:
            client.forward_logging(LOG.name, logging.INFO)
        yield
    finally:
        LOG.removeHandler(handler)
