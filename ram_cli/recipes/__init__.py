"""One file per command: from settings to objects to one call."""
