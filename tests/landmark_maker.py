"""Makes data sets of landmarks in the published layouts out of any images."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ASPECTS = ((1.0, 1.0), (1.0, 0.75), (0.75, 1.0), (1.0, 0.6))


def make_search_set(
    root: Path, name: str, classes: Sequence[Sequence[Path]], *, side: int = 96, old: bool = False
) -> Path:
    """Write `<root>/<name>` with one query per class, cut out of a larger canvas.

    Of the other images of a class the first is easy, the last junk, and those between are hard;
    under the old protocol they are ok.
    """
    folder, random = root / name, np.random.default_rng(7)
    (folder / "jpg").mkdir(parents=True)
    names: list[str] = []
    queries: list[str] = []
    truth: list[dict[str, Any]] = []
    for label, paths in enumerate(classes):
        places = []
        for number, path in enumerate(paths):
            width, height = (round(side * part) for part in ASPECTS[(label + number) % 4])
            image = Image.open(path).convert("RGB")
            stem = f"{'query' if number == 0 else 'image'}_{label:03d}_{number}"
            if number == 0:
                canvas = Image.new(
                    "RGB", (2 * width, 2 * height), tuple(random.integers(256, size=3))
                )
                canvas.paste(image.resize((width, height)), (width // 2, height // 3))
                canvas.save(folder / "jpg" / f"{stem}.jpg")
                queries.append(stem)
                x, y = width // 2, height // 3
                truth.append({"bbx": [float(x), float(y), float(x + width), float(y + height)]})
                continue
            image.resize((width, height)).save(folder / "jpg" / f"{stem}.jpg")
            places.append(len(names))
            names.append(stem)
        easy, hard, junk = places[:1], places[1:-1], places[-1:]
        lists = {"ok": easy + hard} if old else {"easy": easy, "hard": hard}
        truth[-1] |= {key: np.array(value) if value else [] for key, value in lists.items()}
        truth[-1]["junk"] = junk
    content = {"imlist": names, "qimlist": queries, "gnd": truth}
    (folder / f"gnd_{name}.pkl").write_bytes(pickle.dumps(content))
    return folder


def make_pairs(root: Path, name: str, classes: Sequence[Sequence[Path]], file: str) -> Path:
    """Write `<root>/<name>`: the first image of every class matches all others of it."""
    folder, cids, pairs = root / name, [], []
    for label, paths in enumerate(classes):
        for number, path in enumerate(paths):
            cid = f"{label:04d}{number:04d}"
            target = folder / "ims" / cid[-2:] / cid[-4:-2] / cid[-6:-4] / cid
            target.parent.mkdir(parents=True, exist_ok=True)
            Image.open(path).convert("RGB").resize((72, 54)).save(target, format="JPEG")
            if number:
                pairs.append((len(cids) - number, len(cids)))
            cids.append(cid)
    query, positive = zip(*pairs, strict=True)
    content = {"cids": cids, "qidxs": list(query), "pidxs": list(positive)}
    (folder / file).write_bytes(pickle.dumps(content))
    return folder
