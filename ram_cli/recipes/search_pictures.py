"""The page of landmark queries and what they found, as `ram test --report` writes it."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from ram_cli.evaluation.search_report import (
    SHOWN_RESULTS,
    LandmarkSearch,
    SearchPage,
    shown_places,
    sorted_queries,
    write_search_report,
)
from ram_cli.processes import is_first
from ram_cli.progress import TableData
from ram_cli.recipes.landmarks import Searched
from ram_cli.recipes.rows import search_table


def write_search_pictures(path: Path, searched: Sequence[Searched]) -> None:
    """Write one page for all sets that were searched; of a job, all processes look what was found.

    Args:
        path: The HTML page.
        searched: Searches, those of a set together.

    Raises:
        OutputError: The page cannot be written.
    """
    pages = [
        _page(list(of_set)) for _, of_set in groupby(searched, key=lambda found: id(found.search))
    ]
    if is_first():
        write_search_report(path, pages, title="What the landmark queries found")


def _page(searched: Sequence[Searched]) -> SearchPage:
    metrics = [{row.protocol: row.metrics for row in found.rows} for found in searched]
    order = sorted_queries(metrics)
    places = shown_places(len(order[0]))
    shown = order[0][places].tolist()
    searches = [
        LandmarkSearch(
            title=found.rows[0].label,
            query_size=found.query.size,
            metrics=by_protocol,
            found=found.test.best(found.query, found.gallery, found.search, shown, SHOWN_RESULTS),
        )
        for found, by_protocol in zip(searched, metrics, strict=True)
    ]
    first = searched[0]
    rows = [row for found in searched for row in found.rows]
    return SearchPage(
        first.search,
        searches,
        order,
        places,
        _without_dataset(search_table(rows[0].dataset, rows)),
        first.test.distractors,
    )


def _without_dataset(table: TableData) -> TableData:
    """The table of one dataset, which its title names."""
    return TableData(
        table.title,
        table.columns[1:],
        [cells[1:] for cells in table.rows],
        numeric={column - 1 for column in table.numeric},
    )
