"""Classes that a model was trained on are no test classes, whatever the folder is called."""

import shutil
from pathlib import Path

import pytest
from tiny_runs import TRAIN, write_images

from ram_cli.progress import SILENT
from ram_cli.recipes.as_trained import datasets_to_test
from ram_cli.settings import TestSettings

ALIKE = ["test", "--student", "run", "--sym", "--workers", "0", "--device", "cpu"]


@pytest.fixture
def trained(call):
    """A run on a folder that was split by a seed of its own, beside other names of that folder."""
    write_images(Path("stripes"), classes=8)
    short = [*TRAIN, "--epochs", "1", "--dataset", "stripes", "--split-seed", "7"]
    code, _, err = call(*short, "--output", "run")
    assert code == 0, err


def opened(*names, **said):
    """Images of the test classes of the first dataset that a test of the run opens."""
    settings = TestSettings.settled({"student": "run", "dataset": names, **said})
    return datasets_to_test(settings, "run/best", SILENT)[0].test.paths


def test_another_name_of_the_folder_is_split_as_for_training(trained):
    Path("link").symlink_to("stripes")
    shutil.copytree("stripes", "copy")
    expected = opened()
    assert expected != opened("stripes", split_seed=0)
    for name in ("./stripes/", str(Path("stripes").resolve()), "link", "copy"):
        assert opened(name) == expected, name


def test_a_folder_that_has_changed_is_warned_about(call, trained):
    shutil.copytree("stripes/class 00", "stripes/another")
    _, _, err = call(*ALIKE)
    assert "stripes has changed since the model was trained on it" in err
    _, _, err = call(*ALIKE, "--dataset", "stripes", "--split-seed", "0")
    assert "--split-seed: not as when the model was trained" in err


def test_other_images_are_split_as_asked(trained):
    write_images(Path("more/stripes"), classes=9)
    assert opened("more/stripes") == opened("more/stripes", split_seed=0)


def test_a_folder_that_is_gone_is_asked_for(call, trained):
    Path("stripes").rename("elsewhere")
    code, _, err = call(*ALIKE)
    assert code == 1
    assert "the model was trained on the folder stripes, which is not here" in err
    assert "--dataset" in err
