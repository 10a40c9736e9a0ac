"""Where values come from below flags and variables: a settings file, then the dataset's preset."""

import tomllib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from ram_cli.settings.choices import CommandName
from ram_cli.settings.fields import flag_of
from ram_cli.settings.presets import dataset_of_network, preset_of

if TYPE_CHECKING:
    from ram_cli.settings.base import CommandSettings

LOCAL_FILE = Path("ram.toml")
"""Settings file of the working folder, read where no other is named."""
RUN_FILE = "config.toml"
"""Settings file inside a run folder."""
RUNS = Path("runs")
"""Folder that holds the runs without a folder of their own choosing."""
NEWEST = "newest"
"""What `--resume` means with nothing after it."""


def read_document(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ValueError: It is missing, unreadable or malformed; the message lacks the path.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is not valid TOML: {error}") from error


def newest_run(table: str) -> Path | None:
    """Return the run folder under `runs/` whose `table` settings were written or used last."""
    found = [folder for folder in known_runs() if _holds(folder / RUN_FILE, table)]
    return max(found, key=_last_touched, default=None)


def known_runs() -> list[Path]:
    """Return the run folders under `runs/`."""
    return [file.parent for file in RUNS.glob(f"*/{RUN_FILE}")]


def _holds(file: Path, table: str) -> bool:
    try:
        return table in read_document(file)
    except ValueError:
        return False


def _last_touched(folder: Path) -> float:
    marks = (folder / RUN_FILE, folder / "checkpoints" / "last")
    return max(mark.stat().st_mtime for mark in marks if mark.exists())


def resumed_run(value: object, table: str) -> Path | None:
    """Return the run folder that `resume` names; None where there is no such run."""
    if not isinstance(value, str | Path):
        return None
    folder = newest_run(table) if str(value) == NEWEST else Path(value).expanduser()
    return folder if folder is not None and (folder / RUN_FILE).is_file() else None


class FileSource(PydanticBaseSettingsSource):
    """The command's table of `--config`, else of the resumed run, else of `./ram.toml`.

    What does not belong in the file is handed on under names that no field has, so that it is
    reported together with every other fault.
    """

    settings_cls: type["CommandSettings"]

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Unused: the table is read as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the values of the table, by field."""
        table = self.settings_cls.table
        path = self._path(table)
        if path is None:
            return {}
        try:
            document = read_document(path)
        except ValueError:
            return {"config": path}  # the validator of `config` says what is wrong with it
        tables = [document[name] for name in (table, self.settings_cls.below) if name in document]
        strays = {_stray(key, item): item for key, item in document.items() if _foreign(key, item)}
        if not tables and not strays and path == LOCAL_FILE:
            return {}
        names = self.settings_cls.names()
        values: dict[str, Any] = {}
        for found in tables:  # of several, the first counts
            told = _by_field(found, names, set(names.values())) if isinstance(found, dict) else {}
            values = told | values
        return {"config": path} | strays | values

    def _path(self, table: str) -> Path | None:
        named = self.current_state.get("config")
        if named is not None:
            return Path(named).expanduser()
        run = resumed_run(self.current_state.get("resume"), table)
        if run is not None:
            return run / RUN_FILE
        return LOCAL_FILE if LOCAL_FILE.is_file() else None


class PresetSource(PydanticBaseSettingsSource):
    """Published values of the dataset, for the fields that the command takes from a preset."""

    settings_cls: type["CommandSettings"]

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Unused: the preset is taken as a whole."""
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the values of the preset, by field."""
        wanted = self.settings_cls.preset_fields
        state = self.current_state
        preset = preset_of(state.get("dataset") or dataset_of_network(state.get("teacher")))
        return {name: value for name, value in preset.items() if name in wanted}


def field_names(fields: dict[str, FieldInfo]) -> dict[str, str]:
    """Map every name a file may use, published ones included, to its field."""
    names = {name: name for name in fields}
    for name, field in fields.items():
        names |= {alias.replace("-", "_"): name for alias in flag_of(field).aliases}
    return names


def _by_field(
    table: dict[str, Any], names: dict[str, str], fields: Collection[str]
) -> dict[str, Any]:
    """Rename published names; a value given under two names stays a stray."""
    values = {key: item for key, item in table.items() if key in fields}
    for key, item in table.items():
        name = names.get(key.replace("-", "_"), key)
        values[name if name not in values else key] = item
    return values


def _foreign(key: str, item: object) -> bool:
    return key not in get_args(CommandName) or not isinstance(item, dict)


def _stray(key: str, item: object) -> str:
    """Name a table or a value outside any table so that no field can be meant."""
    return f"[{key}]" if isinstance(item, dict) else f"{key} ="
