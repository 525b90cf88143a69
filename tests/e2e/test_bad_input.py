"""A folder as people have them: each file ends as an edited picture or as a failed row with class and reason."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_bundle import SIZE, as_png, picture

from flows.edit import edit
from flows.forms.edits import edit_form
from flows.forms.runs import EditParams
from storage import read_metrics

pytestmark = pytest.mark.usefixtures("prefect_server")


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def bomb() -> bytes:
    """A PNG of a few kilobytes whose header promises 40,000 × 40,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10_000))
        + chunk(b"IEND", b"")
    )


def write_nasty_folder(folder: Path) -> tuple[set[str], dict[str, str]]:
    """Files that must become pictures (their names), and files that must fail (name → class)."""
    rgb = Image.fromarray(picture(1, 40))
    rotated = Image.Exif()
    rotated[0x0112] = 6
    alpha = rgb.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(rgb.size))
    frames = [Image.fromarray(picture(seed, 40)) for seed in (1, 2, 3)]
    sixteen = Image.fromarray(picture(1, 40)[..., 0].astype(np.uint16) * 257)
    good = {
        "plain.png": as_png(picture(1)),
        "animated.webp": encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
        "animated.png": encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]),
        "cmyk.jpg": encoded(rgb.convert("CMYK"), "JPEG"),
        "sixteen-bit.png": encoded(sixteen, "PNG"),
        "alpha.png": encoded(alpha, "PNG"),
        "palette.png": encoded(rgb.convert("P"), "PNG"),
        "grey.jpeg": encoded(rgb.convert("L"), "JPEG"),
        "rotated.jpg": encoded(rgb, "JPEG", exif=rotated),
        "wide.JPG": encoded(rgb.resize((90, 20)), "JPEG"),
        "one pixel.png": as_png(picture(1, 1)),
        "näme with späce & ü 写真.png": as_png(picture(2)),
        "-rf.png": as_png(picture(3)),
        "a'b\"c;$(x).png": as_png(picture(4)),
        "twice.png": as_png(picture(5)),
        "twice.jpg": encoded(rgb, "JPEG"),
        "sub/dir/plain.png": as_png(picture(6)),
        "jpeg-inside.png": encoded(rgb, "JPEG"),
        "x" * 200 + ".png": as_png(picture(7)),
    }
    bad = {
        "zero.png": (b"", "Empty"),
        "text.jpg": (b"I am no picture", "NotAnImage"),
        "truncated.png": (as_png(picture(1, 60))[:200], "Truncated"),
        "truncated.jpg": (encoded(rgb, "JPEG")[:400], "Truncated"),
        "bomb.png": (bomb(), "TooLarge"),
        "tiff.jpg": (encoded(rgb, "TIFF"), "UnsupportedFormat"),
    }
    for name, data in good.items() | {name: data for name, (data, _) in bad.items()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "dangling.png").symlink_to(folder / "nowhere.png")
    (folder / "notes.txt").write_text("not even by name")
    (folder / ".hidden.png").write_bytes(as_png(picture(8)))
    return set(good), {name: error for name, (_, error) in bad.items()}


def test_every_file_ends_as_a_picture_or_as_a_failed_row(tiny, tmp_path):
    good, bad = write_nasty_folder(tmp_path / "images")
    run = tmp_path / "run"
    params = EditParams(
        images=str(tmp_path / "images"), output=str(run), bundle=tiny, device="cpu", shard_size=4,
        edits=[edit_form(name="smile", target="a smiling face", alpha=[2, 3])], max_failed_fraction=0.3,
        save_source=True,
    )  # fmt: skip
    state = edit(params, return_state=True)
    assert state.is_completed(), state.message
    summary = state.result()
    rows = read_metrics(str(run))
    rows["file"] = [os.path.relpath(path, tmp_path / "images") for path in rows["path"]]
    assert not rows.duplicated(["file", "edit"]).any() and not rows.duplicated(["image_id", "edit"]).any()
    done, failed = rows[rows["status"] == "ok"], rows[rows["status"] == "failed"]
    assert set(done["file"]) == good
    found = dict(zip(failed["file"], failed["error_class"], strict=True))
    assert {name: found[name] for name in bad} == bad
    assert set(found) - set(bad) <= {"dangling.png"}
    assert failed["reason"].str.len().gt(0).all() and not failed["reason"].str.contains("\n").any()
    assert len(done) == 2 * len(good) and summary.skipped_files == 1
    for output in done["output"]:
        with Image.open(run / output) as image:
            assert image.size == (SIZE, SIZE) and image.mode == "RGB"
    assert all(path.resolve().is_relative_to(run) for path in run.rglob("*"))


def test_pictures_are_seen_as_people_see_them(tiny, tmp_path):
    """The source as the models saw it: rotation undone, transparency on white, 16 bits scaled, the first frame."""
    write_nasty_folder(tmp_path / "images")
    run = tmp_path / "run"
    edit(
        EditParams(
            images=str(tmp_path / "images"),
            output=str(run),
            bundle=tiny,
            device="cpu",
            save_source=True,
            edits=[edit_form(target="a smiling face")],
            max_failed_fraction=0.3,
        )
    )
    rows = read_metrics(str(run)).set_index("path")["image_id"]
    rgb = Image.fromarray(picture(1, 40)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    straight = np.asarray(rgb, float)

    def seen(name: str) -> np.ndarray:
        with Image.open(run / "images" / "source" / f"{rows[str(tmp_path / 'images' / name)]}.png") as image:
            return np.asarray(image, float)

    assert np.abs(seen("animated.png") - straight).mean() < 2
    assert np.abs(seen("rotated.jpg") - np.rot90(straight, -1)).mean() < 12
    assert np.abs(seen("cmyk.jpg") - straight).mean() < 12
    assert np.abs(seen("sixteen-bit.png")[..., 0] - straight[..., 0]).mean() < 3
    assert seen("alpha.png")[0].mean() > seen("alpha.png")[-1].mean() and seen("alpha.png")[0].min() > 230
