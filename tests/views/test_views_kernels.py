import colorsys
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ram_cli.views
from ram_cli.views import kernels
from ram_cli.views.kernels import jitter_mix

FACTORS = np.float32((1.3, 0.7, 1.4, 0.08))


def recolour(pixels, order, factors):
    """Slow loops from the definitions, on values 0..1, float64 `[H, W, 3]`."""
    luma = np.array((0.2989, 0.587, 0.114))
    image = pixels / 255
    for operation in order:
        factor = float(factors[operation])
        if operation == 0:
            image = image * factor
        elif operation == 1:
            image = factor * image + (1 - factor) * (image @ luma).mean()
        elif operation == 2:
            image = factor * image + (1 - factor) * (image @ luma)[..., None]
        else:
            turned = [
                colorsys.hsv_to_rgb((hue + factor) % 1, saturation, value)
                for hue, saturation, value in (
                    colorsys.rgb_to_hsv(*p) for p in image.reshape(-1, 3)
                )
            ]
            image = np.array(turned).reshape(image.shape)
        image = image.clip(0, 1)
    return image * 255


def run(anchor, partner, weight=1.0, order=(0, 1, 2, 3), factors=FACTORS, flip=False):
    view = np.full((3, *(anchor if anchor.size else partner).shape[:2]), 77, np.uint8)
    jitter_mix(anchor, partner, np.float32(weight), np.array(order), factors, flip, view)
    return view.transpose(1, 2, 0)


@pytest.fixture(scope="module")
def images():
    random = np.random.default_rng(3)
    pixels = random.integers(0, 256, (2, 7, 13, 4), dtype=np.uint8)
    pixels[0, 0, :, :3] = 90  # grey has no hue
    pixels[0, 1, :4, :3] = ((0, 0, 0), (255, 255, 255), (255, 0, 0), (255, 0, 255))
    return pixels


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_every_order_equals_the_definitions(images, order):
    expected = recolour(images[0, ..., :3], order, FACTORS)
    assert np.abs(run(images[0], images[1], order=order) - expected).max() <= 0.51


@pytest.mark.parametrize("turns", [-0.5, -0.1, 0, 0.1, 0.5])
def test_hue_turns(images, turns):
    factors = np.float32((1, 1, 1, turns))
    expected = recolour(images[0, ..., :3], (3,), factors)
    assert np.abs(run(images[0], images[1], factors=factors) - expected).max() <= 0.51


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_mix_and_flip(images, weight, flip):
    parts = [recolour(image[..., :3], (2, 1, 3, 0), FACTORS) for image in images]
    expected = weight * parts[0] + (1 - weight) * parts[1]
    expected = expected[:, ::-1] if flip else expected
    view = run(images[0], images[1], weight, (2, 1, 3, 0), flip=flip)
    assert np.abs(view - expected).max() <= 0.51


def test_an_image_without_weight_is_not_read(images):
    nothing = np.zeros((0, 1, 4), np.uint8)
    for weight, pair in ((1.0, (images[0], nothing)), (0.0, (nothing, images[0]))):
        np.testing.assert_array_equal(run(*pair, weight), run(images[0], images[1]))


def test_halves_round_up():
    pixels = np.zeros((2, 1, 2, 4), np.uint8)
    pixels[0, 0, :, :3], pixels[1, 0, :, :3] = 10, 13
    neutral = np.float32((1, 1, 1, 0))
    assert (run(*pixels, 0.5, factors=neutral) == 12).all()


def test_importing_views_does_not_import_numba():
    code = "import sys, ram_cli.views; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("error", [RuntimeError, OSError])
def test_compiles_without_a_cache_where_caching_fails(monkeypatch, error):
    def compile_or_fail(function, cache=False):
        if cache:
            raise error("no locator available")
        return lambda *arguments: None

    monkeypatch.setattr(kernels, "_compiled", compile_or_fail)
    assert kernels._cached_on_disk(kernels._standardise)() is None


@pytest.mark.slow
def test_works_where_no_cache_can_be_kept(tmp_path):
    """A file in the place of every folder that numba could write to, as in a read-only install."""
    package = Path(ram_cli.views.__file__).parents[1]
    copy = tmp_path / "site" / "ram_cli"
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "views" / "__pycache__").write_text("in the way")
    (tmp_path / "home").write_text("in the way")
    code = (
        "import numpy as np; from ram_cli.views import kernels as k; v = np.zeros((3, 1, 1), 'u1');"
        "p = np.full((1, 1, 4), 9, 'u1'); f = np.float32((2, 1, 1, 0));"
        "k.jitter_mix(p, p, np.float32(1), np.arange(4), f, False, v); print(k.__file__, v.ravel())"
    )
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")
    } | {
        "PYTHONPATH": str(tmp_path / "site"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "home" / "cache"),
        "LOCALAPPDATA": str(tmp_path / "home" / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert str(copy) in done.stdout
    assert "[18 18 18]" in done.stdout
    assert not list(tmp_path.rglob("*.nbi"))
