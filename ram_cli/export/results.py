"""Results kept in a model folder: rows of tests of exactly this model, and a picture of them."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ram_cli.errors import CheckpointError
from ram_cli.files import write_text
from ram_cli.models import RESULTS_FILE

PICTURE_FILE = "retrievals.png"
FORMAT = "ram-results"

_SAME_TEST = ("dataset", "label", "protocol", "whitening", "scales")


@dataclass(frozen=True, slots=True)
class Results:
    """What tests of a model gave.

    Attributes:
        model: Content hash of the model that was tested.
        rows: One JSON object per pair of networks and dataset, metrics in percent.
        credits: Whose images the picture shows.
    """

    model: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    credits: list[str] = field(default_factory=list)

    def with_rows(self, rows: Sequence[Mapping[str, Any]], credits: Sequence[str]) -> "Results":
        """These results, where a newer row takes the place of an older one of the same test."""
        new = [dict(row) for row in rows]
        known = {_test_of(row) for row in new}
        kept = [row for row in self.rows if _test_of(row) not in known]
        return Results(self.model, kept + new, list(credits) or self.credits)

    def to_text(self) -> str:
        """The content of `results.json`."""
        content = {
            "format": FORMAT,
            "model": self.model,
            "rows": self.rows,
            "credits": self.credits,
        }
        return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def save_results(folder: Path, results: Results) -> None:
    """Keep results in the folder of the model that was tested.

    Raises:
        OutputError: The folder cannot be written.
    """
    write_text(folder / RESULTS_FILE, results.to_text())


def read_results(folder: Path, model: str) -> Results:
    """Results kept in a folder; none where there are none, or where they are of another model.

    Args:
        folder: The model folder.
        model: Content hash of its model.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = folder / RESULTS_FILE
    if not path.is_file():
        return Results(model)
    advice = "Remove it, then run ram test --save again."
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no JSON document. {advice}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path} holds no results of ram. {advice}")
    rows: Any = content.get("rows")
    credits: Any = content.get("credits")
    if not _are(rows, dict) or not _are(credits, str):
        raise CheckpointError(f"{path}: rows must be objects, and credits texts. {advice}")
    if content.get("model") != model:
        return Results(model)
    return Results(model, rows, credits)


def row_metrics(row: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Key, name for people and value, in percent: mAP, then mP@k of landmarks, else R@k."""
    prefix, short = ("precision_at_", "mP") if row.get("protocol") else ("recall_at_", "R")
    named = [("map", "mAP")]
    named += [(key, f"{short}@{key[len(prefix) :]}") for key in row if key.startswith(prefix)]
    return [
        (key, name, float(row[key]))
        for key, name in named
        if isinstance(row.get(key), int | float) and re.fullmatch(r"\w+", key)
    ]


def row_name(row: Mapping[str, Any]) -> list[str]:
    """Networks, protocol, whitening and scales of a test, as far as they differ from the usual."""
    scales = row.get("scales") or [1.0]
    several = isinstance(scales, list) and scales != [1.0]
    told = [row.get("label"), row.get("protocol"), row.get("whitening")]
    told.append(f"{len(scales)} scales" if several else "")
    return [str(part) for part in told if part]


def _are(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


def _test_of(row: Mapping[str, Any]) -> str:
    return json.dumps([row.get(name) for name in _SAME_TEST])
