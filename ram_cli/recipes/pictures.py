"""The page of real queries and what they found, as every recipe writes it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ram_cli.datasets import ImageSet
from ram_cli.evaluation import RetrievalMetrics
from ram_cli.evaluation.report import Search, write_report
from ram_cli.progress import TableData
from ram_cli.recipes.comparison import Comparison, Side
from ram_cli.recipes.rows import ResultRow

Shown = tuple[Side, Side, ImageSet, ResultRow]
"""Query side, gallery side, images, and the row that they gave."""


def write_pictures(
    path: Path | None,
    comparison: Comparison,
    shown: Sequence[Shown],
    table: TableData,
    *,
    title: str = "What the queries found",
    notes: Sequence[str] = (),
    png: Path | None = None,
) -> None:
    """Write the page for the first dataset shown; the table holds the numbers of all.

    Args:
        path: The HTML page; None for the picture alone.
        comparison: Holds the vectors.
        shown: What was searched; the first is what the last is compared with.
        table: All numbers.
        title: Of the page.
        notes: Remarks above the pictures.
        png: A picture of the same, if wanted.
    """
    images = shown[0][2]
    searches = [
        Search(
            title=row.label,
            query=comparison.vectors(query, images),
            gallery=comparison.vectors(gallery, images),
            query_size=query.size,
            metrics=_by_image(row.metrics, images),
        )
        for query, gallery, of, row in shown
        if of is images
    ]
    write_report(
        path,
        images,
        searches,
        title=title,
        table=table,
        notes=notes,
        credits=image_credits(images),
        png=png,
    )


def _by_image(metrics: RetrievalMetrics, images: ImageSet) -> RetrievalMetrics:
    """The metrics with an AP for every image, NaN for what is no query."""
    if images.queries is None:
        return metrics
    ap = np.full(len(images), np.nan)
    ap[images.queries] = metrics.ap
    return replace(metrics, ap=ap)


def image_credits(images: ImageSet) -> list[str]:
    """Creators and licences of the classes shown, where the dataset brings `credits.csv`."""
    path = images.root / "credits.csv"
    if not path.is_file():
        return []
    rows = read_credits(path)
    names = {images.class_names[label] for label in images.labels}
    by_creator: dict[str, int] = {}
    for name, creator, licence in rows:
        if name in names:
            line = f"{creator} ({licence})"
            by_creator[line] = by_creator.get(line, 0) + 1
    models = ", ".join(f"{line}: {count}" for line, count in sorted(by_creator.items()))
    return [f"3D models by {models}. All credits: credits.csv beside the images."] if models else []


def read_credits(path: Path) -> list[tuple[str, str, str]]:
    """Class, creator and licence of every line of a `credits.csv`; none if it has other columns."""
    import csv

    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if not {"class", "creator", "licence"} <= set(reader.fieldnames or ()):
            return []
        return [(row["class"], row["creator"], row["licence"]) for row in reader]
