"""Answers as KML 2.2, for Google Earth: one folder a photo, with its hypotheses, radii and candidates.

Names and claims are untrusted text: the XML writer escapes them, and characters that XML 1.0 forbids are replaced
before.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from agents.schemas import Answer, LonLat
from apps.maps.geometry import HEAT_COLOURS, coloured_areas, disc, polygon_rings, tile_area
from apps.output.formatting import (
    LocatedPhoto,
    area_text,
    areas_text,
    chances_text,
    confidence_text,
    credible_circles,
    has_information,
    heading,
    hypothesis_text,
    information_text,
    km,
    percent,
    printable,
    radius_note,
    source_text,
    tile_text,
)
from geo.point import Point

_NAMESPACE = "http://www.opengis.net/kml/2.2"
# Colours are aabbggrr.
_AREA_SHARES = (90, 75, 50, 25)
_STYLES = {
    "answer": ("ff20b0ff", "3320b0ff", 1.3),
    "hypothesis": ("fff0c94c", "22f0c94c", 1.0),
    "candidate": ("ff9d6bff", "229d6bff", 0.5),
    "metadata": ("ff8fd87b", "228fd87b", 1.0),
}


def kml_pieces(located: Iterable[LocatedPhoto]) -> Iterator[str]:
    """A KML document of all answers, in pieces of text."""
    root = ET.Element("kml", xmlns=_NAMESPACE)
    document = ET.SubElement(root, "Document")
    _text(document, "name", "GeoSleuth")
    for name, (line, fill, scale) in _STYLES.items():
        _style(document, name, line, fill, scale)
    for share, colour in zip(_AREA_SHARES, HEAT_COLOURS, strict=True):
        kml_colour = "{2:02x}{1:02x}{0:02x}".format(*colour)
        _style(document, f"area{share}", f"ff{kml_colour}", f"55{kml_colour}", 1.0)
    ET.indent(root)
    before, end = ET.tostring(root, encoding="unicode", xml_declaration=True).split("\n  </Document>")
    yield before
    for item in located:
        folder = _photo_folder(item)
        ET.indent(folder, level=2)
        yield f"\n    {ET.tostring(folder, encoding='unicode')}"
    yield f"\n  </Document>{end}\n"


def _photo_folder(item: LocatedPhoto) -> ET.Element:
    answer = item.answer
    folder = ET.Element("Folder")
    _text(folder, "name", f"{printable(item.name)}: {heading(answer)}")
    _text(folder, "description", _description(answer))
    _areas(folder, answer)
    if answer.point is not None:
        _placemark(folder, heading(answer), answer.point, "answer", _description(answer))
        _radii(folder, answer)
    for hypothesis in answer.hypotheses:
        _placemark(
            folder, hypothesis.name, hypothesis.point, "hypothesis", f"probability {hypothesis_text(hypothesis)}"
        )
    _candidates(folder, answer)
    for tile in answer.matches:
        about = escape(f"{tile_text(tile)}, similarity {tile.similarity:.3f}")
        mark = _named(folder, f"Satellite tile {printable(tile.tile_id, 120)}", "metadata", about)
        _polygons(mark, polygon_rings(tile_area(tile.bounds), 6))
    if answer.metadata_position is not None:
        _placemark(folder, "Position in the file's metadata", answer.metadata_position, "metadata", "")
    return folder


def _radii(folder: ET.Element, answer: Answer) -> None:
    for centre, share, radius_km in credible_circles(answer):
        mark = _named(folder, f"{percent(share)} radius: {km(radius_km)} ({radius_note(answer)})", "answer")
        _polygons(mark, polygon_rings(disc(centre, radius_km), 5))


def _areas(folder: ET.Element, answer: Answer) -> None:
    """The areas in a folder of their own, widest first, with share and sizes as data."""
    if not answer.areas:
        return
    inner = ET.SubElement(folder, "Folder")
    _text(inner, "name", "Areas")
    for area, _ in coloured_areas(answer):
        share, sizes = area.share, (("area_km2", area.area_km2), ("outline_km2", area.outline_km2))
        mark = _named(inner, f"{percent(share)} area: {area_text(area)}", f"area{share * 100:.0f}")
        data = ET.SubElement(mark, "ExtendedData")
        for name, value in (("share", share), *sizes):
            if value is not None:
                _text(ET.SubElement(data, "Data", name=name), "value", str(value))
        _polygons(mark, area.polygons)


def _polygons(mark: ET.Element, polygons: Sequence[Sequence[Sequence[LonLat]]]) -> None:
    """Polygons of rings, the outer one first."""
    shape = ET.SubElement(mark, "MultiGeometry")
    for rings in polygons:
        polygon = ET.SubElement(shape, "Polygon")
        _text(polygon, "tessellate", "1")
        for index, ring in enumerate(rings):
            side = ET.SubElement(polygon, "innerBoundaryIs" if index else "outerBoundaryIs")
            boundary = ET.SubElement(side, "LinearRing")
            _text(boundary, "coordinates", " ".join(f"{lon},{lat},0" for lon, lat in ring))


def _candidates(folder: ET.Element, answer: Answer) -> None:
    if not answer.candidates:
        return
    inner = ET.SubElement(folder, "Folder")
    _text(inner, "name", "Candidates")
    _text(inner, "visibility", "0")
    for candidate in answer.candidates:
        about = f"similarity {candidate.similarity:.3f}, atlas {candidate.atlas}, item {candidate.item_id}"
        _placemark(inner, f"#{candidate.rank + 1}", candidate.point, "candidate", escape(printable(about)))


def _placemark(parent: ET.Element, name: str, point: Point, style: str, description: str) -> None:
    mark = _named(parent, printable(name), style, description)
    _text(ET.SubElement(mark, "Point"), "coordinates", f"{point.lon:.6f},{point.lat:.6f},0")


def _named(parent: ET.Element, name: str, style: str, description: str = "") -> ET.Element:
    """A placemark; the schema wants its parts in this order."""
    mark = ET.SubElement(parent, "Placemark")
    _text(mark, "name", name)
    if description:
        _text(mark, "description", description)
    _text(mark, "styleUrl", f"#{style}")
    return mark


def _description(answer: Answer) -> str:
    # A description is shown as HTML, so text is escaped for that before the XML writer escapes it again.
    sure = [f"Confidence {confidence_text(answer)}", chances_text(answer), areas_text(answer)]
    lines = [*filter(None, sure), answer.reasoning]
    for evidence in answer.evidence:
        told = f"; told {information_text(evidence)}" if has_information(answer) else ""
        lines.append(f"{evidence.claim} [{source_text(evidence.source)}{told}]")
    return "<br/>".join(escape(printable(line)) for line in lines)


def _style(document: ET.Element, name: str, line: str, fill: str, scale: float) -> None:
    style = ET.SubElement(document, "Style", id=name)
    icon = ET.SubElement(style, "IconStyle")
    _text(icon, "color", line)
    _text(icon, "scale", str(scale))
    _text(ET.SubElement(style, "LineStyle"), "color", line)
    _text(ET.SubElement(style, "PolyStyle"), "color", fill)


def _text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = text
