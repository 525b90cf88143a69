"""What pictures say about themselves: read back by Pillow, carried over from inputs, harmless where damaged."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from storage import encode_image
from storage.markings import EDITED, GENERATED, Label, Markings, markings_of, prompt_of

PICTURE = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
PHOTOGRAPH = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/" xmpRights:Marked="True"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
 Iptc4xmpExt:DigitalSourceType="http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
 xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">© Ada</rdf:li></rdf:Alt></dc:rights><dc:title>no right</dc:title>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def as_file(kind: str, xmp: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PICTURE).save(buffer, kind, **({"xmp": xmp} if xmp else {}))
    return buffer.getvalue()


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_a_picture_says_what_made_it_and_its_pixels_stay(tmp_path: Path, ending):
    label = Label("styleclip-flows", "1.0", EDITED, '"a face" → "<a & b>" (alpha 4)', "0123", Markings())
    digest = encode_image(PICTURE, str(tmp_path / f"with.{ending}"), label.to_xmp())
    encode_image(PICTURE, str(tmp_path / f"without.{ending}"))
    data = (tmp_path / f"with.{ending}").read_bytes()
    assert digest == hashlib.sha256(data).hexdigest()
    with Image.open(io.BytesIO(data)) as picture, Image.open(tmp_path / f"without.{ending}") as bare:
        packet = picture.info["xmp"]
        assert np.array_equal(np.asarray(picture), np.asarray(bare))
    assert b"digitalsourcetype/compositeWithTrainedAlgorithmicMedia" in bytes(packet)
    assert b"sha256:0123" in bytes(packet)
    assert prompt_of(data) == label.prompt
    assert markings_of(data).digital_source_type == EDITED


def test_rights_of_the_input_are_carried_over_and_its_title_is_not():
    found = markings_of(as_file("JPEG", PHOTOGRAPH.encode()))
    assert found.digital_source_type == "digitalCapture" and not found.has_c2pa
    packet = Label("s", "1", EDITED, inputs=found).to_xmp()
    again = markings_of(as_file("WEBP", packet))
    assert again.digital_source_type == EDITED and set(again.rights) == set(found.rights)
    assert "© Ada" in packet.decode() and b"no right" not in packet and len(found.rights) == 2


def test_an_edit_of_a_model_s_picture_is_a_model_s_picture():
    packet = Label("s", "1", EDITED, inputs=Markings(GENERATED)).to_xmp()
    assert markings_of(as_file("JPEG", packet)).digital_source_type == GENERATED
    untouched = Label("s", "1", None, inputs=Markings("digitalCapture")).to_xmp()
    assert markings_of(as_file("JPEG", untouched)).digital_source_type == "digitalCapture"
    assert b"AISystem" not in untouched


def test_manifests_of_c2pa_are_seen():
    jpeg = as_file("JPEG")
    segment = b"\xff\xeb" + (2 + 20).to_bytes(2, "big") + b"JP\x00\x01....jumbc2pa...."
    assert len(segment) == 24 and markings_of(jpeg[:2] + segment[:24] + jpeg[2:]).has_c2pa
    png = as_file("PNG")
    assert markings_of(png[:33] + (4).to_bytes(4, "big") + b"caBX" + b"jumb" + bytes(4) + png[33:]).has_c2pa
    webp = as_file("WEBP")
    assert markings_of(webp + b"C2PA" + (2).to_bytes(4, "little") + b"xx").has_c2pa
    assert not any(markings_of(each).has_c2pa for each in (jpeg, png, webp))


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF\0\0\0\0WEBP", b"<x:xmpmeta "]),
)
def test_damaged_notes_never_raise(data, head):
    assert isinstance(markings_of(head + data + b"</x:xmpmeta>"), Markings)


@given(st.text(max_size=60))
def test_any_words_are_written(words):
    packet = Label("s", "1", EDITED, prompt=words).to_xmp()
    assert (prompt_of(packet) or "").strip() == "".join(
        "�" if (ord(c) < 32 and c not in "\t\n\r") or 0xD800 <= ord(c) < 0xE000 or c in "\ufffe\uffff" else c
        for c in words.replace("\r\n", "\n").replace("\r", "\n")
    ).strip()


def test_entities_are_not_looked_at():
    bomb = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><!DOCTYPE a [<!ENTITY b "c">]></x:xmpmeta>'
    assert markings_of(bomb) == Markings()
