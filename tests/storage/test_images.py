"""Whatever people call an image: a picture comes out, or ImageError with a class and a reason; nothing else."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from storage.errors import ImageError, StorageError
from storage.images import MAX_PIXELS, decode_image, encode_image

SIZE = 16
WHITE = (255, 255, 255)


def gradient(size: int = 24) -> np.ndarray:
    row = np.linspace(0, 255, size).astype(np.uint8)
    return np.stack(
        [np.tile(row, (size, 1)), np.tile(row[:, None], (1, size)), np.full((size, size), 90, np.uint8)], -1
    )


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(kind: str = "PNG") -> bytes:
    return encoded(Image.fromarray(gradient()), kind)


def png(width: int, height: int, depth: int, colour: int, lines: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG file by hand: Pillow writes neither bombs nor 48 bits."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), *extra]
    parts += [(b"IDAT", zlib.compress(lines)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_the_middle_of_a_picture_that_is_not_square():
    array = np.zeros((20, 60, 3), np.uint8)
    array[:, 20:40] = 255
    assert decode_image(encoded(Image.fromarray(array), "PNG"), 20).mean() == 255
    turned = np.ascontiguousarray(array.transpose(1, 0, 2))
    assert decode_image(encoded(Image.fromarray(turned), "PNG"), 20).mean() == 255


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_all_formats_give_the_same_picture(kind):
    difference = decode_image(plain(kind), 24).astype(int) - gradient()
    assert np.abs(difference).mean() < 4


def test_the_content_counts_and_not_the_name(tmp_path):
    (tmp_path / "really-a-png.jpg").write_bytes(plain("PNG"))
    np.testing.assert_array_equal(decode_image(str(tmp_path / "really-a-png.jpg"), 24), gradient())


def test_cmyk_becomes_rgb():
    picture = Image.fromarray(gradient()).convert("CMYK")
    assert np.abs(decode_image(encoded(picture, "JPEG"), 24).astype(int) - gradient()).mean() < 12


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.linspace(0, 65535, 24 * 24).reshape(24, 24).astype(np.uint16)
    ours = decode_image(encoded(Image.fromarray(values), "PNG"), 24)[:, :, 0]
    np.testing.assert_array_equal(ours, np.round(values / 257.0))


def test_sixteen_bits_per_colour_are_scaled_not_clipped():
    values = np.linspace(0, 65535, 8 * 8 * 3).reshape(8, 8, 3).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    ours = decode_image(png(8, 8, 16, 2, lines), 8)
    np.testing.assert_allclose(ours, values / 257.0, atol=1)


def test_sixteen_bits_with_a_clear_value_lie_on_white():
    values = np.full((4, 4), 700, ">u2")
    values[0] = 65535 // 2
    lines = b"".join(b"\0" + line.tobytes() for line in values)
    ours = decode_image(png(4, 4, 16, 0, lines, (b"tRNS", struct.pack(">H", 700))), 4)
    assert (ours[0] == 127).all() and (ours[1:] == 255).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "PA", "RGB", "L", "1"])
def test_transparency_lies_on_white(mode):
    options: dict[str, object] = {}
    if mode == "P":
        picture = Image.new("P", (20, 20), 0)
        picture.putpalette([10, 20, 30])
        options["transparency"] = 0
    elif mode == "PA":
        picture = Image.new("RGBA", (20, 20), (10, 20, 30, 0)).quantize(4)
    elif mode in ("RGB", "L", "1"):
        picture = Image.new(mode, (20, 20), 0)
        options["transparency"] = (0, 0, 0) if mode == "RGB" else 0
    else:
        picture = Image.new("RGBA", (20, 20), (10, 20, 30, 0)).convert(mode)
    assert (decode_image(encoded(picture, "PNG", **options), SIZE) == 255).all()


def test_half_transparency_is_half_white():
    half = Image.new("RGBA", (20, 20), (0, 100, 200, 128))
    for kind, options in [("PNG", {}), ("WEBP", {"lossless": True})]:
        np.testing.assert_allclose(
            decode_image(encoded(half, kind, **options), SIZE)[0, 0], (127, 177, 227), atol=1
        )


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_rotation_is_undone(kind, orientation):
    corner = np.zeros((24, 24, 3), np.uint8)
    corner[:12, :12], corner[:12, 12:] = 250, 120
    # How each orientation is stored (EXIF 2.3, table 6), written down without Pillow's own turning.
    stored = {
        1: corner,
        2: corner[:, ::-1],
        3: corner[::-1, ::-1],
        4: corner[::-1],
        5: corner.transpose(1, 0, 2),
        6: np.rot90(corner),
        7: corner[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(corner, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, quality=95)
    assert np.abs(decode_image(data, 24).astype(int) - corner).mean() < 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12"]
)
def test_a_damaged_exif_block_is_no_damaged_picture(kind, exif):
    data = encoded(Image.fromarray(gradient()), kind, exif=exif)
    assert np.abs(decode_image(data, 24).astype(int) - gradient()).mean() < 4


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (decode_image(data, SIZE) == (255, 0, 0)).all()


def png_bomb(width: int = 50_000, height: int = 50_000) -> bytes:
    return png(width, height, 8, 2, b"\0" * 100)


def jpeg_bomb() -> bytes:
    """A JPEG whose header promises 65500 × 65500 pixels."""
    data = bytearray(plain("JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def webp_bomb() -> bytes:
    """A WebP file whose header promises the largest canvas there is; its decoder would take it from memory at once."""
    data = bytearray(encoded(Image.new("RGBA", (4, 4), (1, 2, 3, 99)), "WEBP", exif=b"Exif\0\0x"))
    assert data[12:16] == b"VP8X"
    data[24:30] = (16_382).to_bytes(3, "little") * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "error_class"),
    [
        (b"", "Empty"),
        (b"hello, I am text", "NotAnImage"),
        (b"\0" * 1000, "NotAnImage"),
        (b"RIFF\0\0\0\0WAVEfmt ", "NotAnImage"),
        (encoded(Image.new("RGB", (9, 9)), "GIF"), "UnsupportedFormat"),
        (encoded(Image.new("RGB", (9, 9)), "BMP"), "UnsupportedFormat"),
        (encoded(Image.new("RGB", (9, 9)), "TIFF"), "UnsupportedFormat"),
        (b"\0\0\0\x18ftypheic", "UnsupportedFormat"),
        (b"%PDF-1.7", "UnsupportedFormat"),
        (plain("PNG")[:80], "Truncated"),
        (plain("JPEG")[:300], "Truncated"),
        (plain("WEBP")[:60], "Truncated"),
        (png_bomb(), "TooLarge"),
        (jpeg_bomb(), "TooLarge"),
        (webp_bomb(), "TooLarge"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_used_says_why(data, error_class):
    with pytest.raises(ImageError) as caught:
        decode_image(data, SIZE)
    assert caught.value.error_class == error_class
    assert caught.value.reason and "\n" not in caught.value.reason


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_file_cut_off_anywhere_is_truncated_or_still_whole(kind):
    data = plain(kind)
    for end in range(1, len(data) - 20, 7):
        with pytest.raises(ImageError) as caught:
            decode_image(data[:end], SIZE)
        assert caught.value.error_class in ("Truncated", "NotAnImage"), end


def test_the_limit_is_a_number_of_pixels(monkeypatch):
    monkeypatch.setattr("storage.images.MAX_PIXELS", 24 * 24)
    assert decode_image(plain(), 24).shape == (24, 24, 3)
    monkeypatch.setattr("storage.images.MAX_PIXELS", 24 * 24 - 1)
    with pytest.raises(ImageError, match="24×24"):
        decode_image(plain(), SIZE)


def test_a_file_of_absurd_length_is_not_read(tmp_path):
    with open(tmp_path / "huge.png", "wb") as file:
        file.write(plain())
        file.truncate(2 << 40)  # a hole: takes no room on the disk
    with pytest.raises(ImageError, match="TooLarge: 2,199,023,255,552 bytes"):
        decode_image(str(tmp_path / "huge.png"), SIZE)


BOMBS = """
import resource, sys
from storage.errors import ImageError
from storage.images import decode_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        decode_image(path, 16)
        sys.exit(f"{path} was decoded")
    except ImageError as error:
        assert error.error_class == "TooLarge", error
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_bombs_take_no_memory(tmp_path):
    paths = []
    # The last one is within Pillow's own limit for errors, so that only ours holds it back.
    for number, data in enumerate([png_bomb(), jpeg_bomb(), webp_bomb(), png_bomb(10_001, 10_000)]):
        paths.append(tmp_path / f"{number}.png")
        paths[-1].write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BOMBS, *paths], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    kilobytes = int(done.stdout) * (1 if sys.platform != "darwin" else 1 / 1024)
    assert kilobytes < 30_000, "a bomb went off"


