"""A small folder of images that a tiny network can learn, and networks trained on it."""

from pathlib import Path

import pytest
from hub_fixtures import hub, logged_in  # noqa: F401
from tiny_runs import TRAIN, write_images


@pytest.fixture(scope="session")
def images(tmp_path_factory) -> Path:
    return write_images(tmp_path_factory.mktemp("images") / "stripes")


@pytest.fixture
def call(capsys, empty_folder):
    """Run the command line in an empty folder; gives exit code, stdout and stderr."""
    from ram_cli.cli.main import main

    def run(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return int(stopped.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def teacher(images, tmp_path_factory) -> Path:
    """Run folder of a tiny teacher."""
    from ram_cli.cli.main import main

    run = tmp_path_factory.mktemp("runs") / "teacher"
    with pytest.raises(SystemExit) as stopped:
        main([*TRAIN, "--dataset", str(images), "--output", str(run)])
    assert not stopped.value.code
    return run
