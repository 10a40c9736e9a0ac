"""Models that others can use."""

from ram_cli.export.card import CardFacts, Reference, card
from ram_cli.export.record import public_record
from ram_cli.export.results import (
    PICTURE_FILE,
    RESULTS_FILE,
    Results,
    read_results,
    save_results,
)

__all__ = [
    "PICTURE_FILE",
    "RESULTS_FILE",
    "CardFacts",
    "Reference",
    "Results",
    "card",
    "public_record",
    "read_results",
    "save_results",
]