def test_threads_do_not_disturb_each_other_or_the_process(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1234)  # the host program's own setting
    good, bad = plain(), [png_bomb(), jpeg_bomb(), webp_bomb(), plain()[:90]]

    def one(number: int) -> str:
        try:
            return (
                "ok"
                if np.array_equal(decode_image(good if number % 2 else bad[number % 4], 24), gradient())
                else "?"
            )
        except ImageError as error:
            return error.error_class

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(400)))
    assert found[1::2] == ["ok"] * 200 and set(found[::2]) <= {"TooLarge", "Truncated"}
    assert Image.MAX_IMAGE_PIXELS == 1234 and MAX_PIXELS > 1234


def test_files_that_are_gone_or_no_files(tmp_path):
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name, error_class in [
        ("none.png", "NotFound"),
        ("gone.png", "NotFound"),
        ("folder.png", "Unreadable"),
        ("pipe.png", "Unreadable"),
        ("loop.png", "Unreadable"),
        ("folder.png/x.png", "NotFound"),
        ("a" * 300 + ".png", "Unreadable"),
        ("nul\0.png", "Unreadable"),
    ]:
        with pytest.raises(ImageError) as caught:
            decode_image(str(tmp_path / name), SIZE)
        assert caught.value.error_class == error_class, (name, caught.value)


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG", "WEBP"]), data=st.data())
def test_damage_never_escapes_as_another_error(kind, data):
    damaged = bytearray(plain(kind))
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(1, len(damaged))) :]
    try:
        picture = decode_image(bytes(damaged), SIZE)
    except ImageError as error:
        assert error.error_class and error.reason
    else:
        assert picture.shape == (SIZE, SIZE, 3) and picture.dtype == np.uint8


