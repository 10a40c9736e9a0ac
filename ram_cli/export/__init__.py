"""Models that others can use."""

from ram_cli.export.record import public_record

__all__ = ["public_record"]
