"""A copy of a photo with the estimate in its XMP, marked as an estimate.

Position, radius and place stand where catalogues look for them (Exif and IPTC Extension for XMP); the processing
method, the description and fields of GeoSleuth's own namespace say that nothing was measured.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET

from PIL import Image

from agents.schemas import Answer
from apps.output.formatting import heading, printable, radii_text
from core.errors import UserError

_QUALITY = 95
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_EXIF = "http://ns.adobe.com/exif/1.0/"
_DC = "http://purl.org/dc/elements/1.1/"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_META = "adobe:ns:meta/"
_OWN = "urn:geosleuth:xmp:1.0/"
_XML = "http://www.w3.org/XML/1998/namespace"
_PREFIXES = {"rdf": _RDF, "exif": _EXIF, "dc": _DC, "Iptc4xmpExt": _IPTC, "x": _META, "geosleuth": _OWN}
METHOD = "ESTIMATE by GeoSleuth from the picture, not measured"


def jpeg_with_estimate(picture: bytes, answer: Answer) -> bytes:
    """A JPEG of a picture's pixels whose XMP holds the estimate; it carries no other metadata.

    Args:
        picture: a picture's file.
        answer: with a point.

    Raises:
        UserError: the answer has no point.
    """
    out = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").save(out, "JPEG", quality=_QUALITY, xmp=xmp_packet(answer))
    return out.getvalue()


def xmp_packet(answer: Answer) -> bytes:
    """The estimate as an XMP packet.

    Raises:
        UserError: the answer has no point.
    """
    if answer.point is None:
        raise UserError("there is no position to write into the photo: GeoSleuth abstains")
    for prefix, uri in _PREFIXES.items():
        ET.register_namespace(prefix, uri)
    root = ET.Element(f"{{{_META}}}xmpmeta")
    about = ET.SubElement(ET.SubElement(root, f"{{{_RDF}}}RDF"), f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    for name, value in _fields(answer).items():
        ET.SubElement(about, name).text = printable(value)
    text = f"{METHOD}: {heading(answer)}; {radii_text(answer) or 'radius unknown'}"
    alternatives = ET.SubElement(ET.SubElement(about, f"{{{_DC}}}description"), f"{{{_RDF}}}Alt")
    ET.SubElement(alternatives, f"{{{_RDF}}}li", {f"{{{_XML}}}lang": "x-default"}).text = printable(text)
    _location(about, answer)
    begin = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    packet: bytes = ET.tostring(root, encoding="utf-8")
    return begin + packet + b'<?xpacket end="w"?>'


def _fields(answer: Answer) -> dict[str, str]:
    point = answer.point
    if point is None:
        return {}
    known = {
        f"{{{_EXIF}}}GPSLatitude": _degrees(point.lat, "NS"),
        f"{{{_EXIF}}}GPSLongitude": _degrees(point.lon, "EW"),
        f"{{{_EXIF}}}GPSProcessingMethod": METHOD,
        f"{{{_OWN}}}status": "estimate",
        f"{{{_OWN}}}confidence": f"{answer.confidence:.4f}",
        f"{{{_OWN}}}version": answer.versions.geosleuth,
        f"{{{_OWN}}}photoSha256": answer.photo_sha256,
    }
    if answer.radius_50_km is not None and answer.radius_90_km is not None:
        known |= {
            f"{{{_EXIF}}}GPSHPositioningError": f"{answer.radius_90_km * 1000.0:.0f}",
            f"{{{_OWN}}}radius50Km": f"{answer.radius_50_km:g}",
            f"{{{_OWN}}}radius90Km": f"{answer.radius_90_km:g}",
        }
    return known


def _location(about: ET.Element, answer: Answer) -> None:
    """IPTC's location shown, from the place nearest to the point."""
    if answer.place is None:
        return
    bag = ET.SubElement(ET.SubElement(about, f"{{{_IPTC}}}LocationShown"), f"{{{_RDF}}}Bag")
    item = ET.SubElement(bag, f"{{{_RDF}}}li", {f"{{{_RDF}}}parseType": "Resource"})
    place = answer.place
    named = {"City": place.city, "ProvinceState": place.region, "CountryName": place.country}
    for name, value in (named | {"CountryCode": place.country_code}).items():
        if value:
            ET.SubElement(item, f"{{{_IPTC}}}{name}").text = printable(value)


def _degrees(value: float, signs: str) -> str:
    """Degrees and decimal minutes, as XMP writes a coordinate.

    >>> _degrees(-33.8568, "NS")
    '33,51.4080S'
    """
    degrees, minutes = divmod(round(abs(value) * 60.0, 4), 60.0)
    return f"{degrees:.0f},{minutes:.4f}{signs[0] if value >= 0.0 else signs[1]}"
