"""What pictures say about themselves: XMP that is written into ours, and what is found in those of others.

IPTC's digital source types tell edits by a model from photographs; rights that an input states are carried over to
what is made of it. (IPTC Photo Metadata 2025.1; C2PA 2.2, appendix A, for where manifests stand in files.)
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

from storage.image_headers import format_of

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
EDITED, GENERATED = "compositeWithTrainedAlgorithmicMedia", "trainedAlgorithmicMedia"
"""Digital source types: a picture that a model has edited, and one that a model has made."""
MAX_RIGHTS = 16_384
"""Bytes of rights that are carried over: more is no statement but a document."""

_X, _RDF = "adobe:ns:meta/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_IPTC, _DC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/", "http://purl.org/dc/elements/1.1/"
_XMP, _RIGHTS = "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xap/1.0/rights/"
_PLUS, _CC, _PS = (
    "http://ns.useplus.org/ldf/xmp/1.0/",
    "http://creativecommons.org/ns#",
    "http://ns.adobe.com/photoshop/1.0/",
)
for _prefix, _uri in {
    "x": _X, "rdf": _RDF, "Iptc4xmpExt": _IPTC, "dc": _DC, "xmp": _XMP, "xmpRights": _RIGHTS, "plus": _PLUS,
    "cc": _CC, "photoshop": _PS,
}.items():  # fmt: skip
    ET.register_namespace(_prefix, _uri)
_CARRIED = (f"{{{_RIGHTS}}}", f"{{{_PLUS}}}", f"{{{_CC}}}")
_ALSO_CARRIED = {f"{{{_DC}}}rights", f"{{{_DC}}}creator", f"{{{_PS}}}Credit", f"{{{_IPTC}}}DataMining"}
_PACKET = re.compile(rb"<x:xmpmeta\b.*?</x:xmpmeta>", re.DOTALL)
_SOURCE_TYPE = f"{{{_IPTC}}}DigitalSourceType"
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Markings:
    """What an input says of itself: its IPTC source type (the last part of the address), whether it carries a C2PA
    manifest, and its statements of rights as (name, value or XML) of XMP."""

    digital_source_type: str | None = None
    has_c2pa: bool = False
    rights: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Label:
    """What a picture of ours says of itself. `source`: hash of the input; `inputs`: that input's own markings.

    source_type None: no model has touched it, so that only the input's statements are repeated.
    """

    system: str
    version: str
    source_type: str | None
    prompt: str | None = None
    source: str | None = None
    inputs: Markings = Markings()

    def to_xmp(self) -> bytes:
        """The XMP packet; the same label gives the same bytes."""
        root = ET.Element(f"{{{_X}}}xmpmeta")
        about = ET.SubElement(ET.SubElement(root, f"{{{_RDF}}}RDF"), f"{{{_RDF}}}Description")
        about.set(f"{{{_RDF}}}about", "")
        kind = self.source_type
        if kind is None or self.inputs.digital_source_type == GENERATED:
            kind = self.inputs.digital_source_type  # an edit of a model's picture is a model's picture
        tool = f"{self.system} {self.version}"
        texts = {f"{{{_XMP}}}CreatorTool": tool}
        if kind is not None:
            texts[_SOURCE_TYPE] = SOURCE_TYPES + kind
        if self.source_type is not None:
            texts |= {
                f"{{{_IPTC}}}AISystemUsed": self.system,
                f"{{{_IPTC}}}AISystemVersionUsed": self.version,
            }
        if self.prompt:
            texts[f"{{{_IPTC}}}AIPromptInformation"] = self.prompt
        if self.source:
            texts[f"{{{_DC}}}source"] = f"sha256:{self.source}"
        for name, text in texts.items():
            ET.SubElement(about, name).text = _NO_XML.sub("�", text)
        for name, value in self.inputs.rights:
            if value.startswith("<"):
                about.append(ET.fromstring(value))
            else:
                about.set(name, value)
        body = ET.tostring(root, encoding="utf-8", xml_declaration=False)
        begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'.encode()
        return begin + body + b'<?xpacket end="r"?>'


def xmp_of(data: bytes) -> ET.Element | None:
    """The root of a file's XMP; None where there is none that can be read (or where it defines entities)."""
    if (found := _PACKET.search(data)) is None or b"<!" in found[0]:
        return None
    try:
        return ET.fromstring(found[0])
    except (ET.ParseError, ValueError):
        return None


def prompt_of(data: bytes) -> str | None:
    """The words that a picture of ours was made by; None where it does not say."""
    root = xmp_of(data)
    return None if root is None else root.findtext(f".//{{{_IPTC}}}AIPromptInformation")


def markings_of(data: bytes) -> Markings:
    """What the bytes of a picture file say of themselves; never raises, because damaged notes spoil no picture."""
    kind, rights = None, []
    if (root := xmp_of(data)) is not None:
        for about in root.iter(f"{{{_RDF}}}Description"):
            kind = kind or about.get(_SOURCE_TYPE) or about.findtext(_SOURCE_TYPE)
            rights += [(name, value) for name, value in about.attrib.items() if _is_right(name)]
            rights += [
                (each.tag, ET.tostring(each, encoding="unicode").strip())
                for each in about
                if _is_right(each.tag)
            ]
    if sum(len(value) for _, value in rights) > MAX_RIGHTS:
        rights = []
    short = kind.strip().rsplit("/", 1)[-1][:80] if kind else None
    return Markings(short or None, _has_c2pa(data), tuple(rights))


def _is_right(name: object) -> bool:
    return isinstance(name, str) and (name.startswith(_CARRIED) or name in _ALSO_CARRIED)


def _has_c2pa(data: bytes) -> bool:
    kind = format_of(data)
    if kind == "JPEG":
        return any(marker == 0xEB and b"c2pa" in body for marker, body in _segments(data))
    name = {"PNG": b"caBX", "WEBP": b"C2PA"}.get(kind or "")
    return name is not None and name in _chunks(data, kind == "PNG")


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, body) of a JPEG file's segments, up to its pixels."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], data[at + 4 : at + 2 + length]
        at += 2 + max(length, 2)


def _chunks(data: bytes, png: bool) -> Iterator[bytes]:
    """Names of a PNG or WebP file's chunks."""
    at = 8 if png else 12
    while at + 8 <= len(data):
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        length = int.from_bytes(first, "big") if png else int.from_bytes(second, "little")
        yield second if png else first
        at += 12 + length if png else 8 + length + length % 2
