"""Make ram_cli/datasets/assets/furniture.zip from the full set of renders.

    python scripts/build_furniture.py --source FOLDER

FOLDER holds images/<class>/00.jpg … 07.jpg (448 x 448 pixels) and credits.csv. The same FOLDER and
the same Pillow give the same bytes. Afterwards put the printed SHA-256 into
ram_cli/datasets/furniture.py.
"""

import argparse
import csv
import hashlib
import io
import itertools
import json
import re
import sys
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

TRAIN_CLASSES, VAL_CLASSES, TEST_CLASSES = 250, 50, 100
SIDE = 256  # pixels: what evaluation at 224 pixels resizes to before its centre crop
QUALITY = 60
PACKAGE_ASSET = Path(__file__).parents[1] / "ram_cli" / "datasets" / "assets" / "furniture.zip"

LEFT_OUT = (
    # Drinking glasses: clear glass vanishes in front of a photograph.
    "blendswap-cc-0_beerglass",
    "blendswap-cc-by_cocktailglass",
    "blendswap-cc-by_glass",
    "katorlegaz_12-oz-glass",
    "katorlegaz_highball-glass",
    # Painted road markings: thin white lines, no object.
    "scopia_fleche-tourner-a-droite",
    "scopia_fleche-tourner-a-droite-et-direct",
    "scopia_fleche-tout-droit",
    "scopia_passage-pieton",
    "scopia_stationnement-creneau",
    "scopia_stationnement-en-bataille",
    "scopia_stationnement-epi-45",
    "scopia_stationnement-epi-60",
)

FAMILIES = (
    # Siblings that their names alone do not show: one family per row, as patterns of stems.
    r".*-whites|(rounded|square)-(antenna|dimmer|double-switch|plug|rj|switch).*",
    r"wallsocket|walldoublesocket",
    r"(bluepine|pine)(snow)?",
    r"coconuttree(bended)?",
    r"umbrella(folded)?",
    r"technicaltable.*",
    r"(mid-century)-.*",
    r"wooden-(office|table-office).*|table-wood-and-iron|table-on-trestles|table-with-leaning.*",
    r"kids-.*",
    r"cafe-.*",
    r"com-bath.*",
    r"kitchen(small)?(lower|upper)cabinet|kitchen(glassdoor|drawers)cabinet",
    r"(small|upper|lower)*(corner)?cabinet|glassdoorcabinet|drawerscabinet",
    r"(beige|clear|simple|burlap|leather|convertible)-sofa.*|sofa.*",
    r"radiator.*|bathroomradiator|modernradiator",
    r"(bread|dinner)-plate",
    r"(kitchen)?(fork|knife|spoon)",
    r"iron-railing.*",
    r"entry-bell.*",
    r"induction-cooker.*",
    r"medicoscopia.*",
    r"iphone|mobile",
    r"elevator.*",
    r"(.*-)?tv|tv-.*",
    r"(double|glass)-?door(-.*)?",
    r"(big-)?football-goal",
    r"(little|living|livingroom|saloon|desk|table|ceiling)?-?lamp.*",
    r"ficus(tree)?",
    r"window.*|turn-window",
    r"(electric|gaz)-water-heater.*",
    r"jupe.*",
    r"(rectangle|round)?-?swimming-pool",
)


def stem_of(class_name: str) -> str:
    """Return the name without its source, and without what follows the first digit."""
    name = class_name.partition("_")[2]
    return re.split(r"-?v?\d", name, maxsplit=1)[0] or name


def families_of(class_names: list[str]) -> list[list[str]]:
    """Group classes whose stems are equal, extend one another at a dash, or share a pattern."""
    parent = {name: name for name in class_names}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    def siblings(first: str, second: str) -> bool:
        one, two = sorted((stem_of(first), stem_of(second)))
        same_stem = one == two or two.startswith(one + "-")
        return same_stem or any(
            re.fullmatch(pattern, one) and re.fullmatch(pattern, two) for pattern in FAMILIES
        )

    for first, second in itertools.combinations(class_names, 2):
        if siblings(first, second):
            parent[root(second)] = root(first)
    groups: dict[str, list[str]] = {}
    for name in class_names:
        groups.setdefault(root(name), []).append(name)
    # A hash of the name orders the families: arbitrary, but the same everywhere.
    return sorted(groups.values(), key=lambda group: hashlib.sha256(group[0].encode()).hexdigest())


def quotas(category_of: dict[str, str], classes: list[str], total: int) -> Counter[str]:
    """Share `total` places among the categories in proportion to `classes` (largest remainder)."""
    sizes = Counter(category_of[name] for name in classes)
    exact = {category: size * total / len(classes) for category, size in sizes.items()}
    places = Counter({category: int(share) for category, share in exact.items()})
    by_remainder = sorted(
        exact, key=lambda category: (places[category] - exact[category], category)
    )
    for category in by_remainder[: total - places.total()]:
        places[category] += 1
    return places


