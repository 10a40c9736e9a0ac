"""One line of a results table: who searched where, how well, and at what cost."""

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
    """

    dataset: str
    label: str
    query: str
    query_size: int
    gallery: str
    gallery_size: int
    metrics: RetrievalMetrics
    cost: QueryCost

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
            "map": 100 * m.map,
            "standard_map": 100 * m.standard_map,
            "map_at_r": 100 * m.map_at_r,
            **{
                f"{name}_at_{k}": 100 * float(values[column])
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
