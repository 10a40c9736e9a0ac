"""Image collections as ordered lists of labelled files, in splits of disjoint classes."""

from ram_cli.datasets.images import Dataset, ImageSet

__all__ = ["Dataset", "ImageSet"]
