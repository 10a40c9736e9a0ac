"""`ram export --onnx`: graphs that are the model, or nothing at all."""

import ast
import io
import json
import re
import resource
import shutil
import signal
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_runs import DISTILL

import ram_cli
from ram_cli.datasets import load_dataset
from ram_cli.errors import OutputError
from ram_cli.evaluation import label_metrics
from ram_cli.export import onnx as graphs
from ram_cli.export.onnx_int8 import write_int8
from ram_cli.models import model_hash
from ram_cli.recipes.onnx import centre_crops, teacher_of
from ram_cli.views import normalise


def vectors(path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@pytest.fixture(scope="module")
def exported(teacher, tmp_path_factory) -> Path:
    """A model folder with a float graph and one of 8-bit integers."""
    from ram_cli.cli.main import main

    folder = tmp_path_factory.mktemp("exported") / "out"
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(teacher), "--to", str(folder), "--onnx", "--int8"])
    assert not stopped.value.code
    return folder


def test_vectors_are_those_of_the_model_at_any_batch_and_size(exported):
    model = ram_cli.load_model(exported)
    images = torch.rand(5, 3, 64, 80) - 0.5  # neither the size nor the batch of the export
    with torch.inference_mode():
        wanted = model(images).numpy()
    found = vectors(exported / "model.onnx", images.numpy())
    assert np.abs(found - wanted).max() < 1e-4
    coarse = vectors(exported / "model.int8.onnx", images.numpy())
    assert np.abs(coarse - wanted).max() > 1e-4
    assert ((coarse * wanted).sum(1) > 0.7).all()


@pytest.mark.parametrize("name", ["model.onnx", "model.int8.onnx"])
def test_a_file_says_how_images_are_prepared(exported, name):
    model, config = ram_cli.load_model(exported), json.loads((exported / "config.json").read_text())
    told = {entry.key: entry.value for entry in onnx.load(exported / name).metadata_props}
    assert told["ram.model_hash"] == config["hash"]
    assert told["ram.ram_version"] == config["ram_version"]
    assert (told["ram.size"], told["ram.dimension"]) == ("48", "16")
    assert json.loads(told["ram.mean"]) == list(model.spec.mean)
    assert json.loads(told["ram.std"]) == list(model.spec.std)
    assert (told["ram.filter"], told["ram.channels"]) == ("lanczos", "RGB")
    assert json.loads(told["ram.margin"]) == pytest.approx(8 / 7)
    content = (exported / name).read_bytes()
    assert str(Path(ram_cli.__file__).parent).encode() not in content  # no stack traces
    assert b"site-packages" not in content


def test_int8_leaves_what_follows_the_backbone_alone(exported):
    nodes = list(onnx.load(exported / "model.int8.onnx").graph.node)
    kinds = [node.op_type for node in nodes]
    assert kinds.count("DequantizeLinear") > kinds.count("Conv") > 0
    after = nodes[kinds.index("Pow") :]
    assert "QuantizeLinear" not in [node.op_type for node in after]
    makers = {name: node.op_type for node in nodes for name in node.output}
    projection = next(node for node in after if node.op_type == "Gemm")
    assert makers.get(projection.input[1]) != "DequantizeLinear"


@pytest.fixture(scope="module")
def of_pixels(teacher, tmp_path_factory) -> Path:
    """A folder with a graph that takes pixels, its weights beside it as if they were large."""
    from ram_cli.cli.main import main

    folder = tmp_path_factory.mktemp("exported") / "out"
    words = ["export", str(teacher), "--to", str(folder), "--onnx", "--onnx-input", "uint8"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "_LARGEST_FILE", 1000)
        with pytest.raises(SystemExit) as stopped:
            main(words)
    assert not stopped.value.code
    return folder


def test_pixels_go_into_a_graph_that_normalises_by_itself(of_pixels):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    found = vectors(of_pixels / "model.onnx", pixels)
    model = ram_cli.load_model(of_pixels)
    mean, std = np.array(model.spec.mean), np.array(model.spec.std)
    normalised = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.inference_mode():
        wanted = model(torch.from_numpy(normalised)).numpy()
    assert np.abs(found - wanted).max() < 1e-4
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_weights_that_one_file_cannot_hold_stand_beside_the_graph(of_pixels):
    graph, weights = (of_pixels / name for name in ("model.onnx", "model.onnx.data"))
    assert weights.stat().st_size > graph.stat().st_size


