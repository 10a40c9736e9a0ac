from typing import get_args

import pytest
import torch
from losses_golden import seeded, unit

from ram_cli import losses
from ram_cli.errors import ConfigError
from ram_cli.losses import LOSSES, METHODS, Tuples, find_loss, find_method
from ram_cli.settings.choices import LossName, MethodName
from ram_cli.settings.published import PUBLISHED_NAMES, PUBLISHED_PAIRS, PUBLISHED_TRAININGS


def test_keys_are_the_choices_of_the_settings():
    assert tuple(LOSSES) == get_args(LossName)
    assert tuple(METHODS) == get_args(MethodName)


def test_rows_hold_what_they_are_filed_under():
    for table in (LOSSES, METHODS):
        for name, entry in table.items():
            assert entry.name == name
            assert entry.description.endswith(".")
            assert entry.description.count(".") == 1


def test_aliases_are_found_and_clash_with_nothing():
    for published, name in PUBLISHED_NAMES.items():
        if published in ("sym", "std"):
            assert find_loss(published) is LOSSES[name]
        else:
            assert find_method(published) is METHODS[name]
    assert all(pair["method"] in METHODS for pair in PUBLISHED_PAIRS.values())
    assert all(training["loss"] in LOSSES for training in PUBLISHED_TRAININGS.values())
    for table in (LOSSES, METHODS):
        names = [name for entry in table.values() for name in (entry.name, *entry.aliases)]
        assert len(names) == len(set(names))


def test_an_unknown_name_lists_the_closest():
    with pytest.raises(ConfigError, match="triplet"):
        find_loss("tripplet")
    with pytest.raises(ConfigError, match="coupled"):
        find_method("cuppled")
    with pytest.raises(ConfigError, match="cosine-regression"):
        find_method("xyz")


def test_functions_take_what_the_tables_say():
    student, teacher = unit(seeded(), 2, 3, 8), unit(seeded(1), 2, 3, 8)
    unit_pair = unit(seeded(2), 2, 8), teacher[:, 1:]
    arguments = {
        "coupled": (student, teacher),
        "vectors": (student[0], teacher[0]),
        "batch": (student[0], teacher[0]),
        "tuples": (Tuples(student[:, 0], teacher[:, :1], teacher[:, 1:], *unit_pair),),
        "neighbours": (student, teacher, unit(seeded(3), 9, 8)),
        "anchors": (student, teacher, unit(seeded(3), 2, 5, 4)),
        "ranked": (Tuples(student[:, 0], teacher[:, :1], teacher[:, 1:2], *unit_pair),),
    }
    for method in METHODS.values():
        weights = dict.fromkeys(method.weights, 0.5)
        if "neighbours" in weights:
            weights["neighbours"] = 3
        parts = method.function(*arguments[method.kind], **weights)
        assert all(torch.isfinite(part) and part.shape == () for part in parts.values())
    mask = torch.ones(2, 3, dtype=torch.bool)
    for loss in LOSSES.values():
        value = loss.function(student[:, 0], student, teacher, 0.7, "none", positive_mask=mask)
        assert value.shape == (2,)


def test_public_names():
    assert {
        "absolute_loss",
        "relational_loss",
        "triplet_loss",
        "contrastive_loss",
        "multi_similarity_loss",
        "rkd_loss",
        "darkrank_loss",
    } <= set(losses.__all__)
    assert all(hasattr(losses, name) for name in losses.__all__)
