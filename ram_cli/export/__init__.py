"""Models that others can use."""

from ram_cli.export.card import CardFacts, Reference, card
from ram_cli.export.graphs import Graphs
from ram_cli.export.push import Push, check_name, check_repository, push_folder
from ram_cli.export.record import public_name, public_record
from ram_cli.export.results import (
    PICTURE_FILE,
    Results,
    read_results,
    row_metrics,
    row_name,
    save_results,
)

__all__ = [
    "PICTURE_FILE",
    "CardFacts",
    "Graphs",
    "Push",
    "Reference",
    "Results",
    "card",
    "check_name",
    "check_repository",
    "public_name",
    "public_record",
    "push_folder",
    "read_results",
    "row_metrics",
    "row_name",
    "save_results",
]
