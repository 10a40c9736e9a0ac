"""A small DeepFashion In-Shop in its original layout."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

TRAINED, TESTED = 4, 3
"""Items, three images each; of the tested ones one is a query and two are the gallery."""


def inshop_files() -> dict[str, bytes]:
    files, rows = {}, []
    for item in range(1, TRAINED + TESTED + 1):
        random = np.random.default_rng(item)
        colour = random.integers(0, 256, 3)
        for number in range(3):
            status = "train" if item <= TRAINED else "query" if number == 0 else "gallery"
            path = f"img/WOMEN/Tees_Tanks/id_{item:08d}/{number:02d}_{status}.jpg"
            noise = random.integers(-20, 20, (40, 30, 3))
            buffer = io.BytesIO()
            pixels = (colour + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(buffer, "JPEG")
            files[path] = buffer.getvalue()
            rows.append(f"{path}{' ' * (78 - len(path))}id_{item:08d} {status}")
    head = [str(len(rows)), "image_name item_id evaluation_status"]
    return files | {"Eval/list_eval_partition.txt": "\n".join([*head, *rows, ""]).encode()}


def write_inshop(root: Path, prefix: str = "") -> Path:
    for name, content in inshop_files().items():
        path = root / (f"{prefix}{name}" if name.startswith("img/") else name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root
