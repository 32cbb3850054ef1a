"""Scripts of signs that tesseract reads and RapidOCR does not: rendered signs, and false scripts on ordinary photos.

    python -m benchmarks.accuracy.sign_scripts rendered
    python -m benchmarks.accuracy.sign_scripts photos --data ../shared/data
    python -m benchmarks.accuracy.sign_scripts library --data ../shared/data --limit 120

Needs tesseract with script packs; `rendered` also Debian's fonts-noto-core and fonts-noto-cjk.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from belief.witnesses.countries import LAST_LATIN_CODE, language_weights
from benchmarks.dev_photos import DEFAULT_DATA, load_dev_photos
from core.errors import UserError
from geo.places.gazetteer import Gazetteer
from retrieval.photos.photo import load_photo
from tools.results import Box, Sign
from tools.services.ocr import OcrReader
from tools.services.tesseract import HOW_TO_INSTALL, LANGUAGE_PACKS, Reading, Tesseract

FONTS = Path("/usr/share/fonts")
TIMEOUT_S = 600.0
WIDTH_PX, HEIGHT_PX, COLUMNS, ROWS = 1280, 960, 2, 5
COLOURS = (("#0a0a0a", "#f5f5f5"), ("#fafafa", "#143c8c"), ("#fafafa", "#aa141e"), ("#1e1e5a", "#f5dc50"))

# Ten signs a script, as they stand on streets; the last three scripts are those that RapidOCR reads.
SIGNS: Mapping[str, str] = {
    "Cyrillic": "АПТЕКА|Продукты 24 часа|Ресторан|улица Ленина|Парикмахерская|Выход|Банк|Цветы|Київ|Северный вокзал",
    "Greek": "ΦΑΡΜΑΚΕΙΟ|Αθήνα|Εστιατόριο|Οδός Ερμού|ΤΑΒΕΡΝΑ|Θεσσαλονίκη|Έξοδος|Σταθμός|ΠΕΡΙΠΤΕΡΟ|Καφενείο",
    "Arabic": "صيدلية|مطعم|شارع الملك فيصل|القاهرة|مستشفى|مدرسة|خروج|بنك|مكتبة|سوق المدينة",
    "Hebrew": "בית מרקחת|מסעדה|רחוב הרצל|ירושלים|תל אביב|יציאה|בנק|סופרמרקט|תחנת רכבת|ספרייה",
    "Devanagari": "दिल्ली|भोजनालय|रेलवे स्टेशन|दवाखाना|मुंबई|होटल|बाज़ार|विद्यालय|काठमाडौं|प्रवेश निषेध",
    "Thai": "ร้านอาหาร|กรุงเทพมหานคร|ถนนสุขุมวิท|โรงพยาบาล|ธนาคาร|ทางออก|เชียงใหม่|ร้านขายยา|ตลาด|โรงเรียน",
    "Hangul": "약국|서울역|식당|부산|출구|은행|병원|노래방|종로구|편의점",
    "Georgian": "აფთიაქი|თბილისი|რესტორანი|ბანკი|სასტუმრო|ბათუმი|მაღაზია|სკოლა|გასასვლელი|რუსთაველის გამზირი",
    "Armenian": "ԴԵՂԱՏՈՒՆ|Երևան|Ռեստորան|Բանկ|Հյուրանոց|Գյումրի|Խանութ|Դպրոց|Ելք|Աբովյան փողոց",
    "Bengali": "ঢাকা|ফার্মেসি|রেস্টুরেন্ট|হাসপাতাল|কলকাতা|বিদ্যালয়|ব্যাংক|বাজার|স্টেশন|হোটেল",
    "Tamil": "சென்னை|மருந்தகம்|உணவகம்|மருத்துவமனை|கடை|வங்கி|பள்ளி|மதுரை|நிலையம்|யாழ்ப்பாணம்",
    "Telugu": "హైదరాబాద్|హోటల్|ఆసుపత్రి|బ్యాంకు|పాఠశాల|మందులు|విజయవాడ|స్టేషన్|బజార్|దుకాణం",
    "Kannada": "ಬೆಂಗಳೂರು|ಹೋಟೆಲ್|ಆಸ್ಪತ್ರೆ|ಬ್ಯಾಂಕ್|ಶಾಲೆ|ಮೈಸೂರು|ಔಷಧಿ|ನಿಲ್ದಾಣ|ಅಂಗಡಿ|ರಸ್ತೆ",
    "Malayalam": "കൊച്ചി|ഹോട്ടൽ|ആശുപത്രി|ബാങ്ക്|സ്കൂൾ|തിരുവനന്തപുരം|കട|മരുന്ന്|റോഡ്|സ്റ്റേഷൻ",
    "Gujarati": "અમદાવાદ|હોટેલ|દવાખાનું|બેંક|શાળા|સુરત|દુકાન|સ્ટેશન|બજાર|રસ્તો",
    "Gurmukhi": "ਅੰਮ੍ਰਿਤਸਰ|ਹੋਟਲ|ਹਸਪਤਾਲ|ਬੈਂਕ|ਸਕੂਲ|ਲੁਧਿਆਣਾ|ਦੁਕਾਨ|ਸਟੇਸ਼ਨ|ਬਾਜ਼ਾਰ|ਸੜਕ",
    "Sinhala": "කොළඹ|හෝටලය|රෝහල|බැංකුව|පාසල|මහනුවර|ඖෂධ|වෙළඳසැල|මාර්ගය|ගාල්ල",
    "Khmer": "ភ្នំពេញ|ភោជនីយដ្ឋាន|មន្ទីរពេទ្យ|ធនាគារ|សាលារៀន|សៀមរាប|ផ្សារ|ឱសថស្ថាន|សណ្ឋាគារ|ផ្លូវ",
    "Lao": "ວຽງຈັນ|ຮ້ານອາຫານ|ໂຮງໝໍ|ທະນາຄານ|ໂຮງຮຽນ|ຫຼວງພະບາງ|ຕະຫຼາດ|ຮ້ານຂາຍຢາ|ໂຮງແຮມ|ຖະໜົນ",
    "Myanmar": "ရန်ကုန်|စားသောက်ဆိုင်|ဆေးရုံ|ဘဏ်|ကျောင်း|မန္တလေး|ဈေး|ဆေးဆိုင်|ဟိုတယ်|လမ်း",
    "Ethiopic": "አዲስ አበባ|ሆቴል|ሆስፒታል|ባንክ|ትምህርት ቤት|ምግብ ቤት|መድኃኒት ቤት|ገበያ|መንገድ|ጎንደር",
    "Latin": "PHARMACIE|Restaurant|Main Street|Bäckerei|FARMACIA|Ulica Długa|EXIT|Hauptbahnhof|STOP|Rua Augusta",
    "Han": "药店|餐厅|北京南站|中山路|出口|银行|医院|学校|火车站|上海市",
    "Katakana": "レストラン|ホテル|カラオケ|ラーメン|コンビニ|タクシー|スーパー|ビール|カメラ|トイレ",
}


class Rendered(NamedTuple):
    """A picture of one script's signs; boxes (n, 4) are left, top, right, bottom in fractions."""

    rgb: NDArray[np.uint8]
    texts: Sequence[str]
    boxes: NDArray[np.float64]


