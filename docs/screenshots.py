"""Screenshots of Prefect's real UI for the docs: the run forms, driven as people drive them, and the pages of a run.

    python docs/screenshots.py [--out docs/images/ui] [--browser /usr/bin/chromium]

Needs `pip install playwright` and a Chromium; neither is a dependency of the project. Starts a server of its own, makes
all deployments of prefect.yaml, fills in the forms, submits one per method and checks what the server was sent.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from avatars.world.samples import write_images

ROOT = Path(__file__).parent.parent
SETTLE = 1500
"""Milliseconds that the UI gets to draw itself."""
TOO_MUCH = {
    "global": {"steps", "mapper", "lambda_l2"},
    "mapper": {"beta", "channels", "steps"},
    "optimize": {"alpha"},
}
"""Method → fields of the others, which must not be sent with it."""


@contextmanager
def server(home: str) -> Iterator[str]:
    """A Prefect server with everything of prefect.yaml deployed; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    env = os.environ | quiet | {"PREFECT_HOME": home, "PREFECT_UI_API_URL": f"{url}/api"}
    prefect = [sys.executable, "-m", "prefect"]
    process = subprocess.Popen(
        [*prefect, "server", "start", "--port", str(port)],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(120):
            try:
                urllib.request.urlopen(f"{url}/api/health")
                break
            except OSError:
                time.sleep(0.5)
        env["PREFECT_API_URL"] = f"{url}/api"
        for call in (["work-pool", "create", "gpu", "--type", "process"], ["--no-prompt", "deploy", "--all"]):
            subprocess.run([*prefect, *call], env=env, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def ask(url: str, path: str, **body: Any) -> Any:
    """Post to the server's API."""
    call = urllib.request.Request(
        f"{url}/api{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    return json.load(urllib.request.urlopen(call))


def form(page: Page, url: str, deployment: str) -> None:
    """Open the run form of a deployment."""
    page.goto(f"{url}/v2/deployments/deployment/{deployment}/run")
    page.get_by_text("Parameters", exact=True).wait_for()
    page.wait_for_timeout(SETTLE)


def field(page: Page, title: str, value: str) -> None:
    """Fill in the field under a title."""
    label = page.get_by_text(title, exact=True).first
    label.locator("xpath=ancestor::div[.//textarea or .//input][1]").locator("textarea, input").first.fill(
        value
    )


def submit(page: Page, url: str, method: str) -> None:
    """Submit the form, and check that the run it makes was asked for fields of this method alone."""
    before = {run["id"] for run in ask(url, "/flow_runs/filter")}
    page.get_by_role("button", name="Submit").click()
    page.wait_for_timeout(2 * SETTLE)
    new = [run for run in ask(url, "/flow_runs/filter") if run["id"] not in before]
    assert len(new) == 1, f"{method}: the form made {len(new)} runs"
    (edit,) = new[0]["parameters"]["params"]["edits"]
    assert edit.get("method", "global") == method, edit
    assert not TOO_MUCH[method] & set(edit), edit
    print(f"{method}: {edit}")


def edited(url: str, folder: str) -> str:
    """Edit a few avatars under this server, as a command does; the id of the run."""
    write_images(f"{folder}/photos", 12, seed=77)
    (Path(folder) / "photos" / "cut-off.png").write_bytes(b"\x89PNG\r\n")
    words = ["-t", "a face with red hair", "-t", "a smiling face", "--shard-size", "4"]
    command = [
        sys.executable,
        "-c",
        "from flows.cli.main import run; run()",
        "edit",
        f"{folder}/photos",
        *words,
    ]
    env = os.environ | {"PREFECT_API_URL": f"{url}/api", "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, "-o", f"{folder}/red"], env=env, check=True, stdout=subprocess.DEVNULL)
    named = [run for run in ask(url, "/flow_runs/filter") if run["state_type"] == "COMPLETED"]
    return str(named[0]["id"])


def main() -> None:
    """Everything, into the folder of the docs."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "ui")
    asked.add_argument("--browser", default="/usr/bin/chromium")
    options = asked.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, server(home) as url, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=options.browser, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1500})
        ids = {each["name"]: each["id"] for each in ask(url, "/deployments/filter")}
        for method, needed in (
            ("global", {}),
            ("mapper", {"Mapper": "smile"}),
            ("optimize", {"Target": "a smiling face"}),
        ):
            form(page, url, ids["edit"])
            if method != "global":
                page.get_by_role("tab", name=method, exact=True).click()
                page.wait_for_timeout(SETTLE)
            for title, value in needed.items():
                field(page, title, value)
            page.screenshot(path=options.out / f"edit-{method}.png")
            submit(page, url, method)
        form(page, url, ids["train-mappers"])
        page.screenshot(path=options.out / "train-mappers.png")
        page.goto(f"{url}/deployments/deployment/{ids['edit']}/run")
        page.wait_for_timeout(2 * SETTLE)
        page.screenshot(path=options.out / "edit-v1.png")
        run = edited(url, home)
        page.set_viewport_size({"width": 1300, "height": 1000})
        page.goto(f"{url}/v2/runs/flow-run/{run}")
        page.wait_for_timeout(3 * SETTLE)
        page.screenshot(path=options.out / "run.png")
        summaries = [
            each for each in ask(url, "/artifacts/filter") if (each["key"] or "").startswith("edit-summary")
        ]
        page.goto(f"{url}/v2/artifacts/artifact/{summaries[0]['id']}")
        page.wait_for_timeout(2 * SETTLE)
        page.screenshot(path=options.out / "summary.png", full_page=True)
        browser.close()
    for picture in options.out.glob("*.png"):  # flat colours: a palette is a third of the size
        with Image.open(picture) as image:
            small = image.convert("RGB").quantize(128)
        small.save(picture, optimize=True)


if __name__ == "__main__":
    main()
