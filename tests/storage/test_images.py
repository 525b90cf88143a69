"""Whatever people call an image: a picture comes out, or ImageError with a class and a reason; nothing else."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from storage.errors import ImageError
from storage.images import decode_image, encode_image

SIZE = 16


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


def test_the_middle_of_a_picture_that_is_not_square():
    array = np.zeros((20, 60, 3), np.uint8)
    array[:, 20:40] = 255
    assert decode_image(encoded(Image.fromarray(array), "PNG"), 20).mean() == 255


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_all_formats_give_the_same_picture(kind):
    difference = decode_image(plain(kind), 24).astype(int) - gradient()
    assert np.abs(difference).mean() < 4


def test_cmyk_becomes_rgb():
    picture = Image.fromarray(gradient()).convert("CMYK")
    assert np.abs(decode_image(encoded(picture, "JPEG"), 24).astype(int) - gradient()).mean() < 12


def test_sixteen_bits_are_scaled_not_clipped():
    values = np.linspace(0, 65535, 24 * 24).reshape(24, 24).astype(np.uint16)
    ours = decode_image(encoded(Image.fromarray(values), "PNG"), 24)[:, :, 0]
    np.testing.assert_allclose(ours, values / 257.0, atol=0.51)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_on_white(mode):
    clear = Image.new("RGBA", (20, 20), (10, 20, 30, 0))
    if mode == "P":
        picture = Image.new("P", (20, 20), 0)
        picture.putpalette([10, 20, 30])
        data = encoded(picture, "PNG", transparency=0)
    else:
        data = encoded(clear.convert(mode), "PNG")
    assert (decode_image(data, SIZE) == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_the_cameras_rotation_is_undone(kind):
    array = np.zeros((24, 24, 3), np.uint8)
    array[:12] = 250
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: turn it clockwise to see it upright
    upright = decode_image(encoded(Image.fromarray(array), kind, exif=exif), 24)
    assert upright[:, 14:].mean() > 200 and upright[:, :10].mean() < 50


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_gives_its_first_frame(kind):
    frames = [Image.new("RGB", (20, 20), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (decode_image(data, SIZE) == (255, 0, 0)).all()


def bomb() -> bytes:
    """A PNG whose header promises 50000 × 50000 pixels."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "error_class"),
    [
        (b"", "Empty"),
        (b"hello, I am text", "NotAnImage"),
        (b"GIF89a" + b"\0" * 50, "UnsupportedFormat"),
        (plain("PNG")[:80], "Truncated"),
        (plain("JPEG")[:300], "Truncated"),
        (plain("WEBP")[:60], "Truncated"),
        (bomb(), "TooLarge"),
    ],
)
def test_what_cannot_be_used_says_why(data, error_class):
    with pytest.raises(ImageError) as caught:
        decode_image(data, SIZE)
    assert caught.value.error_class == error_class and caught.value.reason


def test_a_picture_of_nearly_the_limit_is_refused_by_its_header_alone(monkeypatch):
    monkeypatch.setattr("storage.images.MAX_PIXELS", 500)
    with pytest.raises(ImageError, match="24×24"):
        decode_image(plain(), SIZE)


def test_files_that_are_gone_or_folders(tmp_path):
    with pytest.raises(ImageError, match="NotFound"):
        decode_image(str(tmp_path / "none.png"), SIZE)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match="Unreadable"):
        decode_image(str(tmp_path / "folder.png"), SIZE)


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


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_no_image(data):
    with pytest.raises(ImageError):
        decode_image(data, SIZE)


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
def test_every_mode_and_size_becomes_a_square(mode, size):
    assert decode_image(encoded(Image.new(mode, size), "PNG"), SIZE).shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("name", ["a.png", "a b\n#%.png", "ü/ö.webp", "-x.jpg"])
def test_pictures_come_back_from_oddly_named_files(tmp_path, name):
    encode_image(gradient(), str(tmp_path / name))
    assert np.abs(decode_image(str(tmp_path / name), 24).astype(int) - gradient()).mean() < 4
    assert not list(tmp_path.rglob("*.tmp"))