def font(script: str, size_px: int, weight: str) -> ImageFont.FreeTypeFont:
    """Debian's Noto Sans of a script.

    Raises:
        UserError: it is not installed.
    """
    cjk = {"Katakana": 0, "Hangul": 1, "Han": 2}
    latin = script in ("Latin", "Cyrillic", "Greek")
    noto = f"truetype/noto/NotoSans{'' if latin else script}-{weight}.ttf"
    path = FONTS / (f"opentype/noto/NotoSansCJK-{weight}.ttc" if script in cjk else noto)
    if not path.is_file():
        raise UserError(f"no font {path}: apt-get install fonts-noto-core fonts-noto-cjk")
    return ImageFont.truetype(str(path), size_px, index=cjk.get(script, 0))


def render(script: str, is_distorted: bool, rng: np.random.Generator) -> Rendered:
    """Ten signs on a textured ground; distorted: in perspective, blurred, darker and noisy."""
    texts = SIGNS[script].split("|")
    texture = np.clip(rng.normal(120.0, 25.0, (HEIGHT_PX // 16, WIDTH_PX // 16, 3)), 0, 255).astype(np.uint8)
    picture = Image.fromarray(texture).resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC)
    corners = []
    for i, text in enumerate(texts):
        row, column = divmod(i, COLUMNS)
        corner_xy = np.array([column * WIDTH_PX / COLUMNS + 40, row * HEIGHT_PX / ROWS + 45])
        corners.append(_put(picture, _board(script, text, rng), corner_xy, 0.18 if is_distorted else 0.0, rng))
    if is_distorted:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 1.6)))
        noisy = np.asarray(picture) * rng.uniform(0.6, 1.0) + rng.normal(0.0, 6.0, (HEIGHT_PX, WIDTH_PX, 3))
        picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))
    places = np.stack(corners)
    boxes = np.hstack([places.min(axis=1), places.max(axis=1)]) / (WIDTH_PX, HEIGHT_PX, WIDTH_PX, HEIGHT_PX)
    return Rendered(np.asarray(picture), texts, boxes)


