import math

import pytest

torch = pytest.importorskip("torch", reason="training needs the train extra")

from retrieval.backbones import CLASSES, CompactBackbone, class_distributions  # noqa: E402
from retrieval.fusion import CrossAttention, DualViewEncoder, FusionEncoder  # noqa: E402


def small_encoder() -> "DualViewEncoder":
    torch.manual_seed(1)
    return DualViewEncoder(CompactBackbone((4, 8, 8, 16), (1, 1, 1)), FusionEncoder(16, 8, 2, tokens=4)).eval()


def test_shapes_and_unit_length() -> None:
    pixels = torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)
    for view in small_encoder()(pixels):
        assert view.shape == (3, 8)
        torch.testing.assert_close(view.norm(dim=1), torch.ones(3))


def test_other_rows_of_the_batch_do_not_change_row_0() -> None:
    """The reference implementation attends across the batch; ours must not."""
    encoder, pixels = small_encoder(), torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    others = pixels.clone()
    others[1:] = 255 - others[1:]
    for before, after in zip(encoder(pixels), encoder(others), strict=True):
        torch.testing.assert_close(before[0], after[0], atol=1e-6, rtol=0.0)
        assert (before[1] - after[1]).abs().max() > 1e-3


def test_the_fused_vector_depends_on_both_streams_and_the_others_on_their_own() -> None:
    torch.manual_seed(2)
    fusion = FusionEncoder(16, 8, 2, tokens=4).eval()
    tokens, classes = torch.randn(1, 4, 16), torch.softmax(torch.randn(1, 4, CLASSES), dim=-1)
    base = fusion(tokens, classes)
    other_image, other_classes = fusion(-tokens, classes), fusion(tokens, classes.flip(-1))
    assert torch.equal(base.semantic, other_image.semantic)
    assert torch.equal(base.image, other_classes.image)
    assert (base.fused - other_image.fused).abs().max() > 1e-3
    assert (base.fused - other_classes.fused).abs().max() > 1e-3


def test_attention_equals_a_plain_loop() -> None:
    torch.manual_seed(3)
    layer, asking, answering = CrossAttention(8, 2).eval(), torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    answers = layer.answer_norm(answering)
    query, key, value = layer.query(layer.ask_norm(asking)), layer.key(answers), layer.value(answers)
    mixed = torch.zeros(2, 3, 8)
    for photo in range(2):
        for token in range(3):
            for head in range(2):
                part = slice(4 * head, 4 * head + 4)
                scores = key[photo, :, part] @ query[photo, token, part] / math.sqrt(4)
                mixed[photo, token, part] = torch.softmax(scores, dim=0) @ value[photo, :, part]
    torch.testing.assert_close(layer(asking, answering), asking + layer.out(mixed))


def test_class_distributions_keep_reading_order_and_sum_to_1() -> None:
    logits = torch.zeros(1, CLASSES, 4, 4)
    logits[0, 7, 0:2, 2:4] = 50.0
    found = class_distributions(logits)
    assert found.shape == (1, 4, CLASSES)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(1, 4))
    assert found[0, 1].argmax() == 7
    assert found[0, 1, 7] > 0.99 > found[0, 0, 7]
