"""Hostile input: a Hub on this machine that serves it."""

from hub_fixtures import hub  # noqa: F401