def _board(script: str, text: str, rng: np.random.Generator) -> Image.Image:
    ink, paint = COLOURS[rng.integers(len(COLOURS))]
    face = font(script, int(rng.integers(28, 48)), ("Regular", "Bold")[rng.integers(2)])
    left, top, right, bottom = face.getbbox(text)
    board = Image.new("RGB", (int(right - left) + 40, int(bottom - top) + 40), paint)
    ImageDraw.Draw(board).text((20 - left, 20 - top), text, font=face, fill=ink)
    return board


def _put(
    picture: Image.Image, board: Image.Image, at_xy: NDArray[np.float64], tilt: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Paste a board with its corners moved by up to `tilt` of its height; returns them (4, 2)."""
    flat = np.array([(0, 0), (board.width, 0), (board.width, board.height), (0, board.height)], np.float64)
    seen = flat + at_xy + rng.uniform(-tilt, tilt, (4, 2)) * board.height
    rows = [
        row
        for (x, y), (u, v) in zip(seen, flat, strict=True)
        for row in ([x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y])
    ]
    homography = tuple(np.linalg.solve(np.array(rows), flat.ravel()))
    warp = partial(Image.Image.transform, size=picture.size, method=Image.Transform.PERSPECTIVE, data=homography)
    picture.paste(warp(board, resample=Image.Resampling.BICUBIC), (0, 0), warp(Image.new("L", board.size, 255)))
    return seen


def score(truth: Rendered, signs: Sequence[Sign], script: str) -> tuple[int, int, int, float]:
    """Signs (of ten) whose script was told, told wrongly, whose words are right, and the mean likeness of the text."""
    told, wrong, right, likeness = 0, 0, 0, 0.0
    for text, box in zip(truth.texts, truth.boxes, strict=True):
        inside = [sign for sign in signs if _is_inside(sign, box)]
        read = _key("".join(sign.text for sign in inside))
        told += any(sign.script == script for sign in inside)
        wrong += any(sign.script in LANGUAGE_PACKS and sign.script != script for sign in inside)
        right += read == _key(text)
        likeness += SequenceMatcher(None, read, _key(text)).ratio() / len(truth.texts)
    return told, wrong, right, likeness


def _is_inside(sign: Sign, box: NDArray[np.float64]) -> bool:
    x, y = (sign.box.left + sign.box.right) / 2, (sign.box.top + sign.box.bottom) / 2
    return bool(box[0] <= x <= box[2] and box[1] <= y <= box[3])


def _key(text: str) -> str:
    """Letters, vowel signs and digits, whatever their case; RapidOCR's kana and tesseract's marks aside."""
    return "".join(c for c in text.casefold() if not c.isspace() and (c.isalnum() or ord(c) > LAST_LATIN_CODE))


def signs_in(rgb: NDArray[np.uint8], reader: OcrReader) -> tuple[Sign, ...]:
    """The signs of a picture; ends the measurement where tesseract fails."""
    result = reader.read(rgb)
    if result.problem:
        raise SystemExit(result.problem)
    return result.signs


def rendered(_: argparse.Namespace) -> Iterator[str]:
    """A row a script, plain and distorted."""
    reader = OcrReader(tesseract=Tesseract(timeout_s=TIMEOUT_S))
    yield "script | plain: told, wrong script, words right, likeness | distorted: the same (of 10 signs)"
    sums = np.zeros((2, 2, 4))
    for script in SIGNS:
        rng = np.random.default_rng(0)
        scores = [
            score(picture, signs_in(picture.rgb, reader), script)
            for picture in (render(script, is_distorted, rng) for is_distorted in (False, True))
        ]
        sums[int(script in LANGUAGE_PACKS)] += scores
        yield f"{script} | " + " | ".join(_shown(row) for row in scores)
    for name, total, scripts in zip(("read by RapidOCR", "others"), sums, (3, len(SIGNS) - 3), strict=True):
        yield f"{name}, % | " + " | ".join(_shown(row * 10 / scripts, likeness=row[3] / scripts) for row in total)


def _shown(row: Sequence[float] | NDArray[np.float64], likeness: float | None = None) -> str:
    return f"{row[0]:.0f}, {row[1]:.0f}, {row[2]:.0f}, {row[3] if likeness is None else likeness:.2f}"


def photos(arguments: argparse.Namespace) -> Iterator[str]:
    """How often a script is claimed on ordinary photos, whether it fits the country, and what it costs."""
    data, gazetteer = load_dev_photos(arguments.data), Gazetteer()
    large = arguments.data / "im2gps3k_dev_large"
    paths = {path.name: path for path in (large if arguments.large else data.items[0].path.parent).glob("*.jpg")}
    rows = [i for i, item in enumerate(data.items) if item.path.name in paths]
    places = gazetteer.places_at(data.lat_lon_deg[rows])
    if arguments.where_used:
        used = {code for script in LANGUAGE_PACKS for code in countries_of_script(script)}
        kept = [i for i, place in enumerate(places) if place is not None and place.country_code in used]
        rows, places = [rows[i] for i in kept], [places[i] for i in kept]
    rows, places = rows[: arguments.limit], places[: arguments.limit]
    counting = CountingTesseract()
    reader = OcrReader(tesseract=counting)
    claimed = fitting = 0
    started = time.perf_counter()
    for row, place in zip(rows, places, strict=True):
        path = paths[data.items[row].path.name]
        signs = [sign for sign in signs_in(load_photo(path).rgb, reader) if sign.script in LANGUAGE_PACKS]
        if signs:
            country = place.country_code if place else None
            fits = [language_weights([sign], sign.languages).of(country) > 0.0 for sign in signs]
            claimed, fitting = claimed + 1, fitting + all(fits)
            for sign in signs:
                yield f"{path.name} in {country}: {sign.script}, {sign.confidence:.2f}, {sign.text!r}"
    total_s = time.perf_counter() - started
    cpu_s = child_cpu_s()
    yield f"{len(rows)} photos: tesseract was given {counting.lines} lines of {counting.photos} photos"
    yield f"a script was claimed on {claimed} photos; on {fitting} all signs fit the country"
    yield f"{total_s / len(rows):.2f} s a photo; tesseract {cpu_s / len(rows):.2f} s of CPU a photo"
    yield f"{cpu_s / max(1, counting.photos):.1f} s where it was asked, with the packs of {len(counting.packs)} scripts"


def library(arguments: argparse.Namespace) -> Iterator[str]:
    """Whether tesseract's library reads each line of photos as its program does, and what each costs."""
    data = load_dev_photos(arguments.data)
    keeping = KeepingTesseract()
    reader = OcrReader(tesseract=keeping)
    for item in data.items[: arguments.limit]:
        signs_in(load_photo(item.path).rgb, reader)
    called, started = Tesseract(timeout_s=TIMEOUT_S), Tesseract(timeout_s=TIMEOUT_S, in_process=False)
    if not called.has_library:
        raise SystemExit("there is no library of the installed tesseract's version")
    if not keeping.kept:
        raise SystemExit("no photo has a line that is given to tesseract: raise --limit")
    begun = cpu_s()
    called.read(keeping.kept[0][:1])
    yield f"loading the packs of {len(called.packs)} scripts and the first line: {cpu_s() - begun:.2f} s of CPU"
    texts: list[list[Reading | None]] = []
    for name, tesseract in (("library", called), ("program", started)):
        begun = cpu_s()
        texts.append([reading for lines in keeping.kept for reading in tesseract.read(lines)])
        yield f"{name}: {(cpu_s() - begun) / len(texts[0]):.2f} s of CPU a line"
    same = sum(one == other for one, other in zip(*texts, strict=True))
    yield f"{same} of {len(texts[0])} lines of {len(keeping.kept)} photos are read alike"


def cpu_s() -> float:
    """CPU time of this process and of those that it started and that have ended."""
    return time.process_time() + child_cpu_s()


def countries_of_script(script: str) -> set[str]:
    """Countries where a sign in the script is likelier than on a photo from anywhere."""
    box = Box(left=0.0, top=0.0, right=1.0, bottom=1.0)
    alone = Sign(text="", confidence=1.0, box=box, script=script, languages=())
    return {code for code, nats in language_weights([alone], ()).nats.items() if nats > 0.0}


def child_cpu_s() -> float:
    """CPU time of the processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class CountingTesseract(Tesseract):
    """Counts photos and lines."""

    def __init__(self) -> None:
        super().__init__(timeout_s=TIMEOUT_S)
        self.photos, self.lines = 0, 0

    def read(self, lines: Sequence[NDArray[np.uint8]]) -> list[Reading | None]:
        """As it reads, counted."""
        self.photos, self.lines = self.photos + bool(lines), self.lines + len(lines)
        return super().read(lines)


class KeepingTesseract(Tesseract):
    """Keeps the lines of each photo, and reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Sequence[NDArray[np.uint8]]] = []

    def read(self, lines: Sequence[NDArray[np.uint8]]) -> list[Reading | None]:
        """None of them."""
        self.kept += [lines] if lines else []
        return [None] * len(lines)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    commands.add_parser("rendered", help="ten rendered signs a script").set_defaults(measure=rendered)
    ordinary = commands.add_parser("photos", help="development photos: false scripts and seconds")
    ordinary.add_argument("--data", type=Path, default=DEFAULT_DATA)
    ordinary.add_argument("--large", action="store_true", help="the 199 photos that are there with 1,024 px")
    ordinary.add_argument("--where-used", action="store_true", help="only photos of countries that use such a script")
    ordinary.add_argument("--limit", type=int, help="photos; default: all")
    ordinary.set_defaults(measure=photos)
    compared = commands.add_parser("library", help="tesseract's library beside its program")
    compared.add_argument("--data", type=Path, default=DEFAULT_DATA)
    compared.add_argument("--limit", type=int, default=120, help="photos")
    compared.set_defaults(measure=library)
    arguments = parser.parse_args()
    if not Tesseract().packs:
        raise SystemExit(f"tesseract with packs of scripts is not installed: {HOW_TO_INSTALL}")
    for line in arguments.measure(arguments):
        print(line, flush=True)


if __name__ == "__main__":
    main()
