"""Small networks run fastest on one thread; more of them only wait for each other."""

from collections.abc import Iterator

import pytest
import torch
from hub_fixtures import hub, logged_in  # noqa: F401
from models_server import Server, serving

torch.set_num_threads(1)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as running:
        yield running
