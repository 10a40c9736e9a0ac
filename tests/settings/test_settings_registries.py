from typing import get_args

from ram_cli.losses import LOSSES, METHODS
from ram_cli.models.pooling import POOLINGS
from ram_cli.settings import LossName, MethodName, PoolingName


def test_choices_are_the_keys_of_the_tables():
    assert set(get_args(PoolingName)) == set(POOLINGS)
    assert set(get_args(LossName)) == set(LOSSES)
    assert set(get_args(MethodName)) == set(METHODS)
