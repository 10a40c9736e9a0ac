"""Searches for landmarks through the command line: protocols, whitening, distractors, bad input."""

import json
import re
from pathlib import Path

import pytest
import torch
from landmark_maker import make_pairs, make_search_set
from PIL import Image
from safetensors.torch import load_file
from tiny_runs import DISTILL, TINY

from ram_cli.datasets import load_distractors, load_pairs, load_search_set
from ram_cli.engine import resolve_runtime
from ram_cli.errors import UnreadableImageError
from ram_cli.evaluation import apply_whitening, embed_images, revisited_metrics, whiten_supervised
from ram_cli.models import build_embedder, load_model, save_model
from ram_cli.recipes import blocks
from ram_cli.recipes.blocks import VectorBlocks
from ram_cli.recipes.comparison import Side
from ram_cli.recipes.projection import SHRINKAGE

PLAIN = ["--workers", "0", "--device", "cpu", "--precision", "fp32", "--json"]
SCALES = (1.0, 0.5)


@pytest.fixture(scope="module")
def data(images, tmp_path_factory) -> Path:
    """Folder of data sets: two kinds of ground truth, pairs, distractors."""
    root = tmp_path_factory.mktemp("landmarks")
    classes = [sorted(folder.iterdir()) for folder in sorted(images.iterdir())]
    make_search_set(root, "roxford5k", classes[:6], side=64)
    make_search_set(root, "oxford5k", classes[6:], side=64, old=True)
    make_pairs(root, "sfm30k", classes, "retrieval-SfM-30k-whiten.pkl")
    return root


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    """Model folders of a student and a teacher of the same dimension."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("student", "teacher")):
        torch.manual_seed(seed)
        model = build_embedder("timm:test_resnet", pretrained=False, dimension=8, input_size=48)
        save_model(model, folder / name, provenance={})
    return folder / "student", folder / "teacher"


def rows_of(call, *words: object) -> list[dict]:
    code, out, err = call("test", *words, *PLAIN)
    assert code == 0, err
    return json.loads(out)["rows"]


def test_rows_are_the_protocols_of_vectors_whitened_by_the_teacher(call, data, pair, images):
    student, teacher = pair
    rows = rows_of(
        call, "--student", student, "--teacher", teacher, "--asym", "--image-size", 32,
        "--dataset", "roxford5k,oxford5k", "--data-root", data, "--scales", "1,1/2",
        "--test-whiten", "retrieval-SfM-30k", "--distractors", images,
    )  # fmt: skip
    assert [row["protocol"] for row in rows] == ["easy", "medium", "hard", "old"]

    def embed(name, size, of):
        return embed_images(
            load_model(name), of, runtime=resolve_runtime("cpu", "fp32"), size=size, fit="whole",
            scales=SCALES,
        )  # fmt: skip

    search = load_search_set("roxford5k", data)
    pairs = load_pairs("sfm30k", data)
    learned = whiten_supervised(
        embed(teacher, 48, pairs.images), *pairs.pairs.T, shrinkage=SHRINKAGE
    )
    gallery = [search.gallery, load_distractors(str(images), data)]
    found = revisited_metrics(
        apply_whitening(embed(student, 32, search.queries), learned),
        [apply_whitening(embed(teacher, 48, part), learned) for part in gallery],
        search.ground_truth,
    )
    for row, expected in zip(rows, (found.easy, found.medium, found.hard), strict=False):
        assert row["map"] == pytest.approx(100 * expected.map, abs=1e-6)
        assert row["precision_at_10"] == pytest.approx(100 * expected.precision_at[2], abs=1e-6)
        assert row["whitening"] == "whitened, sfm30k"


def test_distractors_go_on_at_the_last_finished_block(images, data, pair, tmp_path, monkeypatch):
    distractors = load_distractors(str(images), data)
    side = Side("student", load_model(pair[0]), 32)

    def store(folder):
        return VectorBlocks(folder, resolve_runtime("cpu", "fp32"), block=20)

    whole = store(tmp_path / "whole").all(side, distractors)
    assert len(whole) == len(distractors) == 48
    embedded: list[int] = []

    def failing(model, part, **more):
        if len(embedded) == 2:
            raise UnreadableImageError(part.path(0), "pulled out")
        embedded.append(len(part))
        return embed_images(model, part, **more)

    monkeypatch.setattr(blocks, "embed_images", failing)
    with pytest.raises(UnreadableImageError):
        store(tmp_path / "cut").all(side, distractors)
    assert embedded == [20, 20]
    embedded[:] = [0]
    torch.testing.assert_close(store(tmp_path / "cut").all(side, distractors), whole)
    assert embedded == [0, 8]

    kept = sorted((tmp_path / "cut").rglob("*.safetensors"))
    kept[0].write_bytes(kept[0].read_bytes()[:-9])  # damaged: embedded again
    embedded[:] = [0]
    torch.testing.assert_close(store(tmp_path / "cut").all(side, distractors), whole)
    assert len(embedded) == 2


def test_changed_images_or_models_are_embedded_again(images, data, pair, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for number, path in enumerate(sorted(images.rglob("*.jpg"))[:3]):
        (folder / f"{number}.jpg").write_bytes(path.read_bytes())
    store = VectorBlocks(tmp_path, resolve_runtime("cpu", "fp32"))
    student, teacher = (Side(path.name, load_model(path), 32) for path in pair)
    before = store.all(student, load_distractors(str(folder), data))
    assert not torch.equal(before, store.all(teacher, load_distractors(str(folder), data)))
    Image.new("RGB", (40, 30), "red").save(folder / "1.jpg")
    after = store.all(student, load_distractors(str(folder), data))
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.equal(before[1], after[1])


def test_learned_whitening_is_stored_used_and_exported(call, data, pair, tmp_path):
    words = ["--student", tmp_path / "own", "--dataset", "roxford5k", "--data-root", data]
    assert call("export", pair[0], "--to", tmp_path / "own")[0] == 0
    code, _, err = call("test", *words, "--whiten", *PLAIN)
    assert (code, "brings no whitening" in err) == (2, True)
    learned = rows_of(call, *words, "--learn-whitening", "sfm30k", "--store-whitening")
    stored = rows_of(call, *words, "--whiten")
    assert [row["map"] for row in stored] == [row["map"] for row in learned]
    plain = rows_of(call, *words)
    assert [row["map"] for row in plain] != [row["map"] for row in learned]
    assert call("export", tmp_path / "own", "--to", tmp_path / "public")[0] == 0
    first, second = (load_file(tmp_path / n / "whitening.safetensors") for n in ("own", "public"))
    assert torch.equal(first["P"], second["P"])
    fewer = rows_of(call, *words, "--whiten", "--whitening-dimension", 3)
    assert [row["map"] for row in fewer] != [row["map"] for row in stored]


def test_a_pair_keeps_the_whitening_of_its_gallery(call, data, images, teacher, tmp_path):
    words = [*DISTILL, "--teacher", teacher, "--student", TINY, "--no-pretrained", "--fit", "whole"]
    run, out = tmp_path / "run", tmp_path / "out"
    assert call(*words, "--method", "regression", "--image-size", 32, "--output", run)[0] == 0
    whitened = ["--learn-whitening", "sfm30k", "--store-whitening", "--dataset", "roxford5k"]
    assert call("export", run, "--to", out, "--pair")[0] == 0
    assert load_model(out / "student").whitening_source.find() is None
    rows_of(call, "--student", out / "teacher", *whitened, "--data-root", data)
    assert call("export", out / "student", "--to", tmp_path / "again", "--pair")[0] == 0
    student = (tmp_path / "again" / "student").rename(tmp_path / "alone")
    assert (load_model(student).fit, load_model(out / "teacher").fit) == ("whole", "whole")
    assert load_model(teacher / "final").fit == "crop"
    photo = next(images.rglob("*.jpg"))
    found = load_model(student).embed(photo)
    torch.testing.assert_close(
        found, load_model(out / "student").embed(photo, whitening=load_model(out / "teacher"))
    )
    assert not torch.allclose(found, load_model(student).embed(photo, whitening=False))
    assert call("export", student, "--to", tmp_path / "third")[0] == 0
    torch.testing.assert_close(load_model(tmp_path / "third").embed(photo), found)


def test_shrinkage_is_as_asked_for(call, data, pair):
    words = ["--student", pair[0], "--dataset", "roxford5k", "--data-root", data]
    words += ["--learn-whitening", "sfm30k"]
    code, out, err = call("test", *words, "--whitening-shrinkage", "0", *PLAIN)
    assert code == 0, err
    assert "shrunk" not in err
    assert "galleries of 48 px; published results on landmarks are of 1024" in err
    found = [row["map"] for row in json.loads(out)["rows"]]
    search, pairs = load_search_set("roxford5k", data), load_pairs("sfm30k", data)
    queries, gallery, of_pairs = (
        embed_images(
            load_model(pair[0]), images, runtime=resolve_runtime("cpu", "fp32"), fit="whole"
        )
        for images in (search.queries, search.gallery, pairs.images)
    )
    learned = whiten_supervised(of_pairs, *pairs.pairs.T)
    metrics = revisited_metrics(
        apply_whitening(queries, learned), apply_whitening(gallery, learned), search.ground_truth
    )
    expected = [100 * of.map for of in (metrics.easy, metrics.medium, metrics.hard)]
    assert found == pytest.approx(expected, abs=1e-6)
    assert found != [row["map"] for row in rows_of(call, *words)]


def test_a_published_student_knows_its_teacher(call, monkeypatch, data, pair):
    student, teacher = "mobilenet-v2-gem-contr-vgg16", "retrievalSfM120k-vgg16-gem"
    folders = {student: pair[0], teacher: pair[1]}
    monkeypatch.setattr("ram_cli.recipes.test.load_model", lambda name: load_model(folders[name]))
    words = ["-npath", student, "-d", "roxford5k", "--data-root", data, "--asym"]
    for named in ([], ["--teacher", "vgg16"], ["--teacher", teacher]):
        code, out, err = call("test", *words, *named, *PLAIN)
        assert code == 0, err
        assert {row["gallery"] for row in json.loads(out)["rows"]} == {"teacher"}
        assert (f"vgg16 is {teacher}" in err) == (named[1:] == ["vgg16"])


def test_pca_needs_no_pairs_and_labels_make_pairs(call, data, pair, images):
    words = ["--student", pair[0], "--dataset", "oxford5k", "--data-root", data]
    for source, kind in (("roxford5k", "pca"), (images, "supervised")):
        rows = rows_of(call, *words, "--learn-whitening", source, "--whitening-kind", kind)
        assert rows[0]["protocol"] == "old"
    code, _, err = call("test", *words, "--learn-whitening", "roxford5k", *PLAIN)
    assert (code, "no matching pairs" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--dataset", "rparis6k"], "rparis6k is not on this machine"),
        (["--dataset", "roxford5k", "--distractors", "nowhere"], "no folder nowhere"),
        (["--dataset", "roxford5k", "--store-whitening"], "--learn-whitening"),
        (["--dataset", "roxford5k", "--whiten", "--learn-whitening", "sfm30k"], "not both"),
        (["--dataset", "furniture", "--whiten"], "need a landmark dataset"),
        (["--dataset", "roxford5k", "--learn-whitening", "sfm120k"], "sfm120k is not on this"),
        (["--dataset", "roxford5k", "--learn-whitening", "sfm120k"], "needs none of it: --whiten"),
        (["--dataset", "roxford5k", "--whitening-dimension", "4"], "nothing is whitened"),
        (["--dataset", "roxford5k", "--whitening-kind", "pca"], "nothing is learned"),
        (["--dataset", "roxford5k", "--whitening-shrinkage", "0"], "nothing is learned"),
        (["--dataset", "furniture", "--whitening-dimension", "4"], "need a landmark dataset"),
        (
            ["--dataset", "roxford5k", "--learn-whitening", "sfm30k", "--whitening-dimension", "9"],
            "whitening_dimension: the student embeds in 8 dimensions",
        ),
    ],
)
def test_bad_calls_say_what_is_wrong(call, data, pair, words, told):
    code, _, err = call("test", "--student", pair[0], "--data-root", data, *words, *PLAIN)
    assert code in (1, 2)
    assert told in err
    assert "Traceback" not in err


def test_a_page_shows_what_the_queries_found(call, data, pair, images):
    student, teacher = pair
    words = ("test", "--student", student, "--teacher", teacher, "--asym", "--sym")
    code, out, err = call(
        *words, "--dataset", "roxford5k,oxford5k", "--data-root", data, "--distractors", images,
        "--report", "page.html", *PLAIN,
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["reports"] == ["page.html"]
    page = Path("page.html").read_text()
    sets = page.split('<section class="set"')[1:]
    assert [part.count("<article") for part in sets] == [6, 6]
    search = load_search_set("roxford5k", data)
    vectors = {
        name: embed_images(
            load_model(folder), of, runtime=resolve_runtime("cpu", "fp32"), size=48, fit="whole"
        )
        for name, folder, of in (
            ("query", student, search.queries),
            ("gallery", teacher, search.gallery),
            ("others", teacher, load_distractors(str(images), data)),
        )
    }
    scores = vectors["query"] @ torch.cat([vectors["gallery"], vectors["others"]]).T
    for article in sets[0].split("<article")[1:]:
        query = search.queries.paths.index(re.search(r"<h2><bdi>(.*?)</bdi>", article)[1])
        row = article.split('<section class="row">')[1]
        kinds = {
            int(place): kind for kind, of in search.ground_truth[query].items() for place in of
        }
        expected = [
            kinds.get(place, "wrong" if place < len(search.gallery) else "distractor")
            for place in scores[query].argsort(descending=True)[:8].tolist()
        ]
        assert re.findall(r"Rank \d+, (\w+):", row) == expected
    assert "distractor" in sets[0]
    assert "Rank 1, ok:" in sets[1]

    code, out, err = call(
        *words, "--dataset", f"roxford5k,{images}", "--data-root", data, "--report", "both.html",
        *PLAIN,
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["reports"] == ["both.html", "both-landmarks.html"]
    assert "of the class of the query" in Path("both.html").read_text()
    assert "landmark queries" in Path("both-landmarks.html").read_text()
