"""The report of a run: what it tells, that nothing ends it, and that a real browser shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from tiny_bundle import picture

from storage import encode_image, write_shard
from storage.errors import StorageError
from tasks.report.gather import FINE, HIGH, LOW, Distribution, gather_rows
from tasks.report.write import MAX_BYTES, write_report

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = '"><script>alert(1)</script>'


def row(image: int, edit: str, **values: object) -> dict[str, object]:
    return {
        "image_id": f"i{image}", "path": f"/photos/{NASTY}{image}.png", "input_hash": "0", "edit": edit, "status": "ok",
        "method": "global", "neutral": "a face", "target": NASTY, "alpha": 4.0, "channels_used": 5, "ms_edit": 2.0,
        "clip_gain": image / 10, "identity_reconstruction_edit": 1 - image / 10, "distance_reconstruction_edit": 0.1,
        "output": f"images/{edit}/i{image}.png",
    } | values  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards: three edits, a failed image, a picture that is cut off, one that is missing."""
    folder = tmp_path_factory.mktemp("report") / "run"
    made = {"weak": {"alpha": 2.0}, "strong": {"alpha": 8.0}, "own": {"method": "optimize"}}
    for shard in range(2):
        rows = []
        for image in range(4 * shard, 4 * shard + 4):
            for edit, how in made.items():
                bad = {"status": "failed", "error_class": "Empty", "reason": "no bytes", "output": None}
                rows.append(row(image, edit, **how, **(bad if image == 7 else {})))
                if image not in (1, 7):
                    encode_image(picture(image), str(folder / f"images/{edit}/i{image}.png"))
            encode_image(picture(image), str(folder / f"images/reconstruction/i{image}.png"))
        write_shard(str(folder), "edit", "r", shard, rows)
    (folder / "images/weak/i0.png").write_bytes((folder / "images/weak/i0.png").read_bytes()[:70])
    return folder


def browser(page: Path, *options: str) -> str:
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_the_page_tells_what_the_rows_say_and_escapes_it(run):
    written = write_report.fn(str(run))
    page = (run / "report.html").read_text()
    assert written.rows == 24 and 0 < written.bytes < MAX_BYTES and written.pictures > 10
    assert NASTY not in page and "&lt;script&gt;alert(1)" in page
    assert "Empty" in page and "no bytes" in page and "0.300" in page  # the mean gain of images 0 … 6
    assert "Strengths" in page and "Methods" in page
    outside = re.findall(r"(?:src|href)=[\"']?(?!#)[^\"'> ]+|url\(\"(?!data:)[^)]*|https?://[^\s\"<]+", page)
    assert outside == []


def test_damaged_rows_are_left_out_and_said(run, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    (file,) = copy.glob("metrics/**/shard-00001.parquet")
    file.write_bytes(file.read_bytes()[:50])
    assert write_report.fn(str(copy)).rows == 12
    assert "1 files of rows cannot be read" in (copy / "report.html").read_text()


def test_a_folder_without_rows_is_one_line(tmp_path):
    with pytest.raises(StorageError, match="holds no rows to report on"):
        write_report.fn(str(tmp_path))


@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_a_browser_filters_and_enlarges(run):
    write_report.fn(str(run))
    page = f"file://{run}/report.html"
    seen = browser(run, "--dump-dom", f"{page}#edit=own&rule=gain")
    shown = [tag for tag in re.findall(r'<button class="pair"[^>]*>', seen) if " hidden" not in tag]
    assert shown and all('data-edit="own"' in tag and "gain" in tag for tag in shown)
    assert f'id="count" class="soft">{len(shown)} pictures' in seen
    opened = browser(run, "--dump-dom", f"{page}#picture=0")
    assert re.search(r"<dialog open", opened) and "images/" in opened.split("<dialog open", 1)[1]


@pytest.mark.skipif(BROWSER is None, reason="no chromium here")
def test_nothing_is_wider_than_a_phone(run, tmp_path):
    write_report.fn(str(run))
    text = (run / "report.html").read_text()
    # the page itself measures, because --dump-dom shows only what stands in it
    probe = (
        "<script>document.title = `${document.documentElement.scrollWidth} of ${innerWidth}`</script></body>"
    )
    (tmp_path / "probe.html").write_text(text.replace("</body>", probe))
    seen = browser(run, "--window-size=500,800", "--dump-dom", f"file://{tmp_path}/probe.html")
    found = re.search(r"<title>(\d+) of (\d+)</title>", seen)
    assert found and int(found[1]) <= int(found[2]) <= 500


def test_a_distribution_knows_its_mean_and_quantiles():
    values = np.random.default_rng(0).normal(0.2, 0.1, 5000)
    seen = Distribution()
    for part in np.array_split(np.append(values, [np.nan, np.inf]), 7):
        seen.add(part)
    assert seen.count == 5000 and seen.mean == pytest.approx(values.mean())
    for share in (0.05, 0.5, 0.95):
        assert seen.quantile(share) == pytest.approx(np.quantile(values, share), abs=3 * (HIGH - LOW) / FINE)
    assert seen.bins(LOW, HIGH).sum() == 5000 and Distribution().mean is None


def test_rules_choose_what_they_say(run):
    part = gather_rows(str(run)).edits["weak"]
    assert [row["image_id"] for row in part.chosen["gain"]][:3] == ["i0", "i1", "i2"]
    assert [row["image_id"] for row in part.chosen["identity"]][:3] == ["i6", "i5", "i4"]
    assert (part.ok, part.failed) == (7, 1)
