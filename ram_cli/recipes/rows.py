"""One line of a results table: who searched where, how well, and at what cost."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ram_cli.evaluation import RetrievalMetrics
from ram_cli.evaluation.cost import QueryCost
from ram_cli.progress import TableData


@dataclass(frozen=True, slots=True)
class ResultRow:
    """Retrieval by one pair of models on one set of images.

    Attributes:
        dataset: Dataset and split.
        label: What the pair is, for people.
        query: Name of the query model, and `query_size` its input in pixels.
        gallery: Name of the gallery model, and `gallery_size` its input in pixels.
        metrics: Fractions.
        cost: Of one query.
        protocol: How results are counted, in a search for landmarks; else empty.
        whitening: What the vectors were whitened by; empty for nothing.
    """

    dataset: str
    label: str
    query: str
    query_size: int
    gallery: str
    gallery_size: int
    metrics: RetrievalMetrics
    cost: QueryCost
    protocol: str = ""
    whitening: str = ""

    def to_json(self) -> dict[str, Any]:
        """The row with metrics in percent."""
        m = self.metrics
        return {
            "dataset": self.dataset,
            "label": self.label,
            "query": self.query,
            "query_size": self.query_size,
            "gallery": self.gallery,
            "gallery_size": self.gallery_size,
            "map": _number(m.map),
            "standard_map": _number(m.standard_map),
            "map_at_r": _number(m.map_at_r),
            **{
                f"{name}_at_{k}": _number(float(values[column]))
                for name, values in (
                    ("map", m.map_at),
                    ("precision", m.precision_at),
                    ("recall", m.recall_at),
                )
                for column, k in enumerate(m.ks)
            },
            "queries": m.queries,
            "query_gmac": self.cost.gmac,
            "query_ms": self.cost.milliseconds,
            **({"protocol": self.protocol, "whitening": self.whitening} if self.protocol else {}),
        }


def rows_table(title: str, rows: Sequence[ResultRow]) -> TableData:
    """Rows side by side; the dataset is a column only where there are several."""
    several = len({row.dataset for row in rows}) > 1
    ks = rows[0].metrics.ks if rows else ()
    columns = ["dataset"] if several else []
    columns += ["query → gallery", "mAP", *(f"R@{k}" for k in ks), "GMAC", "ms"]
    body = [
        [
            *([row.dataset] if several else []),
            row.label,
            f"{100 * row.metrics.map:.1f}",
            *(f"{100 * float(value):.1f}" for value in row.metrics.recall_at),
            f"{row.cost.gmac:.2f}",
            f"{row.cost.milliseconds:.1f}",
        ]
        for row in rows
    ]
    if rows and not several:
        title = f"{title}: {rows[0].dataset}, {rows[0].metrics.queries} queries"
    first_number = 2 if several else 1
    return TableData(title, columns, body, numeric=set(range(first_number, len(columns))))


def test_tables(rows: Sequence[ResultRow]) -> list[TableData]:
    """One table of images found by their class, one of landmarks; none where there are no rows."""
    by_class = [row for row in rows if not row.protocol]
    landmarks = [row for row in rows if row.protocol]
    return [
        *([rows_table("test", by_class)] if by_class else []),
        *([search_table("landmarks", landmarks)] if landmarks else []),
    ]


def search_table(title: str, rows: Sequence[ResultRow]) -> TableData:
    """Searches for landmarks: every protocol is a line; mP@k is what their benchmarks report."""
    ks = rows[0].metrics.ks if rows else ()
    whitened = {row.whitening for row in rows} - {""}
    columns = ["dataset", "query → gallery", "protocol", "mAP", *(f"mP@{k}" for k in ks)]
    columns += ["queries", "GMAC", "ms"]
    body = [
        [
            row.dataset,
            row.label,
            row.protocol,
            _percent(row.metrics.map),
            *(_percent(float(value)) for value in row.metrics.precision_at),
            str(row.metrics.queries),
            f"{row.cost.gmac:.2f}",
            f"{row.cost.milliseconds:.1f}",
        ]
        for row in rows
    ]
    title = ", ".join([title, *sorted(whitened)])
    return TableData(title, columns, body, numeric=set(range(3, len(columns))))


def _percent(fraction: float) -> str:
    """A dash where no query has anything to find."""
    return "–" if math.isnan(fraction) else f"{100 * fraction:.1f}"


def _number(fraction: float) -> float | None:
    """In percent; JSON has no word for what is not a number."""
    return None if math.isnan(fraction) else 100 * fraction
