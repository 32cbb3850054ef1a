import pytest

from retrieval.splits import SHARES, inner_split, part_indices, split_by_author

AUTHORS = [f"author{i % 37}" for i in range(500)]


def test_no_author_is_in_two_parts() -> None:
    parts: dict[str, set[str]] = {}
    for author, part in zip(AUTHORS, split_by_author(AUTHORS), strict=True):
        parts.setdefault(author, set()).add(part)
    assert all(len(found) == 1 for found in parts.values())


def test_shares_are_reached_up_to_one_author() -> None:
    found = split_by_author(AUTHORS)
    largest = max(AUTHORS.count(author) for author in set(AUTHORS))
    for part, share in SHARES.items():
        assert abs(found.count(part) - share * len(AUTHORS)) <= largest


def test_the_order_of_the_photos_does_not_matter() -> None:
    forward = dict(zip(AUTHORS, split_by_author(AUTHORS), strict=True))
    backward = dict(zip(AUTHORS[::-1], split_by_author(AUTHORS[::-1]), strict=True))
    assert forward == backward


def test_the_split_is_fixed_for_ever() -> None:
    """A changed salt or rule would let training see yesterday's validation photos."""
    assert split_by_author(["ann", "bob", "cem", "dia", "eve"] * 4) == FIXED * 4


FIXED = ["train", "validation", "train", "validation", "train"]


def test_inner_split_parts_training_authors_only_in_two() -> None:
    assert set(inner_split(AUTHORS)) == {"inner_train", "inner_validation"}


def test_parts_are_disjoint_and_complete() -> None:
    indices = [i for part in SHARES for i in part_indices(AUTHORS, part)]
    assert sorted(indices) == list(range(len(AUTHORS)))


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="train, validation, calibration"):
        part_indices(AUTHORS, "test")
    with pytest.raises(ValueError, match="sum to 1"):
        split_by_author(AUTHORS, {"train": 0.5})


def test_one_author_goes_into_the_first_part() -> None:
    assert split_by_author(["only"]) == ["train"]
    assert split_by_author([]) == []
