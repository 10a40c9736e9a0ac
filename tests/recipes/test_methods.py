"""Every distillation method through the command line, on tiny networks."""

import json
import math
from pathlib import Path

import pytest
from PIL import Image
from tiny_runs import DISTILL, TINY, TRAIN

from ram_cli import load_model


def losses(run: str) -> list[float]:
    lines = [json.loads(line) for line in Path(run, "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if line["kind"] == "train"]


@pytest.mark.parametrize("mode", ["reg", "cross_entropy", "rkd", "darkrank"])
def test_methods_on_plain_views(teacher, images, call, mode):
    code, _, err = call(
        *DISTILL, "--mode", mode, "--dataset", images, "--teacher", teacher, "--student", teacher,
        "--epochs", "3", "--output", "student", "--no-val", "--log-every", "1",
        "--log-with", "none",
    )  # fmt: skip
    assert code == 0, err
    seen = losses("student")
    assert all(math.isfinite(loss) for loss in seen)
    assert sum(seen[-3:]) < sum(seen[:3])
    assert load_model("student/final").dimension == 16


@pytest.mark.parametrize("views", ["auto", "2"])
@pytest.mark.parametrize("method", ["csd", "d3", "ssp"])
def test_methods_on_neighbours_and_anchors(teacher, images, call, method, views):
    code, _, err = call(
        *DISTILL, "--method", method, "--views", views, "--dataset", images, "--teacher", teacher,
        "--student", teacher, "--epochs", "3", "--output", "student", "--no-val", "--log-every",
        "1", "--log-with", "none",
    )  # fmt: skip
    assert code == 0, err
    seen = losses("student")
    assert all(math.isfinite(loss) for loss in seen)
    assert sum(seen[-3:]) < sum(seen[:3])
    assert load_model("student/final").dimension == 16


def test_what_ssp_and_d3_cannot_do_is_said_before_a_run_begins(teacher, images, call):
    words = [*DISTILL, "--dataset", images, "--teacher", teacher, "--student", teacher]
    code, _, err = call(*words, "--method", "ssp", "--subspaces", "3")
    assert code == 2
    assert "subspaces" in err
    code, _, err = call(*words, "--method", "d3", "--neighbours", "1")
    assert code == 2
    assert "--neighbours" in err
    assert not list(Path("runs").glob("*"))


OVER_TUPLES = [
    ["--mode", "ts"],
    ["--mode", "ts_self", "--loss", "contrastive"],
    ["--mode", "ts", "--loss", "contrastive_dist"],
    ["--method", "random-negatives"],
    ["--mode", "rand", "--loss", "triplet"],
    ["--method", "multi-similarity"],
    ["--mode", "ts", "--loss", "cross_entropy_dist"],
    ["--mode", "rand_tpl"],
]


@pytest.mark.parametrize("side", [[], ["--symmetric"]], ids=["asym", "sym"])
@pytest.mark.parametrize("words", [*OVER_TUPLES, ["--mode", "reg_only_pos"]], ids=" ".join)
def test_methods_over_tuples(teacher, images, call, words, side):
    code, _, err = call(
        *DISTILL, *words, *side, "--dataset", images, "--teacher", teacher, "--student", teacher,
        "--negatives", "3", "--epochs", "1", "--images-per-epoch", "16", "--output", "student",
        "--no-val", "--log-every", "1", "--log-with", "none",
    )  # fmt: skip
    if side and words not in OVER_TUPLES:
        assert code == 2
        assert "symmetric" in err
        return
    assert code == 0, err
    assert all(math.isfinite(loss) for loss in losses("student"))
    assert load_model("student/final").dimension == 16


def test_batches_too_small_to_compare_are_refused(teacher, images, call):
    words = [*DISTILL, "--dataset", images, "--teacher", teacher, "--student", teacher]
    code, _, err = call(*words, "--method", "rkd", "--batch-size", "2")
    assert code == 2
    assert "batch_size" in err
    assert not list(Path("runs").glob("*"))


def test_symmetric_is_for_methods_with_positives(teacher, images, call):
    words = [*DISTILL, "--dataset", images, "--teacher", teacher, "--student", teacher]
    code, _, err = call(*words, "--method", "regression", "--symmetric")
    assert code == 2
    assert "symmetric" in err
    code, _, err = call(*words, "--method", "regression", "--negatives-from", "random")
    assert code == 2
    assert "negatives_from" in err


@pytest.mark.parametrize("loss", ["contrastive", "triplet", "multi-similarity"])
def test_a_network_learns_over_tuples_without_a_teacher(images, call, loss):
    code, _, err = call(
        *TRAIN, "--mode", "std", "--loss", loss, "--dataset", images, "--output", "run",
        "--epochs", "4", "--log-every", "1", "--projection-start", "random", "--batch-size", "6",
        "--log-with", "none", "--no-val",
    )  # fmt: skip
    assert code == 0, err
    seen = losses("run")
    assert sum(seen[-6:]) < sum(seen[:6])


def test_a_network_trained_alone_may_have_the_convolution_of_students(images, call):
    code, _, err = call(
        *TRAIN, "--mode", "std", "--adapter", "12", "--whitening", "0", "--epochs", "1",
        "--dataset", images, "--output", "run", "--no-val",
    )  # fmt: skip
    assert code == 0, err
    model = load_model("run/final")
    assert (model.config.adapter, model.dimension, model.projection) == (12, 12, None)


def test_a_narrow_student_of_a_teacher_without_projection_gets_a_convolution(images, call):
    code, _, err = call(
        *TRAIN, "--whitening", "0", "--backbone", "timm:test_efficientnet", "--epochs", "1",
        "--dataset", images, "--output", "teacher",
    )  # fmt: skip
    assert code == 0, err
    width = load_model("teacher/final").dimension
    for student, adapter in ((TINY, width), ("timm:test_efficientnet", 0)):
        code, _, err = call(
            *DISTILL, "--dataset", images, "--teacher", "teacher", "--student", student,
            "--no-pretrained", "--epochs", "1", "--method", "contrastive", "--negatives", "2",
            "--image-size", "32", "--output", f"student-{adapter}", "--no-val",
        )  # fmt: skip
        assert code == 0, err
        trained = load_model(f"student-{adapter}/final")
        assert trained.config.adapter == adapter
        assert trained.projection is None
        assert trained.dimension == width
    code, _, err = call(
        *DISTILL, "--dataset", images, "--teacher", "teacher", "--student", TINY,
        "--no-pretrained", "--adapter", "7",
    )  # fmt: skip
    assert code == 2
    assert "7" in err


@pytest.fixture(scope="session")
def photographs(tmp_path_factory, images) -> Path:
    """The same images with parts cut off, in several aspects."""
    folder = tmp_path_factory.mktemp("aspects") / "photographs"
    for number, path in enumerate(sorted(images.rglob("*.jpg"))):
        left, top = (0, 18) if number % 3 == 0 else (24, 0) if number % 3 == 1 else (0, 0)
        target = folder / path.relative_to(images)
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.crop((left, top, *image.size)).save(target, quality=92)
    return folder


@pytest.mark.parametrize("method", ["regression", "contrastive", "contrastive --symmetric"])
def test_whole_images_of_varying_shape(teacher, photographs, call, monkeypatch, method):
    from ram_cli.engine import shaped

    seen = []
    embed = shaped.embed_shaped

    def watched(model, batch, *more):
        seen.append([tuple(views.shape[2:]) for views in batch.views])
        return embed(model, batch, *more)

    monkeypatch.setattr("ram_cli.engine.tuples.embed_shaped", watched)
    monkeypatch.setattr("ram_cli.engine.distillation.embed_shaped", watched)
    code, _, err = call(
        *DISTILL, "--dataset", photographs, "--teacher", teacher, "--student", teacher,
        "--fit", "whole", "--method", *method.split(), "--negatives", "2", "--epochs", "1",
        "--image-size", "48", "--output", "student", "--log-with", "none",
    )  # fmt: skip
    assert code == 0, err
    shapes = {shape for batch in seen for shape in batch}
    assert len(shapes) >= 3
    assert all(max(shape) == 48 for shape in shapes)
    one_shape = all(len(batch) == 1 for batch in seen)
    assert one_shape == ("--symmetric" not in method)
    if method != "contrastive":
        return
    code, out, err = call("test", "--student", "student", "--asym", "--workers", "0", "--json")
    assert code == 0, err
    validated = json.loads(Path("student/best/config.json").read_text())["provenance"]["settings"]
    assert validated["fit"] == "whole"
    cropped = call("test", "--student", "student", "--asym", "--workers", "0", "--json",
                   "--fit", "crop")  # fmt: skip
    assert json.loads(out)["rows"][0]["map"] != json.loads(cropped[1])["rows"][0]["map"]
