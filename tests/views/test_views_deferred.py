"""Views made by an accelerator. Triton's interpreter runs its kernels here, far slower, on the CPU.

What it computes is compared with the CPU path, which has references of its own. Those views are
rounded once more, at the end, and resized in fixed-point numbers: a pixel may differ by a grey
level before it is recoloured, which contrast and hue enlarge.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ram_cli.views import (
    CoupledViews,
    InputSpec,
    ViewKey,
    collate_coupled,
    collate_deferred,
    instance_plan,
    obstacle_to_device_views,
)
from ram_cli.views.deferred import deferred_sample
from ram_cli.views.draw import draw_views

SIZES = (24, 40)
STUDENT = InputSpec(24, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
TEACHER = InputSpec(40, (0.5, 0.4, 0.3), (0.5, 0.6, 0.7))
KEYS = [ViewKey(0, 0, 0, 1), ViewKey(3, 1, 5, 4), ViewKey(8, 0, 2), ViewKey(2, 4, 9, 7)]
INTERPRETED = """
import sys
import torch
from ram_cli.views import InputSpec, device_kernels
device_kernels._PAIRS_AT_ONCE = int(sys.argv[2])
batch, student, teacher = torch.load(sys.argv[1], weights_only=False)
torch.save(batch.inputs(student, teacher, "cpu"), sys.argv[1])
"""


def views_of(image_set, on_device=True, **options):
    return CoupledViews(
        image_set, *SIZES, **{"views": 3, "seed": 11, **options}, on_device=on_device
    )


def interpreted(batch, folder: Path, at_once: int = 128):
    """Inputs of both networks, made by the kernels."""
    pytest.importorskip("triton")
    path = folder / "batch.pt"
    torch.save((batch, STUDENT, TEACHER), path)
    words = [sys.executable, "-c", INTERPRETED, str(path), str(at_once)]
    run = subprocess.run(
        words, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    if "only 0-dimensional arrays can be converted" in run.stderr:
        pytest.skip("Triton's interpreter does not know this NumPy")  # 3.6 and NumPy 2.5
    assert run.returncode == 0, run.stderr
    return torch.load(path)


def levels(ours, theirs, spec):
    """Differences in grey levels."""
    return (ours - theirs).abs() * torch.tensor(spec.std)[:, None, None] * 255


def test_views_are_those_of_the_cpu(image_set, tmp_path):
    finished = collate_coupled([views_of(image_set, on_device=False)[key] for key in KEYS])
    batch = collate_deferred([views_of(image_set)[key] for key in KEYS])
    made = interpreted(batch, tmp_path)
    expected = finished.inputs(STUDENT, TEACHER, "cpu")
    for ours, theirs, spec in zip(made, expected, (STUDENT, TEACHER), strict=True):
        assert ours.shape == theirs.shape == (12, 3, spec.size, spec.size)
        assert ours.is_contiguous(memory_format=torch.channels_last)
        differences = levels(ours, theirs, spec)
        assert differences.mean() < 0.3
        assert (differences > 0.51).float().mean() < 0.05
        assert differences.max() < 12
    for ours, theirs in zip(interpreted(batch, tmp_path, at_once=5), made, strict=True):
        assert torch.equal(ours, theirs)


def test_of_a_large_image_the_crops_are_sent_and_nothing_changes(tmp_path):
    """Where they have fewer bytes than the image; a crop of the right size is left as it is."""
    random = np.random.default_rng(2)
    small = random.integers(0, 256, (9, 8, 3), np.uint8)
    large = np.repeat(np.repeat(small, 50, axis=0), 50, axis=1)
    draws = draw_views(ViewKey(0, 0, 0, 1), 3, 3, *large.shape[:2], mixup_alpha=0.2)
    pair = [deferred_sample(0, draws, large, large, SIZES)]
    assert len(pair[0].pixels) < large.nbytes
    assert len(pair[0].pixels) == 3 * int((pair[0].student[..., 4]).sum()) * (24**2 + 40**2)
    ours = interpreted(collate_deferred(pair), tmp_path)
    from ram_cli.views import CoupledSample
    from ram_cli.views.coupled import finished_views

    views = map(torch.from_numpy, finished_views(draws, large, large, SIZES))
    theirs = collate_coupled([CoupledSample(*views, torch.tensor(0))])
    for made, expected, spec in zip(
        ours, theirs.inputs(STUDENT, TEACHER, "cpu"), (STUDENT, TEACHER), strict=True
    ):
        assert levels(made, expected, spec).max() <= 0.51  # only rounding at the end


def test_crops_of_a_batch_lie_where_its_table_says(image_set):
    samples = [views_of(image_set)[key] for key in KEYS]
    batch = collate_deferred(samples)
    assert len(batch) == 4
    assert batch.images.tolist() == [0, 3, 8, 2]
    for b, sample in enumerate(samples):
        for ours, theirs in ((batch.student, sample.student), (batch.teacher, sample.teacher)):
            first, stride = ours[3 * b, 0, :2].tolist()
            start = theirs[0, 0, 0].item()
            assert torch.equal(
                batch.pixels[first : first + stride], sample.pixels[start : start + stride]
            )
    assert int(samples[2].student[:, 1, 4].sum()) == 0  # no partner


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_workers(image_set, workers):
    plan, views = instance_plan(10, 3, seed=1, epoch=2), views_of(image_set, views=2)
    runs = [
        list(DataLoader(views, batch_sampler=plan, num_workers=n, collate_fn=collate_deferred))
        for n in (0, workers)
    ]
    for ours, theirs in zip(*runs, strict=True):
        for name, value in theirs.tensors().items():
            assert torch.equal(getattr(ours, name), value), name


def test_moves(image_set, monkeypatch):
    pinned = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda t: pinned.append(t) or t.clone())
    batch = collate_deferred([views_of(image_set)[KEYS[0]]])
    copy = batch.pin_memory()
    assert len(pinned) == 8
    assert torch.equal(copy.pixels, batch.pixels)
    moved = batch.to("meta", non_blocking=True)
    assert {part.device.type for part in moved.tensors().values()} == {"meta"}


def test_a_device_that_makes_no_views_says_why(monkeypatch):
    from ram_cli.views import device_probe

    assert obstacle_to_device_views(torch.device("cpu")) == "not for cpu"
    unknown = device_probe.obstacle_to_device_views.__wrapped__
    monkeypatch.setattr(device_probe, "find_spec", lambda name: None)
    assert unknown(torch.device("cuda", 0)) == "Triton is not installed"
    monkeypatch.setattr(device_probe, "find_spec", lambda name: object())
    monkeypatch.setattr(device_probe, "largest_mean_difference", lambda device: 2.0)
    assert "2 grey levels" in unknown(torch.device("cuda", 0))
    monkeypatch.setattr(device_probe, "largest_mean_difference", lambda device: 0.25)
    assert unknown(torch.device("cuda", 0)) is None

    def fail(device):
        raise RuntimeError("Failed to find C compiler.\nmore")

    monkeypatch.setattr(device_probe, "largest_mean_difference", fail)
    assert unknown(torch.device("cuda", 0)) == "Failed to find C compiler."


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu(image_set):
    assert obstacle_to_device_views(torch.device("cuda", 0)) is None
    batch = collate_deferred([views_of(image_set)[key] for key in KEYS])
    finished = collate_coupled([views_of(image_set, on_device=False)[key] for key in KEYS])
    first = batch.pin_memory().inputs(STUDENT, TEACHER, "cuda")
    again = batch.inputs(STUDENT, TEACHER, "cuda")
    half = batch.inputs(STUDENT, TEACHER, "cuda", torch.bfloat16)
    expected = finished.inputs(STUDENT, TEACHER, "cpu")
    for made, same, short, theirs, spec in zip(
        first, again, half, expected, (STUDENT, TEACHER), strict=True
    ):
        assert torch.equal(made, same)
        assert short.dtype == torch.bfloat16
        differences = levels(made.cpu(), theirs, spec)
        assert differences.mean() < 0.3
        assert differences.max() < 12
