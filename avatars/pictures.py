"""The README's pictures: `python -m avatars.pictures RUN docs/images` tiles the pictures of an edit run.

RUN is an output folder of `styleclip edit` or `styleclip demo`; the first picture shows sources and edits side by side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

SCALE, GAP, CAPTION = 2, 4, 18
PAPER, INK = (255, 255, 255), (60, 60, 70)


def tile(run: Path, folders: list[str], captions: list[str], ids: list[str]) -> Image.Image:
    """One row per image id, one column per picture folder of the run, captions on top."""
    first = Image.open(run / "images" / folders[0] / f"{ids[0]}.png")
    side = first.width * SCALE
    sheet = Image.new(
        "RGB", (len(folders) * (side + GAP) - GAP, CAPTION + len(ids) * (side + GAP) - GAP), PAPER
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for column, (folder, caption) in enumerate(zip(folders, captions, strict=True)):
        left = column * (side + GAP)
        draw.text((left + side / 2, CAPTION / 2 - 1), caption, INK, font, anchor="mm")
        for row, image_id in enumerate(ids):
            with Image.open(run / "images" / folder / f"{image_id}.png") as picture:
                enlarged = picture.resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(enlarged, (left, CAPTION + row * (side + GAP)))
    return sheet


def main() -> None:
    """Tile a run."""
    parser = argparse.ArgumentParser(prog="python -m avatars.pictures", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path, help="the PNG file to write")
    parser.add_argument("--edit", action="append", required=True, help="FOLDER=CAPTION, in order; repeat")
    parser.add_argument("--id", action="append", required=True, help="image id; repeat")
    arguments = parser.parse_args()
    folders, captions = zip(*(text.split("=", 1) for text in arguments.edit), strict=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    tile(arguments.run, list(folders), list(captions), arguments.id).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()
