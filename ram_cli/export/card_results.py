"""Results of tests as a section of a card."""

from typing import Any

from ram_cli.export.markdown import inline, table
from ram_cli.export.results import PICTURE_FILE, Results, row_metrics, row_name


def results_section(results: Results, *, picture: bool) -> str:
    """A section of the card; empty where nothing was tested.

    Args:
        results: Of tests.
        picture: Whether `retrievals.png` lies beside the card.
    """
    if not results.rows:
        return ""
    parts = ["## Results"]
    for landmarks in (False, True):
        rows = [row for row in results.rows if bool(row.get("protocol")) == landmarks]
        if rows:
            parts += [_results_table(rows), _protocol(rows, landmarks)]
    if picture:
        parts.append(f"![Queries and what they found]({PICTURE_FILE})")
        parts += [inline(credit, length=None) for credit in results.credits]
    return "\n\n".join(parts)


def _results_table(rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for _, name, _ in row_metrics(row)))
    body = []
    for row in rows:
        values = {name: f"{value:.1f}" for _, name, value in row_metrics(row)}
        numbers = [values.get(name, "–") for name in names]
        gmac = row.get("query_gmac")
        numbers.append(f"{gmac:.3f}" if isinstance(gmac, int | float) else "–")
        body.append([inline(row.get("dataset")), inline(", ".join(row_name(row))), *numbers])
    columns = ["dataset", "query → gallery", *names, "GMAC per query"]
    return table(columns, body, numeric=len(names) + 1)


def _protocol(rows: list[dict[str, Any]], landmarks: bool) -> str:
    counts = sorted({int(row["queries"]) for row in rows if isinstance(row.get("queries"), int)})
    queries = f"{', '.join(f'{count:,}' for count in counts)} queries. " if counts else ""
    if landmarks:
        return f"{queries}Percent, by the protocol of each benchmark."
    return (
        f"{queries}{_legend(rows)}Every image is searched for among all others, and those of its "
        "class are right. mAP: area under the curve of precision over recall, by trapezoids; R@k: "
        "queries with a right one among the first k. Percent."
    )


def _legend(rows: list[dict[str, Any]]) -> str:
    """How to read the names of the networks, by the example of a search by the student."""
    for row in rows:
        if (row.get("query"), row.get("gallery")) == ("student", "teacher"):
            sizes = [row.get(f"{side}_size") for side in ("query", "gallery")]
            if all(isinstance(size, int) for size in sizes):
                return (
                    f"{inline(row.get('label'))}: the student embeds the queries at {sizes[0]} "
                    f"pixels, the teacher the gallery at {sizes[1]}. "
                )
    return ""