def test_the_search_of_the_documentation_runs_as_written(of_pixels, images, tmp_path, monkeypatch):
    page = Path(__file__).parents[2].joinpath("docs/onnx.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 12
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [n.name for n in node.names]
        )
    }
    assert imported == {"numpy", "onnxruntime", "PIL", "pathlib"}
    for name in ("student", "teacher"):
        shutil.copytree(of_pixels, tmp_path / "pair" / name)
    shutil.copytree(images, tmp_path / "photos")
    query = next(iter(sorted(images.rglob("*.jpg"))))
    shutil.copy(query, tmp_path / "query.jpg")
    monkeypatch.chdir(tmp_path)
    told = io.StringIO()
    with redirect_stdout(told):
        exec(compile(code, "docs/onnx.md", "exec"), {})
    found = re.findall(r"PosixPath\('(.*?)'\)", told.getvalue())
    assert found[0] == str(Path("photos", query.relative_to(images)))
    paths = sorted(Path("photos").rglob("*.jpg"))
    wanted = ram_cli.load_model("pair/student").embed("query.jpg")
    scores = ram_cli.load_model("pair/teacher").embed(paths) @ wanted[0]
    assert found == [str(paths[place]) for place in scores.topk(5).indices]


def test_int8_is_measured_in_the_gallery_of_the_teacher(call, teacher, images, tmp_path):
    words = [*DISTILL, "--student", teacher, "--teacher", teacher, "--image-size", 32]
    assert (
        call(*words, "--epochs", 1, "--method", "regression", "--output", tmp_path / "run")[0] == 0
    )
    words = ["--to", tmp_path / "pair", "--pair", "--onnx", "--int8", "--json"]
    code, out, err = call("export", tmp_path / "run", *words)
    assert code == 0, err
    told = json.loads(out)
    assert told["teacher"]["onnx"]["int8"]["asym"] is None
    before, after = told["onnx"]["int8"]["asym"]
    card = (tmp_path / "pair" / "student" / "README.md").read_text()
    assert f"| asymmetric | {before:.1f} | {after:.1f} |" in card
    assert f"by {told['onnx']['difference']:.1e} at most" in card
    student, gallery = (ram_cli.load_model(tmp_path / "pair" / n) for n in ("student", "teacher"))
    test = load_dataset(str(images), tmp_path, verify=False).test
    views = centre_crops(test, 32, len(test))
    paths = [test.path(place) for place in range(len(test))]
    for name, found in zip(
        ("model.onnx", "model.int8.onnx"), told["onnx"]["int8"]["asym"], strict=True
    ):
        inputs = normalise(views, student.spec).numpy()
        query = vectors(tmp_path / "pair" / "student" / name, inputs)
        labels = test.labels
        metrics = label_metrics(query, gallery.embed(paths), labels, labels, (1,), same_set=True)
        assert found == pytest.approx(100 * metrics.map, abs=0.5)

    pair, lines = tmp_path / "pair", []
    reporter = SimpleNamespace(note=lines.append)
    (pair / "student").rename(tmp_path / "alone")
    assert teacher_of(str(tmp_path / "alone"), reporter) is None
    assert "not measured in its gallery" in lines.pop()
    (tmp_path / "alone").rename(pair / "student")
    assert model_hash(teacher_of(str(pair / "student"), reporter)) == model_hash(gallery)
    assert teacher_of(str(pair / "teacher"), reporter) is None
    assert not lines


def test_a_graph_that_is_not_the_model_leaves_nothing(call, teacher, exported, monkeypatch):
    def other(model, folder, kind, *, any_size=True):
        path = Path(shutil.copy(exported / "model.onnx", folder))
        with torch.no_grad():
            model.projection.bias.add_(0.1)
        return graphs.OnnxFile(path, kind, any_size=any_size, files=(path.name,), head=())

    monkeypatch.setattr("ram_cli.export.onnx_check.write_onnx", other)
    code, out, err = call("export", teacher, "--to", "out", "--onnx")
    assert (code, out) == (1, "")
    assert len([line for line in err.splitlines() if line.startswith("error")]) == 1
    assert "differ" in err
    assert not list(Path().iterdir())


def test_a_full_disk_while_integers_are_written_is_one_line(exported, tmp_path):
    """ONNX writes the graph once more, with shapes, and does not notice that it is cut off."""
    path = Path(shutil.copy(exported / "model.onnx", tmp_path))
    file = graphs.OnnxFile(path, "float", any_size=True, files=(path.name,), head=())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size // 2, before[1]))
    try:
        with pytest.raises(OutputError, match=r"int8\.onnx: .* Is the disk full\?"):
            write_int8(file, torch.zeros(8, 3, 48, 48, dtype=torch.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_is_missing_is_named(call, teacher, monkeypatch):
    monkeypatch.setattr(graphs, "find_spec", lambda name: None if name == "onnxscript" else name)
    code, _, err = call("export", teacher, "--to", "out", "--onnx")
    assert code == 2
    assert "onnxscript" in err
    assert "ram-cli[onnx]" in err
    code, _, err = call("export", teacher, "--to", "out", "--int8")
    assert code == 2
    assert "--onnx" in err
    assert not list(Path().iterdir())
