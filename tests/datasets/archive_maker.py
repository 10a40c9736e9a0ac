"""Small datasets in the original layouts, packed as their publishers pack them."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from matlab_writer import cells, structs, text, write_matlab
from PIL import Image

CUB_SPECIES = (1, 2, 99, 100, 101, 200)


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def cub_files(prefix: str = "CUB_200_2011/") -> dict[str, bytes]:
    """Four species to train on, two to test on, two images each."""
    files: dict[str, bytes] = {"attributes.txt": b"1 has_bill_shape\n"}
    rows, labels = [], []
    for species in CUB_SPECIES:
        for _ in range(2):
            image = len(rows) + 1
            path = f"{species:03d}.Some_Bird/Some_Bird_{image:04d}.jpg"
            files[f"{prefix}images/{path}"] = picture(image)
            rows.append(f"{image} {path}\n")
            labels.append(f"{image} {species}\n")
    files[f"{prefix}images.txt"] = "".join(rows).encode()
    files[f"{prefix}image_class_labels.txt"] = "".join(labels).encode()
    files[f"{prefix}._images.txt"] = b"of a Mac"
    return files


def sop_files() -> dict[str, bytes]:
    """Five products to train on, two images each; three to test on, three each."""
    files: dict[str, bytes] = {"__MACOSX/Stanford_Online_Products/._x": b"of a Mac"}
    for part, products, images in (("train", range(1, 6), 2), ("test", range(6, 9), 3)):
        lines = ["image_id class_id super_class_id path"]
        for product in products:
            for number in range(images):
                path = f"bicycle_final/{product}_{number}.JPG"
                files[f"Stanford_Online_Products/{path}"] = picture(product * 10 + number)
                lines.append(f"{len(lines)} {product} 1 {path}")
        content = "\n".join(lines).encode() + b"\n"
        files[f"Stanford_Online_Products/Ebay_{part}.txt"] = content
    return files


def cars_files(scratch: Path) -> dict[str, bytes]:
    """Models 1, 50, 98 to train on, 99 and 196 to test on, two images each."""
    files, rows = {}, []
    for image, model in enumerate([196, 1, 50, 98, 99, 1, 50, 98, 99, 196], start=1):
        path = f"car_ims/{image:06d}.jpg"
        files[path] = picture(image)
        box = dict(zip(("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"), (1, 2, 9, 9), strict=True))
        rows.append({"relative_im_path": path, **box, "class": model, "test": image % 2})
    names = cells([text(f"Model {number}") for number in range(1, 197)])
    annotations = scratch / "cars_annos.mat"
    write_matlab(annotations, {"annotations": structs(rows), "class_names": names})
    return files | {"cars_annos.mat": annotations.read_bytes()}


def tgz(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()
