"""Lines in other scripts: the real tesseract where it is installed, and a stand-in that speaks its TSV."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from core.batching import _Request
from tests.retrieval.encoders.gated import wait_until
from tools.read_signs import render_signs
from tools.results import SignsRead
from tools.services.ocr import OcrReader, OcrSettings
from tools.services.tesseract import Reading, Tesseract, TesseractError, has_enough_letters
from tools.services.tesseract_library import load_library

HEADER = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext"
StandIn = Callable[..., Tesseract]


def word(page: int, confidence: float, text: str) -> str:
    return f"5\t{page}\t1\t1\t1\t1\t0\t0\t9\t9\t{confidence}\t{text}"


@pytest.fixture
def stand_in(tmp_path: Path) -> StandIn:
    """Builds a program that lists packs, keeps its arguments and input, and answers with a table."""

    def build(packs: str, *words: str, body: str = "", timeout_s: float = 60.0) -> Tesseract:
        (tmp_path / "table.tsv").write_text("\n".join((HEADER, *words)) + "\n", encoding="utf-8")
        program = tmp_path / "tesseract"
        program.write_text(
            f"#!{sys.executable}\n"
            "import sys, time, pathlib\n"
            f"folder = pathlib.Path({str(tmp_path)!r})\n"
            "if sys.argv[1] == '--list-langs':\n"
            f"    print('List of available languages:', *{packs.split()!r}, sep='\\n')\n"
            "    sys.exit()\n"
            "if sys.argv[1] == '--version':\n"
            "    sys.exit(print('tesseract 0.0.0'))\n"
            "(folder / 'arguments').write_text(' '.join(sys.argv[1:]))\n"
            "(folder / 'pages.tiff').write_bytes(sys.stdin.buffer.read())\n"
            f"{body}\n"
            "sys.stdout.buffer.write((folder / 'table.tsv').read_bytes())\n",
            encoding="utf-8",
        )
        program.chmod(0o755)
        return Tesseract(str(program), timeout_s)

    return build


def lines(count: int = 1) -> list[np.ndarray]:
    return [np.random.default_rng(n).integers(0, 255, (30, 90 + n, 3), np.uint8) for n in range(count)]


def sign_photo(text: str = "BAR") -> np.ndarray:
    image = Image.new("RGB", (640, 480), (120, 130, 120))
    draw = ImageDraw.Draw(image)
    draw.rectangle((80, 180, 560, 290), fill=(250, 250, 250))
    draw.text((100, 200), text, font=ImageFont.load_default(size=60), fill=(10, 10, 10))
    return np.asarray(image)


def unsure(**changes: float) -> OcrSettings:
    """Settings by which tesseract is asked about every line."""
    return OcrSettings(threads=1, sure_confidence=1.1, **changes)  # type: ignore[arg-type]


def test_a_scripts_own_pack_comes_before_its_languages(stand_in: StandIn) -> None:
    packs = stand_in("eng osd script/Cyrillic rus ukr kor ell Latin chi_sim").packs
    assert packs == {"Cyrillic": ("script/Cyrillic",), "Greek": ("ell",), "Hangul": ("kor",)}


def test_all_lines_go_to_one_process_with_all_packs(stand_in: StandIn, tmp_path: Path) -> None:
    table = (
        word(1, 90, "ул."),
        word(1, 60, "Ленина"),
        *(word(3, 80, c) for c in ("ก", "ร", "ุ", "งเทพ")),
        word(2, 95, "Street"),
    )
    tesseract = stand_in("Cyrillic Thai", *table, word(3, 0, "|"))
    street, latin, thai = tesseract.read(lines(3))
    assert street is not None
    assert street[:2] == ("ул. Ленина", "Cyrillic")
    assert street.confidence == pytest.approx((2 * 0.9 + 6 * 0.6) / 8)
    assert latin is None
    assert thai is not None
    assert (thai.text, thai.script) == ("กรุงเทพ", "Thai")
    assert (tmp_path / "arguments").read_text() == "stdin stdout -l Cyrillic+Thai --psm 7 tsv"
    with Image.open(tmp_path / "pages.tiff") as pages:
        assert getattr(pages, "n_frames", 1) == 3


def test_light_letters_on_a_dark_board_become_dark_ones(stand_in: StandIn, tmp_path: Path) -> None:
    board = np.full((40, 200, 3), 20, np.uint8)
    board[15:25, 60:90] = 240
    stand_in("Cyrillic").read([board])
    with Image.open(tmp_path / "pages.tiff") as page:
        assert np.median(np.asarray(page)) > 200


def test_words_are_read_or_the_script_alone_or_nothing(stand_in: StandIn) -> None:
    for confidence, expected in ((92, ("Аптека", "Cyrillic")), (72, ("", "Cyrillic")), (50, ("BAR", "Latin"))):
        reader = OcrReader(unsure(), stand_in("Cyrillic", word(1, confidence, "Аптека")))
        (sign,) = reader.read(sign_photo()).signs
        assert (sign.text, sign.script) == expected


def test_a_letter_or_two_are_texture() -> None:
    assert not has_enough_letters(Reading("ας", "Greek", 0.9))
    assert has_enough_letters(Reading("약국", "Hangul", 0.9))


def test_lines_of_photos_that_wait_share_a_process_and_each_gets_its_own(stand_in: StandIn, tmp_path: Path) -> None:
    body = (
        "calls = folder / 'calls'\n"
        "calls.open('a').write('.')\n"
        "while not (folder / 'go').exists():\n"
        "    time.sleep(0.01)"
    )
    tesseract = stand_in("Cyrillic", word(1, 90, "Аптека"), word(2, 90, "Ресторан"), body=body)
    assert tesseract.packs
    with ThreadPoolExecutor(3) as pool:
        photos = []
        for count in range(3):
            photos.append(pool.submit(tesseract.read, lines()))
            wait_until((tmp_path / "calls").exists)
            wait_until(lambda count=count: len(tesseract._batching._waiting) == count)  # type: ignore[misc]  # binds the loop
        (tmp_path / "go").touch()
        assert [[line.text for line in one.result() if line] for one in photos] == [
            ["Аптека"],
            ["Аптека"],
            ["Ресторан"],
        ]
    assert (tmp_path / "calls").read_text() == ".."


def test_where_a_shared_process_fails_each_photo_is_read_alone(stand_in: StandIn) -> None:
    body = "import os\nif os.path.getsize(folder / 'pages.tiff') > 12_000:\n    sys.exit('too much')"
    tesseract = stand_in("Cyrillic", word(1, 90, "Аптека"), body=body)
    requests: list[_Request[Any, Any]] = [_Request(lines()) for _ in range(4)]
    tesseract._batching._carry_out(requests)
    assert tesseract._batching.sizes == {4: 1, 1: 4}
    assert all(request.outcome.result()[0].text == "Аптека" for request in requests)


def test_lines_that_are_read_well_do_not_start_it(stand_in: StandIn, tmp_path: Path) -> None:
    signs = (
        OcrReader(OcrSettings(threads=1), stand_in("Cyrillic", word(1, 99, "Аптека"))).read(sign_photo("Parking")).signs
    )
    assert [sign.text for sign in signs] == ["Parking"]
    assert not (tmp_path / "arguments").exists()


@pytest.mark.parametrize(
    ("body", "timeout_s", "said"),
    [
        ("sys.exit('Error opening data file')", 60.0, "ended with status 1: Error opening data file"),
        ("time.sleep(30)", 0.5, "took longer than 0.5 s"),
        ("print('nonsense', flush=True)", 60.0, "wrote no table of words"),
    ],
)
def test_a_failure_is_said_and_the_other_signs_stay(stand_in: StandIn, body: str, timeout_s: float, said: str) -> None:
    result = OcrReader(unsure(), stand_in("Cyrillic", body=body, timeout_s=timeout_s)).read(sign_photo())
    assert [sign.text for sign in result.signs] == ["BAR"]
    assert said in result.problem
    assert said in json.loads(render_signs(result).splitlines()[1])["problem"]


def test_without_the_program_or_packs_everything_is_as_before(stand_in: StandIn) -> None:
    for tesseract in (Tesseract("no-such-program"), stand_in("eng osd")):
        result = OcrReader(unsure(), tesseract).read(sign_photo())
        assert ([sign.text for sign in result.signs], result.problem) == (["BAR"], "")
        assert "problem" not in json.loads(render_signs(result).splitlines()[1])
        assert isinstance(result, SignsRead)


def test_a_program_that_cannot_be_run_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "tesseract"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(TesseractError, match="cannot be run"):
        _ = Tesseract(str(program)).packs


CYRILLIC_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf")


def cyrillic_font() -> ImageFont.FreeTypeFont:
    for name in CYRILLIC_FONTS:
        try:
            return ImageFont.truetype(name, 60)
        except OSError:
            continue
    pytest.skip(f"no font with Cyrillic letters: {', '.join(CYRILLIC_FONTS)}")


def cyrillic_sign(text: str = "Ресторан") -> Image.Image:
    image = Image.new("RGB", (640, 480), (20, 60, 140))
    ImageDraw.Draw(image).text((60, 200), text, font=cyrillic_font(), fill=(250, 250, 250))
    return image


@pytest.fixture
def installed() -> Tesseract:
    tesseract = Tesseract(timeout_s=300.0)
    if "Cyrillic" not in tesseract.packs:
        pytest.skip("tesseract with a Cyrillic pack is not installed")
    return tesseract


def test_its_library_reads_what_the_program_reads(installed: Tesseract) -> None:
    if installed._library is None:
        pytest.skip("the library of the installed tesseract cannot be loaded")
    program = Tesseract(timeout_s=300.0, in_process=False)
    assert (installed.has_library, program.has_library) == (True, False)
    texts = ("Ресторан", "Аптека", "Hotel", "-- . --")
    crops = [np.asarray(cyrillic_sign(text))[190:280] for text in texts]
    found = installed.read(crops)
    assert found == program.read(crops)
    assert [line.text if line else None for line in found[:2]] == ["Ресторан", "Аптека"]
    installed._timeout_s = 0.0
    with pytest.raises(TesseractError, match="took longer than 0 s"):
        installed.read(crops)


def test_a_library_of_another_version_or_without_the_packs_is_left_alone(installed: Tesseract) -> None:
    if installed._library is None:
        pytest.skip("the library of the installed tesseract cannot be loaded")
    version = installed._version
    assert load_library("0.0.0", installed._pack_names) is None
    assert load_library(version, "no-such-pack") is None
    assert load_library(version, installed._pack_names) is installed._library


def test_the_real_program_reads_cyrillic(installed: Tesseract) -> None:
    tesseract, image = installed, cyrillic_sign()
    result = OcrReader(OcrSettings(threads=1), tesseract).read(np.asarray(image))
    assert result.problem == ""
    assert [(sign.text, sign.script) for sign in result.signs] == [("Ресторан", "Cyrillic")]
