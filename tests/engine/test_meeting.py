"""Processes of one start of a job agree on a name, whatever earlier starts left behind."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import HashStore, PrefixStore

from ram_cli.engine.meeting import name_of_start


def given() -> HashStore:
    store = HashStore()
    store.set_timeout(timedelta(seconds=5))
    return store


def start(store: HashStore, late: int, count: int = 3) -> set[str]:
    """Names that the processes of one start come to have, of which `late` comes last."""

    def process(index: int) -> str:
        time.sleep(0.1 * (index == late))
        return name_of_start(store, index, count)

    with ThreadPoolExecutor(count) as processes:
        return set(processes.map(process, range(count)))


@pytest.mark.parametrize("late", [0, 2])
def test_every_start_has_one_name_of_its_own(late):
    store = given()
    names = [start(store, late) for _ in range(3)]
    assert [len(name) for name in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3


def test_what_the_dead_had_asked_is_not_taken_for_a_question_of_the_living():
    store = given()
    PrefixStore("ram", store).set("question 1", "of a process that is gone")
    assert len(start(store, late=1)) == 1


def test_one_process_has_nobody_to_wait_for():
    assert name_of_start(given(), 0, 1)
