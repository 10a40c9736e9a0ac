from typing import get_args

from ram_cli.datasets import PAIRS, SEARCHES, known_names
from ram_cli.losses import LOSSES, METHODS
from ram_cli.models.pooling import POOLINGS
from ram_cli.settings import DatasetName, LossName, MethodName, PoolingName


def test_choices_are_the_keys_of_the_tables():
    assert set(get_args(PoolingName)) == set(POOLINGS)
    assert set(get_args(LossName)) == set(LOSSES)
    assert set(get_args(MethodName)) == set(METHODS)
    assert get_args(DatasetName) == known_names()
    assert set(SEARCHES) | set(PAIRS) < set(known_names())
