import pytest
import torch
from losses_golden import PRECISIONS, assert_golden, golden, leaf, seeded, unit

from ram_cli.errors import ConfigError, ModelError
from ram_cli.losses import contrastive_loss, symmetric_batch_loss, triplet_loss


@pytest.mark.parametrize(("dtype", "tag"), PRECISIONS)
def test_published_step_is_met(dtype, tag):
    numbers = golden("raml_losses")
    embeddings, mined = leaf(numbers["symtrain_E"], dtype), leaf(numbers["symtrain_N"], dtype)
    parts = symmetric_batch_loss(
        embeddings, numbers["symtrain_labels"], mined.view(8, 4, 16), "triplet", 0.7, "sum"
    )
    assert_golden(parts["loss"], numbers[f"symtrain_value_{tag}"], dtype)
    grads = torch.autograd.grad(parts["loss"], (embeddings, mined))
    for grad, name in zip(grads, "EN", strict=True):
        assert_golden(grad, numbers[f"symtrain_grad_{name}_{tag}"], dtype)
    mean = symmetric_batch_loss(
        embeddings, numbers["symtrain_labels"], mined.view(8, 4, 16), "triplet", 0.7
    )["loss"]
    assert_golden(mean * 8, numbers[f"symtrain_value_{tag}"], dtype)


@pytest.mark.parametrize(("name", "loss"), [("triplet", triplet_loss), ("std", contrastive_loss)])
@pytest.mark.parametrize(
    "labels", [[5, 5], [1, 2, 1, 2, 1], [0, 0, 3, 0, 9, 3], [4, 4, 4, 4, 8, 8, 8, 8, 1]]
)
def test_uneven_classes_equal_a_loop_over_anchors(name, loss, labels):
    generator = seeded(len(labels))
    embeddings, negatives = unit(generator, len(labels), 8), unit(generator, len(labels), 3, 8)
    values, cosines = [], []
    for i, label in enumerate(labels):
        positives = [j for j, other in enumerate(labels) if other == label and j != i]
        if positives:
            positive = embeddings[positives].unsqueeze(0)
            values.append(loss(embeddings[i : i + 1], positive, negatives[i : i + 1], 0.6))
            cosines.extend((embeddings[positives] @ embeddings[i]).tolist())
    parts = symmetric_batch_loss(embeddings, torch.tensor(labels), negatives, name, 0.6)
    assert set(parts) == {"loss", "positive_similarity", "negative_similarity"}
    torch.testing.assert_close(parts["loss"], torch.stack(values).mean())
    assert parts["positive_similarity"].item() == pytest.approx(sum(cosines) / len(cosines))


def test_a_batch_without_positives_gives_zero():
    embeddings = unit(seeded(), 3, 8).requires_grad_()
    negatives = unit(seeded(1), 3, 2, 8)
    parts = symmetric_batch_loss(embeddings, torch.arange(3), negatives, "triplet", 0.7)
    parts["loss"].backward()
    assert {part.item() for part in parts.values()} == {0.0}
    assert not embeddings.grad.any()


def test_autocast_does_not_reach_the_step():
    embeddings = unit(seeded(), 8, 16, dtype=torch.float32)
    args = (torch.arange(8) // 4, unit(seeded(1), 8, 4, 16, dtype=torch.float32), "triplet", 0.7)
    expected = symmetric_batch_loss(embeddings, *args)["loss"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = symmetric_batch_loss(embeddings, *args)["loss"]
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_bad_input_is_refused():
    embeddings, labels, negatives = torch.zeros(4, 8), torch.zeros(4).long(), torch.zeros(4, 2, 8)
    with pytest.raises(ConfigError):
        symmetric_batch_loss(embeddings, labels, negatives, "tripet", 0.7)
    with pytest.raises(ModelError):
        symmetric_batch_loss(embeddings, labels[:3], negatives, "triplet", 0.7)
    with pytest.raises(ModelError):
        symmetric_batch_loss(embeddings, labels, negatives[:3], "triplet", 0.7)