def take(families: list[list[str]], category_of: dict[str, str], places: Counter[str]) -> list[str]:
    """Remove whole families from `families` until `places` are filled; return their classes."""
    left, taken = Counter(places), []
    for strict in (True, False):  # second pass: the last places go to any category
        for family in list(families):
            needed = Counter(category_of[name] for name in family)
            fits = needed <= left if strict else len(family) <= places.total() - len(taken)
            if fits:
                left.subtract(needed)
                taken += family
                families.remove(family)
    if len(taken) != places.total():
        raise SystemExit(f"{len(taken)} classes fit where {places.total()} are wanted")
    return sorted(taken)


def split_classes(category_of: dict[str, str]) -> dict[str, list[str]]:
    """Choose the classes of each split; siblings stay together."""
    classes = [name for name in sorted(category_of) if name not in LEFT_OUT]
    families = families_of(classes)
    return {
        split: take(families, category_of, quotas(category_of, classes, count))
        for split, count in (
            ("test", TEST_CLASSES),
            ("val", VAL_CLASSES),
            ("train", TRAIN_CLASSES),
        )
    }


def shrink(path: Path) -> bytes:
    """Return the image resized to SIDE x SIDE pixels, as WebP."""
    with Image.open(path) as image:
        small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=QUALITY, method=6)
    return buffer.getvalue()


def write_zip(target: Path, members: dict[str, bytes]) -> None:
    """Write images as they are and texts deflated, with fixed dates and order."""
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(members):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = (
                zipfile.ZIP_STORED if name.startswith("images/") else zipfile.ZIP_DEFLATED
            )
            archive.writestr(entry, members[name])


README = """\
Furniture: product retrieval under change of view
=================================================
{classes} classes of {per_class} images, {side} x {side} pixels.
These are renders, not photographs: say so with any result.

One class is one 3D model of Debian's package sweethome3d-furniture 1.8,
rendered from random views (azimuth within 80 degrees, elevation 2 to 45 degrees), with random
zoom, framing, light and shadow; about 40 % before a studio background, 60 % before crops of ten
photographs. Made smaller from renders of 448 x 448 pixels.

split.json holds the zero-shot split: {train} training, {val} validation and {test} test classes.
Models whose names show that they are siblings (armchair and armchair2) are never divided.

Licences
--------
credits.csv names the model, category, creator and licence of every class (public domain, or
Creative Commons Attribution 3.0). The backgrounds come from Debian's package lomiri-wallpapers:
Aitzol Berasategi (aitzgorri, friends, life, picosdeeuropa, sunset), Trevor "Freespace"
(Picture 0B, 1A), Abhishek Mudgal (umang) and Jakub Mede (Wine), all Creative Commons Attribution
4.0; Clemens Engelhardt (seeding), CC0 1.0.
These credits travel with any copy of the images.
"""


def by_class(paths: list[str]) -> list[list[str]]:
    """Group sorted paths by their folder."""
    groups = itertools.groupby(paths, key=lambda path: path.rpartition("/")[0])
    return [list(group) for _, group in groups]


def build(source: Path, target: Path) -> None:
    """Write the asset and say what it holds."""
    with (source / "credits.csv").open(encoding="utf-8", newline="") as handle:
        credits_of = {row["class"]: row for row in csv.DictReader(handle)}
    splits = split_classes({name: row["category"] for name, row in credits_of.items()})
    chosen = sorted(itertools.chain.from_iterable(splits.values()))
    renders = {name: sorted((source / "images" / name).glob("*.jpg")) for name in chosen}
    inside = {path: f"images/{name}/{path.stem}.webp" for name in chosen for path in renders[name]}
    with ThreadPoolExecutor() as pool:
        members = dict(zip(inside.values(), pool.map(shrink, inside), strict=True))
    table = io.StringIO()
    writer = csv.DictWriter(table, list(credits_of[chosen[0]]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(credits_of[name] for name in chosen)
    lists = {
        split: by_class([inside[path] for name in splits[split] for path in renders[name]])
        for split in ("train", "val", "test")
    }
    counts = {split: len(names) for split, names in splits.items()}
    members["credits.csv"] = table.getvalue().encode()
    members["split.json"] = json.dumps(lists).encode()
    members["README.txt"] = README.format(
        classes=len(chosen), per_class=len(inside) // len(chosen), side=SIDE, **counts
    ).encode()
    write_zip(target, members)
    content = target.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    sys.stdout.write(f"{target}: {len(inside)} images, {len(content)} bytes, sha256 {digest}\n")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Make the embedded furniture set.")
    parser.add_argument("--source", type=Path, required=True, help="folder of the full renders")
    parser.add_argument("--target", type=Path, default=PACKAGE_ASSET, help="zip file to write")
    arguments = parser.parse_args()
    build(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
