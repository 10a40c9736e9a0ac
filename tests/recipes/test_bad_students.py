"""Heads and dimensions that a model cannot follow, and places that hold something else."""

from pathlib import Path

import pytest
from tiny_runs import DISTILL, TINY, TRAIN, refused, write_images


@pytest.mark.parametrize(
    "command", ["tune --lr-range 1e-4,1e-2", "compare --methods csd,ssp --seeds 1"]
)
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--student", "{}", "--pool", "mac"], "pool: {} is a model and keeps its own (gem)"),
        (["--student", "resnet5"], "there is no model 'resnet5'"),
        (["--whitening", "8"], "whitening: the student embeds in 8 dimensions, the teacher in 16"),
    ],
)
def test_a_student_that_cannot_be_is_told_before_several_trainings(
    call, teacher, command, words, told
):
    said = [word.format(teacher) for word in words]
    code = 1 if "resnet5" in words else 2
    base = [*command.split(), *DISTILL[1:], "--teacher", teacher, "--output", "run"]
    err = refused(call, *base, *said, code=code)
    assert told.format(teacher) in err
    assert err.count("error") == 1
    assert not Path("run").exists()


def test_a_comparison_leaves_folders_with_something_else_alone(call, teacher):
    images = write_images(Path("photos"))
    before = sorted(images.rglob("*"))
    base = ["compare", *DISTILL[1:], "--methods", "csd", "--seeds", "1", "--teacher", teacher]
    assert "photos is not empty" in refused(call, *base, "--output", "photos")
    assert sorted(images.rglob("*")) == before


def test_a_page_that_cannot_be_written_is_told_before_the_test(call, teacher):
    Path("folder").mkdir()
    err = refused(call, "test", "--student", teacher, "--sym", "--report", "folder")
    assert "cannot write folder: it is a folder" in err
    assert "images" not in err  # the dataset was not opened


def test_a_run_goes_on_with_a_head_that_it_asked_for_in_vain(call, images, teacher):
    said = [word for word in TRAIN if word not in ("--backbone", TINY, "--no-pretrained")]
    dimension = said.index("--whitening")
    said[dimension : dimension + 2] = []
    code, _, err = call(*said, "--backbone", teacher, "--dataset", images, "--output", "run")
    assert code == 0, err
    config = Path("run/config.toml")
    config.write_text(config.read_text().replace('pool = "gem"', 'pool = "mac"'))
    assert "keeps its own (gem), not mac" in refused(
        call, "train", "--config", "run/config.toml", "--output", "other", code=2
    )
    code, _, err = call("train", "--resume", "run")
    assert code == 0, err
    assert "keeps its own head: pool gem" in err


def test_a_model_of_another_dimension_is_no_student(call, teacher, images):
    said = [*TRAIN, "--dataset", images, "--whitening", "8", "--output", "narrow"]
    code, _, err = call(*said)
    assert code == 0, err
    told = refused(
        call, *DISTILL, "--teacher", teacher, "--student", "narrow", "--output", "run", code=2
    )
    assert "student: narrow embeds in 8 dimensions, the teacher in 16. Name a backbone" in told
