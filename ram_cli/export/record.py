"""What a model that others can use says of its origin."""

from pathlib import Path
from typing import Any


def public_record(record: dict[str, Any]) -> dict[str, Any]:
    """What a model folder records, without paths of the machine it was made on.

    Args:
        record: As `ram_cli.models.read_provenance` gives it.

    Returns:
        The same with the names of folders in place of their paths.
    """
    public = dict(record)
    if isinstance(dataset := public.get("dataset"), dict):
        public["dataset"] = {key: value for key, value in dataset.items() if key != "source"}
    if isinstance(settings := public.get("settings"), dict):
        public["settings"] = {key: public_name(value) for key, value in settings.items()}
    if isinstance(teacher := public.get("teacher"), dict):
        public["teacher"] = {key: public_name(value) for key, value in teacher.items()}
    return public


def public_name(value: Any) -> Any:
    """The last parts of what is a folder or file here, or was one; anything else as it is.

    Args:
        value: A name, or lists and dictionaries of names and other values.
    """
    if isinstance(value, list):
        return [public_name(item) for item in value]
    if isinstance(value, dict):
        return {key: public_name(item) for key, item in value.items()}
    if not isinstance(value, str) or not _is_place(value):
        return value
    path = Path(value)
    return "/".join(path.parts[-2:]) if path.name in {"best", "final"} else path.name


def _is_place(value: str) -> bool:
    """Whether a text names a folder or file of this machine, be it there or gone by now."""
    if value.startswith(("~", "./", "../")) or Path(value).is_absolute():
        return True
    try:
        return bool(value) and Path(value).exists()
    except OSError:  # no file has such a name, for instance one that is too long
        return False
