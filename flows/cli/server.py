"""A Prefect server for one process: it ends when that process ends, however that process ends.

Prefect's own temporary server stays behind when its client is killed. This one reads a pipe that the client holds
open: the pipe closes with the client, by kill -9 too. Nothing else ends it: Ctrl-C in a terminal and SIGTERM from
systemd or Slurm reach the whole group, and the client still has to report how its run ended.
Run as `python -m flows.cli.server PORT DATABASE`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import threading
from pathlib import Path


def _migrate(database: Path) -> None:
    """Make or upgrade the tables; one server at a time, because two at once break each other's migration."""
    from prefect.server.database import provide_database_interface

    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        asyncio.run(provide_database_interface().create_db())


def _serve(port: int, database: Path) -> None:
    try:
        _migrate(database)
        import uvicorn

        # outside the main thread it takes no signals
        uvicorn.run(
            "prefect.server.api.server:create_app",
            factory=True,
            host="127.0.0.1",
            port=port,
            log_level="error",
        )
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(1)


def main(port: int, database: Path) -> None:
    """Serve Prefect's API, without its pages and background services, on 127.0.0.1:port until stdin closes."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    for setting in [name for name in os.environ if "_DATABASE_" in name and name.startswith("PREFECT_")]:
        del os.environ[setting]
    os.environ |= {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_DATABASE_MIGRATE_ON_START": "false",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    }
    os.environ.setdefault("PREFECT_UI_ENABLED", "0")
    os.environ.setdefault("PREFECT__SERVER_EPHEMERAL", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    threading.Thread(target=_serve, args=(port, database), daemon=True).start()
    os.read(0, 1)  # nothing is ever written: it returns when the client is gone
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
