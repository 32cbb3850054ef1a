import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from retrieval.backbones.compact import CLASSES, CompactBackbone, class_distributions  # noqa: E402
from retrieval.encoders.fusion import CrossAttention, DualViewEncoder, FusionEncoder, Views, masked_mean  # noqa: E402

EXACT = {"atol": 2e-6, "rtol": 0.0}


def small_encoder() -> "DualViewEncoder":
    torch.manual_seed(1)
    return DualViewEncoder(CompactBackbone((4, 8, 8, 16), (1, 1, 1)), FusionEncoder(16, CLASSES, 8, 2)).eval()


def small_fusion(layers: int = 2, modality_dropout: float = 0.0, expansion: int = 2) -> "FusionEncoder":
    torch.manual_seed(2)
    fusion = FusionEncoder(
        6, 5, 8, 2, layers, modality_dropout, image_tokens=9, semantic_tokens=9, expansion=expansion, dropout=0.0
    )
    torch.nn.init.normal_(fusion.no_semantic)
    return fusion.eval()


def streams(photos: int, image_tokens: int = 4, semantic_tokens: int = 3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(photos, image_tokens, 6, generator=generator)
    return image, torch.softmax(torch.randn(photos, semantic_tokens, 5, generator=generator), dim=-1)


def assert_same(found: "Views", wanted: "Views") -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def test_shapes_and_unit_length() -> None:
    pixels = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    for view in small_encoder()(pixels):
        assert view.shape == (3, 8)
        torch.testing.assert_close(view.norm(dim=1), torch.ones(3))


def test_other_photos_of_the_batch_do_not_change_a_photo() -> None:
    """The reference implementation attends across the batch; ours must not."""
    encoder, pixels = small_encoder(), torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    others = pixels.clone()
    others[1:] = 255 - others[1:]
    for before, after in zip(encoder(pixels), encoder(others), strict=True):
        torch.testing.assert_close(before[0], after[0], **EXACT)
        assert (before[1] - after[1]).abs().max() > 1e-5


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 6), st.integers(0, 3), st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_a_photo_alone_equals_the_photo_anywhere_in_any_batch(
    photos: int, layers: int, image_tokens: int, semantic_tokens: int, random: "object"
) -> None:
    fusion = small_fusion(layers)
    image, semantic = streams(photos, image_tokens, semantic_tokens)
    together = fusion(image, semantic)
    order = torch.randperm(photos, generator=torch.Generator().manual_seed(random.randint(0, 99)))  # type: ignore[attr-defined]  # hypothesis's Random
    assert_same(fusion(image[order], semantic[order]), Views(*(view[order] for view in together)))
    for i in range(photos):
        assert_same(fusion(image[i : i + 1], semantic[i : i + 1]), Views(*(view[i : i + 1] for view in together)))


def test_flipping_the_batch_flips_the_vectors() -> None:
    fusion, (image, semantic) = small_fusion(), streams(5)
    flipped = fusion(image.flip(0), semantic.flip(0))
    assert_same(flipped, Views(*(view.flip(0) for view in fusion(image, semantic))))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 5), st.integers(0, 5), st.integers(0, 3))
def test_padding_behind_a_mask_changes_nothing_whatever_it_holds(
    image_tokens: int, semantic_tokens: int, more_image: int, more_semantic: int, layers: int
) -> None:
    fusion, (image, semantic) = small_fusion(layers), streams(3, image_tokens, semantic_tokens)
    padded_image = torch.cat([image, torch.full((3, more_image, 6), float("nan"))], dim=1)
    padded_semantic = torch.cat([semantic, torch.full((3, more_semantic, 5), 1e30)], dim=1)
    image_mask = (torch.arange(image_tokens + more_image) < image_tokens).expand(3, -1)
    semantic_mask = (torch.arange(semantic_tokens + more_semantic) < semantic_tokens).expand(3, -1)
    found = fusion(padded_image, padded_semantic, image_mask, semantic_mask)
    assert_same(found, fusion(image, semantic))


def test_a_photo_without_semantics_is_the_same_said_in_either_way() -> None:
    fusion, (image, semantic) = small_fusion(), streams(3)
    mask = torch.ones(3, 3, dtype=torch.bool)
    mask[1] = False
    mixed, off = fusion(image, semantic, None, mask), fusion(image, None)
    assert_same(Views(*(view[1:2] for view in mixed)), Views(*(view[1:2] for view in off)))
    with_semantics = fusion(image, semantic)
    assert_same(Views(*(view[::2] for view in mixed)), Views(*(view[::2] for view in with_semantics)))
    assert (with_semantics.fused[1] - off.fused[1]).abs().max() > 1e-3


