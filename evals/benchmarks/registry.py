"""Every benchmark by name. Addresses were looked up in November 2026; some sources are gone, and the notes say so."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from core.errors import UserError
from evals.benchmarks.description import Benchmark, Layout, SourceFile

_FLICKR = "the photographers' own, various; shown on Flickr: for research and measurement only, do not redistribute"
_GONE = "TIBHannover/GeoEstimation, which published this table, took it down in 2026; this is somebody's copy"
_VO = "Vo, Jacobs, Hays: Revisiting IM2GPS in the Deep Learning Era. ICCV 2017"

_IM2GPS = Benchmark(
    name="im2gps",
    summary="237 Flickr photos, a third of them of well-known places",
    expected=237,
    photos=("images", "gps_query_imgs"),
    files=(
        SourceFile(
            file="gps_query_imgs.zip",
            urls=("http://graphics.cs.cmu.edu/projects/im2gps/gps_query_imgs.zip",),
            page="http://graphics.cs.cmu.edu/projects/im2gps/",
            unpack_to="images",
            megabytes=39,
            origin="the authors' own copy",
        ),
        SourceFile(
            file="im2gps_places365.csv",
            urls=(
                "https://raw.githubusercontent.com/ShramanPramanick/Transformer_Based_Geo-localization/main/"
                "resources/im2gps_places365.csv",
            ),
            page="https://github.com/ShramanPramanick/Transformer_Based_Geo-localization",
            megabytes=0.1,
            origin=_GONE,
        ),
    ),
    licence=_FLICKR,
    citation="Hays, Efros: IM2GPS: estimating geographic information from a single image. CVPR 2008",
    notes=(
        "The files' JPEG comments hold the position, the title and the tags: nothing but the pixels may be used.",
        "File names begin with a place name that the table's ids lack; rows are matched by the end of the name.",
    ),
)

_IM2GPS3K = Benchmark(
    name="im2gps3k",
    summary="2,997 Flickr photos, as they come",
    expected=2997,
    photos=("images", "im2gps3ktest"),
    files=(
        SourceFile(
            file="im2gps3ktest.zip",
            urls=(),
            page="https://www.mediafire.com/file/7ht7sn78q27o9we/im2gps3ktest.zip/file"
            " (linked from https://github.com/lugiavn/revisiting-im2gps)",
            unpack_to="images",
            megabytes=477,
            origin="the authors' own copy; MediaFire serves it to browsers only",
        ),
        SourceFile(
            file="im2gps3k_places365.csv",
            urls=(
                "https://media.githubusercontent.com/media/Junchen-Ding/Geolocation/main/results/im2gps3k_places365.csv",
            ),
            page="https://huggingface.co/Jia-py/G3-checkpoint/tree/main",
            megabytes=0.6,
            origin=_GONE,
        ),
    ),
    licence=_FLICKR,
    citation=_VO,
    notes=("The archive holds 3,000 photos; three have no position, and the whole field reports on 2,997.",),
)

_YFCC4K = Benchmark(
    name="yfcc4k",
    summary="4,536 photos of YFCC100M",
    expected=4536,
    photos=("images", "yfcc4k"),
    files=(
        SourceFile(
            file="yfcc4k.zip",
            urls=(),
            page="https://www.mediafire.com/file/3og8y3o6c9de3ye/yfcc4k.zip/file"
            " (linked from https://github.com/lugiavn/revisiting-im2gps)",
            unpack_to="images",
            megabytes=500,
            origin="the authors' own copy; MediaFire serves it to browsers only",
        ),
        SourceFile(
            file="yfcc4k_places365.csv",
            urls=(),
            page="https://huggingface.co/Jia-py/G3-checkpoint/tree/main",
            megabytes=0.9,
            origin=_GONE,
        ),
    ),
    licence="Creative Commons, per photo (YFCC100M)",
    citation=_VO,
    notes=(
        "It shares photographers with MP16, the usual training set and retrieval database: read the clean protocol.",
        "About 3 % of the files in circulation are Flickr's 'photo no longer available' picture.",
        "The 'YFCC4k metadata' linked by G3 is yfcc25600_places365.csv, which is YFCC26k's.",
    ),
)

_YFCC26K = Benchmark(
    name="yfcc26k",
    summary="25,600 photos of YFCC100M",
    expected=25_600,
    photos=("images", "yfcc25600", "yfcc25600/images"),
    files=(
        SourceFile(
            file="yfcc26k.zip",
            urls=(),
            page="https://www.kaggle.com/datasets/lbgan2000/img2gps-yfcc4k (needs a Kaggle account)",
            unpack_to="images",
            megabytes=9_000,
            origin="a mirror; of the addresses in the original list about 1,000 are dead (GeoEstimation issue 29)",
        ),
        SourceFile(
            file="yfcc25600_places365.csv",
            urls=("https://github.com/TIBHannover/GeoEstimation/releases/download/pytorch/yfcc25600_places365.csv",),
            page="https://huggingface.co/Jia-py/G3-checkpoint/tree/main",
            megabytes=5,
            origin="the authors' own copy, likely gone since the repository was emptied in 2026",
        ),
    ),
    licence="Creative Commons, per photo (YFCC100M)",
    citation="Müller-Budack, Pustu-Iren, Ewerth: Geolocation Estimation of Photos Using a Hierarchical Model and"
    " Scene Classification. ECCV 2018 (its validation photos)",
    notes=("It shares photographers with MP16.",),
)

_MML_URL = "https://archive.compute.dtu.dk/downloads/public/projects/MMLandmarks/query"
_MML_PAGE = "https://github.com/Oshkr/mmlandmarks"
_MMLANDMARKS = Benchmark(
    name="mmlandmarks",
    summary="18,688 ground-level photos of 1,000 landmarks in the United States",
    expected=18_688,
    layout=Layout.LANDMARKS,
    photos=("query/ground",),
    files=(
        *(
            SourceFile(
                file=f"query/{table}",
                urls=(f"{_MML_URL}/{table}",),
                page=_MML_PAGE,
                megabytes=0.5,
                origin="the authors' own copy",
            )
            for table in ("mml_query.csv", "mml_query_ground.csv")
        ),
        *(
            SourceFile(
                file=f"query/ground/images_{number:03d}.tar",
                urls=(f"{_MML_URL}/ground/images_{number:03d}.tar",),
                page=_MML_PAGE,
                unpack_to="query/ground",
                md5_url=f"{_MML_URL}/ground/md5.images_{number:03d}.txt",
                megabytes=900,
                origin="the authors' own copy",
            )
            for number in range(4)
        ),
    ),
    licence="Creative Commons and public domain, per photo (Wikimedia Commons; query/mml_query_licenses.csv)",
    citation="Kristoffersen, Reinders, Hannemose, Dahl, Papadopoulos: MMLandmarks. CVPR 2026",
    notes=(
        "The published gallery holds the queries' own coordinates:"
        " GeoCLIP is within 1 km on 21.4 % with them, on 6.7 % without.",
        "A photo's position is its landmark's centre.",
    ),
)

_FOLDER = Benchmark(
    name="folder",
    summary="your own photos: a folder with images/ and one CSV (IMG_ID, LAT, LON, and AUTHOR if it is known)",
    expected=None,
    files=(),
    licence="yours",
    citation="none",
)

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {one.name: one for one in (_IM2GPS, _IM2GPS3K, _YFCC4K, _YFCC26K, _MMLANDMARKS, _FOLDER)}
)


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of a name.

    Raises:
        UserError: no such benchmark; the message lists the valid ones.
    """
    if name not in BENCHMARKS:
        raise UserError(f"unknown benchmark {name!r}: choose one of {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]
