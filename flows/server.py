"""A Prefect server for one process: it ends when that process ends, however that process ends.

Prefect's own temporary server stays behind when its client is killed. This one reads a pipe that the client holds
open: the pipe closes with the client, by kill -9 too. Run as `python -m flows.server PORT`.
"""

from __future__ import annotations

import os
import sys
import threading


def _end_with_client() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main(port: int) -> None:
    """Serve Prefect's API, without its pages and background services, on 127.0.0.1:port until stdin closes."""
    os.environ.setdefault("PREFECT_UI_ENABLED", "0")
    os.environ.setdefault("PREFECT__SERVER_EPHEMERAL", "1")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    threading.Thread(target=_end_with_client, daemon=True).start()
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=port, log_level="error"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
