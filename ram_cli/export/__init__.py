"""Models that others can use: folders to publish."""