def test_without_semantics_the_fused_vector_has_length_1_and_the_semantic_one_0() -> None:
    off = small_fusion()(streams(3)[0], None)
    torch.testing.assert_close(off.fused.norm(dim=1), torch.ones(3))
    assert torch.equal(off.semantic, torch.zeros(3, 8))
    assert (off.fused[0] - off.fused[1]).abs().max() > 1e-3


def test_modality_dropout_makes_some_fused_vectors_those_without_semantics_and_leaves_the_views_alone() -> None:
    fusion, (image, semantic) = small_fusion(modality_dropout=0.4), streams(64)
    whole, off = fusion(image, semantic), fusion(image, None)
    dropped = fusion.train()(image, semantic)
    is_off = (dropped.fused - off.fused).abs().amax(dim=1) < 1e-5
    is_whole = (dropped.fused - whole.fused).abs().amax(dim=1) < 1e-5
    assert torch.equal(is_off, ~is_whole)
    assert 10 < int(is_off.sum()) < 45
    torch.testing.assert_close(dropped.semantic, whole.semantic, **EXACT)
    assert torch.equal(fusion.eval()(image, semantic).fused, whole.fused)


def test_gradients_are_finite_and_reach_everything_when_photos_lack_semantics() -> None:
    fusion, (image, semantic) = small_fusion().train(), streams(3)
    mask = torch.ones(3, 3, dtype=torch.bool)
    mask[0] = False
    views = fusion(image, semantic, None, mask)
    sum((view * torch.randn(3, 8)).sum() for view in views).backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0 or ".key.bias" in name, name


def test_the_fused_vector_depends_on_both_streams_and_the_others_on_their_own() -> None:
    fusion, (image, semantic) = small_fusion(1, expansion=0), streams(1)
    base = fusion(image, semantic)
    other_image, other_classes = fusion(-image, semantic), fusion(image, semantic.flip(-1))
    assert torch.equal(base.semantic, other_image.semantic)
    assert torch.equal(base.image, other_classes.image)
    assert (base.fused - other_image.fused).abs().max() > 1e-3
    assert (base.fused - other_classes.fused).abs().max() > 1e-3


def test_more_layers_change_the_fused_vector_only() -> None:
    one, two = small_fusion(1), small_fusion(2)
    two.load_state_dict({**two.state_dict(), **one.state_dict()})
    image, semantic = streams(2)
    assert torch.equal(one(image, semantic).image, two(image, semantic).image)
    assert (one(image, semantic).fused - two(image, semantic).fused).abs().max() > 1e-3


def test_attention_equals_a_plain_loop() -> None:
    torch.manual_seed(3)
    layer, asking, answering = CrossAttention(8, 2).eval(), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    mask = torch.tensor([[True, True, True, False, True], [True, False, False, False, False]])
    answers = layer.answer_norm(answering)
    query, key, value = layer.query(layer.ask_norm(asking)), layer.key(answers), layer.value(answers)
    mixed = torch.zeros(2, 3, 8)
    for photo in range(2):
        real = mask[photo]
        for token in range(3):
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                scores = key[photo, real, part] @ query[photo, token, part] / math.sqrt(4)
                mixed[photo, token, part] = torch.softmax(scores, dim=0) @ value[photo, real, part]
    torch.testing.assert_close(layer(asking, answering, mask), asking + layer.out(mixed))


def test_masked_mean_by_hand() -> None:
    tokens = torch.tensor([[[1.0], [3.0], [50.0]], [[7.0], [8.0], [9.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    assert masked_mean(tokens, mask).tolist() == [[2.0], [0.0]]


def test_more_tokens_than_places_and_heads_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ValueError, match="10 tokens for 9 places"):
        small_fusion()(torch.randn(1, 10, 6), None)
    with pytest.raises(ValueError, match="not divisible"):
        CrossAttention(8, 3)


def test_class_distributions_keep_reading_order_and_sum_to_1() -> None:
    logits = torch.zeros(1, CLASSES, 4, 4)
    logits[0, 7, 0:2, 2:4] = 50.0
    found = class_distributions(logits)
    assert found.shape == (1, 4, CLASSES)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(1, 4))
    assert found[0, 1].argmax() == 7
    assert found[0, 1, 7] > 0.99 > found[0, 0, 7]
