"""Image files in, arrays out, whatever people call an image; arrays in, image files out."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo
from PIL.WebPImagePlugin import WebPImageFile

from storage import uris
from storage.errors import ImageError, StorageError
from storage.image_headers import format_of, webp_size

MAX_PIXELS = 100_000_000
"""Larger pictures are refused from their header, before a byte of them is decompressed (decompression bombs)."""
CHANGED = "it is no longer what the run was planned with; run the same command again to edit it as it is now"
MAX_BYTES = 1 << 30
"""Larger files are refused before they are read."""

# Opened by class and not by Image.open: that one compares sizes with a setting of the whole process, and warns, which
# threads cannot silence without disturbing each other.
_READERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "PNG": PngImageFile,
    "JPEG": JpegImageFile,
    "WEBP": WebPImageFile,
}
_ENDINGS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_image(source: str | bytes, size: int | None) -> np.ndarray:
    """Read an image file (path, URI or its bytes) as a square → uint8 [size, size, 3]; whole, [H, W, 3], for None.

    The format is told from the content, not from the name. The camera's rotation (EXIF) is undone, transparency is
    laid on white, 16-bit values are scaled to 8, CMYK and palettes become RGB (colour profiles are not applied),
    animations give their first frame, and of a picture that is not square the middle is used. Safe in threads.

    Raises ImageError with one of the classes NotFound, Unreadable, Empty, NotAnImage (no picture at all),
    UnsupportedFormat (a picture of another kind), TooLarge, Truncated (damaged or cut off). Only errors of the network
    (ConnectionError, TimeoutError) pass as they are, so that the shard is tried again.
    """
    assert size is None or size > 0, size
    data = source if isinstance(source, bytes) else read_image(source)
    if not data:
        raise ImageError("Empty", "the file has no bytes")
    kind = format_of(data)
    if kind is None:
        raise ImageError("NotAnImage", f"not a picture in {', '.join(_READERS)}")
    if kind not in _READERS:
        raise ImageError("UnsupportedFormat", f"the content is {kind}: convert it to PNG, JPEG or WebP")
    if kind == "WEBP" and (canvas := webp_size(data)) is not None:
        _check_size(*canvas)
    try:
        with _READERS[kind](io.BytesIO(data)) as image:
            _check_size(*image.size)
            return _upright(image, size)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageError("TooLarge", _line(error)) from error
    except MemoryError as error:
        raise ImageError("TooLarge", "not enough memory to decode it") from error
    except Exception as error:
        # Damaged files surface from Pillow as OSError, SyntaxError, struct.error, zlib.error and many more; whatever
        # it is, it is this file that is at fault, and it must not take the others with it.
        raise ImageError("Truncated", f"the file is damaged or cut off ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def read_image(uri: str, version: str | None = None) -> bytes:
    """The bytes of an image file. Raises ImageError when there are none to be had, and "Changed" when the file is not
    of this version (`uris.look_at`) any more; errors of the network pass."""
    try:
        length, found = uris.look_at(uri)
        if version is not None and found != version:
            raise ImageError("Changed", CHANGED)
        if length > MAX_BYTES:
            raise ImageError("TooLarge", f"{length:,} bytes; the limit is {MAX_BYTES:,}")
        # A ranged or empty request is an error on object stores.
        return uris.read_bytes(uri) if length else b""
    except FileNotFoundError as error:
        raise ImageError("NotFound", "the file is gone") from error
    except (ConnectionError, TimeoutError):
        raise
    except OSError as error:
        raise ImageError("Unreadable", error.strerror or _line(error)) from error
    except ValueError as error:  # a NUL in the name
        raise ImageError("Unreadable", _line(error)) from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        limit = MAX_PIXELS // 1_000_000
        raise ImageError("TooLarge", f"{width}×{height} pixels; the limit is {limit} million")


def _upright(image: Image.Image, size: int | None) -> np.ndarray:
    image.load()
    picture = _to_rgb(image)
    if (turn := _UPRIGHT.get(_orientation(image))) is not None:
        picture = picture.transpose(turn)
    if size is not None and picture.size != (size, size):
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return np.array(picture, dtype=np.uint8)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        # Cameras and editors write damaged EXIF blocks; the picture is whole all the same.
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_16_bit(image)
    if image.mode == "F":
        raise ImageError("UnsupportedFormat", "floating-point pixels have no known range")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGB", over.size, "white")
        white.paste(over, mask=over.getchannel("A"))
        return white
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Grey values 0 … 65535 scaled to 0 … 255, where convert() would clip them."""
    values = np.asarray(image)
    grey = ((values.astype(np.uint32) + 128) // 257).clip(0, 255).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[values == clear] = 255
    return Image.fromarray(grey).convert("RGB")


def encode_image(array: np.ndarray, uri: str, xmp: bytes = b"") -> str:
    """Write uint8 [H, W, 3] as a file; the format follows the ending (.png, .jpg, .jpeg, .webp); whole or absent.

    `xmp`: what the picture says of itself (`storage.markings`). Returns the sha256 of the file's bytes. Raises
    StorageError for another ending, and when the place can never be written.
    """
    assert array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3, (array.dtype, array.shape)
    kind = _ENDINGS.get(uri.rsplit(".", 1)[-1].lower())
    if kind is None:
        raise StorageError(f"{uri}: pictures are written as .png, .jpg or .webp")
    # PNG level 1: within 10 % of the smallest file for a fraction of the time.
    options: dict[str, Any] = {"compress_level": 1} if kind == "PNG" else {"quality": 95}
    if xmp and kind == "PNG":
        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    elif xmp:
        options["xmp"] = xmp
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    uris.write_bytes(uri, buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()
