"""Pairs that come with a dataset: which are trained on, and what is seen of their images."""

from types import SimpleNamespace

import numpy as np

from ram_cli.recipes.common import chosen_fit, training_pairs

TRAIN, VAL = np.array([[0, 3], [2, 1]]), np.array([[0, 1]])


def test_pairs_follow_the_images_that_are_trained_on():
    both = SimpleNamespace(train=range(5), pairs={"train": TRAIN, "val": VAL})
    assert training_pairs(both, val=True).tolist() == TRAIN.tolist()
    assert training_pairs(both, val=False).tolist() == [[0, 3], [2, 1], [5, 6]]
    alone = SimpleNamespace(train=range(5), pairs={"train": TRAIN})
    assert training_pairs(alone, val=False).tolist() == TRAIN.tolist()
    assert training_pairs(SimpleNamespace(train=range(5), pairs={}), val=True) is None


def test_images_with_pairs_are_seen_whole_unless_told_otherwise():
    landmarks, products = SimpleNamespace(pairs={"train": TRAIN}), SimpleNamespace(pairs={})
    assert chosen_fit(None, landmarks) == "whole"
    assert chosen_fit(None, products) == "crop"
    assert chosen_fit("crop", landmarks) == "crop"
    assert chosen_fit("whole", products) == "whole"
