"""Image files in, arrays out, whatever people call an image; arrays in, image files out."""

from __future__ import annotations

import io
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from storage import uris
from storage.errors import ImageError

MAX_PIXELS = 100_000_000
"""Larger pictures are refused from their header, before a byte of them is decompressed (decompression bombs)."""
FORMATS = ("PNG", "JPEG", "WEBP")


def decode_image(source: str | bytes, size: int) -> np.ndarray:
    """Read an image file (path, URI or its bytes) as a square → uint8 [size, size, 3].

    The camera's rotation (EXIF) is undone, transparency is laid on white, 16-bit values are scaled to 8, CMYK and
    palettes become RGB, animations give their first frame, and of a picture that is not square the middle is used.
    Raises ImageError with one of the classes NotFound, Unreadable, Empty, NotAnImage, TooLarge, Truncated,
    UnsupportedFormat.
    """
    data = source if isinstance(source, bytes) else _read(source)
    if not data:
        raise ImageError("Empty", "the file has no bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return _to_square(image, size)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError("NotAnImage", f"not a picture in {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise ImageError("TooLarge", str(error)) from error
    except (OSError, SyntaxError, EOFError) as error:
        # Pillow reports damage of any kind, a cut-off file included, as OSError or SyntaxError.
        raise ImageError("Truncated", f"the file is damaged or cut off ({error})") from error
    except (ValueError, KeyError, IndexError, TypeError, ArithmeticError, MemoryError) as error:
        raise ImageError("UnsupportedFormat", f"{type(error).__name__}: {error}") from error


def _read(uri: str) -> bytes:
    try:
        return uris.read_bytes(uri)
    except FileNotFoundError as error:
        raise ImageError("NotFound", "the file is gone") from error
    except OSError as error:
        raise ImageError("Unreadable", error.strerror or str(error)) from error


def _to_square(image: Image.Image, size: int) -> np.ndarray:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(
            "TooLarge", f"{width}×{height} pixels; the limit is {MAX_PIXELS // 1_000_000} million"
        )
    if getattr(image, "is_animated", False):
        image.seek(0)
    image.load()
    upright = ImageOps.exif_transpose(image)
    picture = _to_rgb(upright if upright is not None else image)
    if picture.size != (size, size):
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture, dtype=np.uint8)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        # convert() would clip 16-bit values at 255; a picture is meant to be scaled.
        values = np.asarray(image, dtype=np.float64) / 257.0
        return Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ImageError("UnsupportedFormat", "floating-point pixels have no known range")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        white = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(white, over).convert("RGB")
    return image.convert("RGB")


def encode_image(array: np.ndarray, uri: str) -> None:
    """Write uint8 [H, W, 3] as a file; the format follows the ending (.png, .jpg, .webp); whole or absent."""
    assert array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3, (array.dtype, array.shape)
    buffer = io.BytesIO()
    ending = uri.rsplit(".", 1)[-1].lower()
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}.get(ending, "PNG")
    # Level 1: within 10 % of the smallest PNG for a fraction of the time.
    options = {"compress_level": 1} if kind == "PNG" else {"quality": 95}
    Image.fromarray(array).save(buffer, kind, **options)
    uris.write_bytes(uri, buffer.getvalue())
