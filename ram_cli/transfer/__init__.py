"""Large files from elsewhere: fetched with patience, checked before they are used."""

from ram_cli.transfer.check import Expected, Faults, pin_of, verify
from ram_cli.transfer.disk import check_room, free_bytes, in_units, writing
from ram_cli.transfer.fetch import SCHEMES, download

__all__ = [
    "SCHEMES",
    "Expected",
    "Faults",
    "check_room",
    "download",
    "free_bytes",
    "in_units",
    "pin_of",
    "verify",
    "writing",
]
