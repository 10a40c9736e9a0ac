"""The table of a comparison: for a terminal, as CSV, Markdown, JSON and a page."""

import csv
import html
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ram_cli.evaluation.report import clean
from ram_cli.export import public_name
from ram_cli.export.markdown import inline
from ram_cli.files import write_text
from ram_cli.progress import TableData
from ram_cli.recipes.compare_chart import chart
from ram_cli.recipes.compare_results import METRICS, CompareRow, row_json

SHOWN = {"asym_map": "asym mAP", "asym_r1": "asym R@1", "sym_map": "sym mAP", "sym_r1": "sym R@1"}
ABSENT = "–"

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1c2733; max-width: 66rem; margin: 2.5rem auto;
  padding: 0 1.5rem; }}
h1 {{ font-size: 1.5rem; margin: 0 0 .2rem; }} p {{ color: #52606d; margin: .2rem 0 1.4rem; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1.6rem 0;
  width: 100%; }}
th, td {{ padding: .4rem .7rem; border-bottom: 1px solid #e4e9ee; text-align: right;
  white-space: nowrap; }}
th {{ color: #52606d; font-weight: 600; }} th:first-child, td:first-child {{ text-align: left; }}
tr.teacher td {{ color: #52606d; background: #f7f9fb; }} tr.failed td {{ color: #a32d2d; }}
svg {{ width: 100%; height: auto; }} .scroll {{ overflow-x: auto; }}
</style></head><body><h1>{title}</h1><p>{protocol}</p>{charts}
<div class="scroll">{table}</div>{failures}</body></html>
"""


def table_data(rows: Sequence[CompareRow], title: str) -> TableData:
    """The table as text; the dataset is a column only where there are several."""
    several = len({row.dataset for row in rows}) > 1
    head = ["dataset"] if several else []
    columns = [*head, "method", *SHOWN.values(), "training s", "student images", "GMAC", "ms"]
    body = [[*([row.dataset] if several else []), *_cells(row)] for row in rows]
    first = len(head) + 1
    return TableData(title, columns, body, numeric=set(range(first, len(columns))))


def _cells(row: CompareRow) -> list[str]:
    return [
        _label(row),
        *(_spread(row, name, 1) for name in SHOWN),
        _spread(row, "train_seconds", 0),
        ABSENT if row.is_teacher else f"{row.student_images:,}",
        ABSENT if math.isnan(row.gmac) else f"{row.gmac:.2f}",
        ABSENT if math.isnan(row.milliseconds) else f"{row.milliseconds:.1f}",
    ]


def _label(row: CompareRow) -> str:
    if not row.failures:
        return row.label
    return f"{row.label} (failed: seed {', '.join(map(str, row.failures))})"


def _spread(row: CompareRow, name: str, digits: int) -> str:
    mean, std = row.mean(name), row.std(name)
    if math.isnan(mean):
        return ABSENT
    return f"{mean:.{digits}f}" + ("" if math.isnan(std) else f" ± {std:.{digits}f}")


def protocol_line(summary: Mapping[str, Any]) -> str:
    """The protocol in one sentence."""
    unit = "student views" if summary["budget"] == "images" else "images"
    seeds = ", ".join(map(str, summary["seeds"]))
    told = f"seed {seeds}"
    if len(summary["seeds"]) > 1:
        told = f"seeds {seeds}, mean ± standard deviation"
    epochs = f"{summary['epochs']} epoch{'s' if summary['epochs'] > 1 else ''}"
    return (
        f"Student {public_name(summary['student'])} after teacher "
        f"{public_name(summary['teacher'])}, trained on {public_name(summary['trained on'])}: "
        f"{epochs} of {summary['per epoch']:,} {unit}, "
        f"{summary['batch']} a step, learning rate {summary['lr']:g} unless said otherwise; "
        f"{told}. Percent, on classes that nothing was trained on."
    )


def write_tables(
    folder: Path, rows: Sequence[CompareRow], summary: Mapping[str, Any], own: Mapping[str, Any]
) -> list[Path]:
    """Write `table.csv`, `table.md`, `table.json`, a chart per dataset and `index.html`.

    Args:
        folder: Where to.
        rows: The teacher's, then the methods'.
        summary: The protocol.
        own: Settings of single methods.

    Returns:
        The files.
    """
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    charts = {name: chart([r for r in rows if r.dataset == name], name) for name in datasets}
    document = {"protocol": dict(summary), "own": own, "rows": [row_json(row) for row in rows]}
    texts = {
        "table.csv": _csv(rows),
        "table.md": _markdown(rows, summary),
        "table.json": json.dumps(_finite(document), indent=1, ensure_ascii=False) + "\n",
        "index.html": _page(rows, summary, list(charts.values())),
    }
    for place, text in enumerate(charts.values(), start=1):
        texts["chart.svg" if place == 1 else f"chart-{place}.svg"] = text
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _csv(rows: Sequence[CompareRow]) -> str:
    names = [*METRICS, "train_seconds"]
    columns = ["dataset", "label", "seeds", *(n for name in names for n in (name, f"{name}_std"))]
    columns += ["student_images", "query_gmac", "query_ms", "failed_seeds"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        of = row_json(row)
        lists = {"seeds": of["seeds"], "failed_seeds": list(of["failures"])}
        of |= {name: " ".join(map(str, items)) for name, items in lists.items()}
        writer.writerow([_cell(of[column]) for column in columns])
    return text.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return clean(str(value))


def _markdown(rows: Sequence[CompareRow], summary: Mapping[str, Any]) -> str:
    table = table_data(rows, "")
    rule = ["---:" if place in table.numeric else "---" for place in range(len(table.columns))]
    body = [[inline(cell, None) for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (table.columns, rule, *body)]
    failures = [f"* {inline(why, None)}" for why in failure_lines(rows)]
    said = inline(protocol_line(summary), None)
    return "\n".join([said, "", *lines, *([""] * bool(failures)), *failures, ""])


def _page(rows: Sequence[CompareRow], summary: Mapping[str, Any], charts: Sequence[str]) -> str:
    table = table_data(rows, "")
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    body = ""
    for row, cells in zip(rows, table.rows, strict=True):
        inside = "".join(f"<td>{html.escape(clean(cell))}</td>" for cell in cells)
        body += f'<tr class="{_kind(row)}">{inside}</tr>'
    failures = "".join(f"<p>{html.escape(clean(why))}</p>" for why in failure_lines(rows))
    return PAGE.format(
        title="Comparison of distillation methods",
        protocol=html.escape(clean(protocol_line(summary))),
        charts="".join(charts),
        table=f"<table><tr>{head}</tr>{body}</table>",
        failures=failures,
    )


def _kind(row: CompareRow) -> str:
    if row.is_teacher:
        return "teacher"
    return "failed" if row.failures else "method"


def failure_lines(rows: Sequence[CompareRow]) -> list[str]:
    """Every training that failed, once, and why."""
    lines = [
        f"{row.label}, seed {seed}: {' '.join(why.splitlines()[:1])}"
        for row in rows
        for seed, why in row.failures.items()
    ]
    return list(dict.fromkeys(lines))


def _finite(value: Any) -> Any:
    """The value as JSON can hold it: what is not a number is null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)