@settings(max_examples=100, deadline=None)
@given(
    start=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x99\0\0\0WEBPVP8X", b"RIFF1234WEBPVP8L/"]
    ),
    data=st.binary(max_size=200),
)
def test_random_bytes_are_no_image(start, data):
    with pytest.raises(ImageError):
        decode_image(start + data, SIZE)


COLOURS = {
    "1": (1, (255, 255, 255)),
    "L": (77, (77, 77, 77)),
    "LA": ((77, 255), (77, 77, 77)),
    "P": (0, (10, 20, 30)),
    "RGB": ((10, 20, 30), (10, 20, 30)),
    "RGBA": ((10, 20, 30, 255), (10, 20, 30)),
    "I;16": (77 * 257, (77, 77, 77)),
    "CMYK": ((0, 255, 255, 0), (255, 0, 0)),
}


@settings(max_examples=120, deadline=None)
@given(
    case=st.sampled_from(
        [(mode, "PNG") for mode in COLOURS if mode != "CMYK"]
        + [(mode, "JPEG") for mode in ("L", "RGB", "CMYK")]
        + [(mode, "WEBP") for mode in ("RGB", "RGBA")]
    ),
    width=st.integers(1, 60),
    height=st.integers(1, 60),
    size=st.integers(1, 40),
)
def test_every_mode_and_size_becomes_a_square_of_its_colour(case, width, height, size):
    mode, kind = case
    given_colour, expected = COLOURS[mode]
    picture = Image.new(mode, (width, height), given_colour)
    if mode == "P":
        picture.putpalette([10, 20, 30])
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode_image(encoded(picture, kind, **options), size)
    assert decoded.shape == (size, size, 3) and decoded.dtype == np.uint8
    assert np.abs(decoded.astype(int) - expected).max() <= (4 if kind == "JPEG" else 0)


def test_very_long_and_thin_pictures():
    for shape in [(1, 20_000), (20_000, 1)]:
        assert (decode_image(encoded(Image.new("RGB", shape, WHITE), "PNG"), SIZE) == 255).all()


def test_a_bomb_of_text_beside_a_small_picture():
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    with pytest.raises(ImageError, match="Truncated"):
        decode_image(encoded(Image.fromarray(gradient()), "PNG", pnginfo=info), SIZE)


@pytest.mark.parametrize(
    "name",
    [
        "a.png",
        "a b\n#%.png",
        "ü/ö.webp",
        "-x.jpg",
        "--help.png",
        "a::b/c:d.png",
        os.fsdecode(b"\xff.png"),
        "%20.png",
    ],
)
def test_pictures_come_back_from_oddly_named_files(tmp_path, name):
    encode_image(gradient(), str(tmp_path / name))
    assert np.abs(decode_image(str(tmp_path / name), 24).astype(int) - gradient()).mean() < 4
    assert not list(tmp_path.rglob("*.tmp"))


def test_other_endings_are_not_written(tmp_path):
    with pytest.raises(StorageError, match=r"written as \.png, \.jpg or \.webp"):
        encode_image(gradient(), str(tmp_path / "a.bmp"))
    assert not list(tmp_path.iterdir())
