"""The path of a user's work on a CUDA device: what it gives there is what it gives on a CPU.

Convolutions take 19 of 32 bits there (TF32), and gradients sum in an order of their own: losses of
the later steps of a tiny network differ by some hundredths.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import DISTILL, TINY, TRAIN

from ram_cli.engine import RunFolder, resolve_runtime

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def on_gpu(words: list[str], precision: str = "fp32") -> list[str]:
    """The same command there; what comes last counts."""
    return [*words, "--device", "cuda", "--precision", precision, "--log-every", "1"]


def losses(run: Path | str) -> list[float]:
    records = [json.loads(line) for line in Path(run, "log.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["kind"] == "train"]


def written(command: list[str], output: str, call, *more: object) -> list[float]:
    code, _, err = call(*command, *more, "--output", output)
    assert code == 0, err
    return losses(output)


def test_a_teacher_learns_as_on_a_cpu(images, call):
    words = ["--dataset", images, "--log-every", 1]
    cpu = written(TRAIN, "cpu", call, *words)
    assert written(on_gpu(TRAIN), "gpu", call, *words) == pytest.approx(cpu, rel=0.05)


@pytest.mark.parametrize(("precision", "error"), [("fp32", 0.02), ("bf16", 0.2), ("fp16", 0.1)])
def test_a_student_learns_as_on_a_cpu(teacher, images, call, precision, error):
    words = ["--dataset", images, "--teacher", teacher, "--student", teacher, "--log-every", 1]
    cpu = written(DISTILL, "cpu", call, *words)
    gpu = written(on_gpu(DISTILL, precision), "gpu", call, *words)
    assert gpu == pytest.approx(cpu, rel=error)


@pytest.mark.parametrize("method", ["cosine-regression", "contrastive", "rkd", "csd", "d3"])
def test_other_methods_learn_as_on_a_cpu(teacher, images, call, method):
    words = [
        "--dataset", images, "--teacher", teacher, "--student", teacher, "--method", method,
        "--negatives", 2, "--no-val", "--log-every", 1,
    ]  # fmt: skip
    cpu = written(DISTILL, "cpu", call, *words)
    assert written(on_gpu(DISTILL), "gpu", call, *words) == pytest.approx(cpu, rel=0.15)


def test_statistics_and_whole_images(teacher, images, call):
    words = [
        "--dataset", images, "--teacher", teacher, "--student", TINY, "--no-pretrained",
        "--method", "cosine-regression", "--fit", "whole", "--no-freeze-bn", "--log-every", 1,
    ]  # fmt: skip
    cpu = written(DISTILL, "cpu", call, *words)
    assert written(on_gpu(DISTILL), "gpu", call, *words) == pytest.approx(cpu, rel=0.05)


@pytest.mark.parametrize("command", ["train", "distill"])
def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(
    teacher, images, call, monkeypatch, command
):
    words = [*on_gpu(TRAIN if command == "train" else DISTILL), "--dataset", str(images)]
    if command == "distill":
        words += ["--teacher", str(teacher), "--student", str(teacher)]
    whole = written(words, "whole", call, "--epochs", 3)
    save = RunFolder.save_checkpoint

    def save_and_stop(*given: object) -> None:
        save(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "save_checkpoint", save_and_stop)
        assert call(*words, "--epochs", 3, "--output", "stopped")[0] == 130
    assert len(losses("stopped")) < len(whole)
    code, _, err = call(command, "--resume", "stopped")
    assert code == 0, err
    assert losses("stopped") == pytest.approx(whole, rel=1e-3)
    pair = [load_file(f"{run}/final/model.safetensors") for run in ("whole", "stopped")]
    for name, value in pair[0].items():
        assert torch.allclose(value.float(), pair[1][name].float(), atol=1e-3), name


def test_metrics_are_those_of_a_cpu(teacher, images, call):
    def rows(*device: str) -> list[dict[str, float]]:
        code, out, err = call(
            "test", "--student", teacher, "--teacher", teacher, "--asym", "--sym", "--baselines",
            "--dataset", images, "--json", "--workers", 0, "--query-size", 24, *device,
        )  # fmt: skip
        assert code == 0, err
        found: list[dict[str, float]] = json.loads(out)["rows"]
        return found

    cpu = rows("--device", "cpu", "--precision", "fp32")
    for precision, error in (("fp32", 0.5), ("bf16", 3)):
        gpu = rows("--device", "cuda", "--precision", precision)
        for ours, expected in zip(gpu, cpu, strict=True):
            assert ours["map"] == pytest.approx(expected["map"], abs=error)


def test_the_choice_is_the_gpu_in_half_precision():
    runtime = resolve_runtime()
    assert runtime.device.type == "cuda"
    assert runtime.precision in ("bf16", "fp16")
