"""The base of every command's settings: four sources above the defaults, all faults at once."""

import inspect
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import tomli_w
from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from ram_cli.errors import ConfigError
from ram_cli.settings.faults import describe, did_you_mean
from ram_cli.settings.fields import AUTO, Flag, takes_auto
from ram_cli.settings.sources import (
    LOCAL_FILE,
    NEWEST,
    RUN_FILE,
    RUNS,
    FileSource,
    PresetSource,
    field_names,
    read_document,
    resumed_run,
)

PREFIX = "RAM_"


class CommandSettings(BaseSettings):
    """General."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        enable_decoding=False,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
    )
    table: ClassVar[str]
    """Name of the command and of its table in a settings file."""
    below: ClassVar[str] = ""
    """Name of another table, whose values this command takes where its own has none."""
    preset_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields whose value a known dataset brings along."""

    config: Annotated[Path | None, Flag(metavar="FILE", shown="ram.toml, if it exists")] = Field(
        None, description="TOML file with one table per command.", exclude=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Rank the sources: flag, variable, settings file, preset of the dataset."""
        return init_settings, env_settings, FileSource(settings_cls), PresetSource(settings_cls)

    @classmethod
    def names(cls) -> dict[str, str]:
        """Map every name of a value, published ones included, to its field."""
        return field_names(cls.model_fields)

    @classmethod
    def ordered(cls) -> dict[str, FieldInfo]:
        """Return the fields group by group, in the order the class lists its groups."""
        places = {group: place for place, group in enumerate(cls.__mro__)}

        def place(name: str) -> tuple[int, int, int]:
            declaring = _declaring(cls, name)
            line = list(inspect.get_annotations(declaring)).index(name)
            return places[cls.panel(name)], places[declaring], line

        return {name: cls.model_fields[name] for name in sorted(cls.model_fields, key=place)}

    @classmethod
    def panel(cls, name: str) -> type:
        """Return the group, nearest the command, that a field is shown with."""
        title = inspect.getdoc(_declaring(cls, name))
        return next(group for group in cls.__mro__[1:] if inspect.getdoc(group) == title)

    @classmethod
    def load(
        cls, flags: Mapping[str, Any] | None = None, faults: Sequence[str] = (), **values: Any
    ) -> Self:
        """Resolve the settings from flags and everything below them.

        Args:
            flags: Values by field; None means not given.
            faults: What is already known to be wrong, to be reported with the rest.
            values: More flags, for callers in Python.

        Raises:
            ConfigError: Any source holds something that cannot be used; one line per fault.
        """
        given = {name: v for name, v in {**(flags or {}), **values}.items() if v is not None}
        try:
            loaded = cls(**given)
        except ValidationError as error:
            raise ConfigError([*faults, *describe(error, cls, given)]) from error
        if faults:
            raise ConfigError(faults)
        return loaded

    @classmethod
    def settled(cls, values: Mapping[str, Any]) -> Self:
        """Judge values that are all there is: no variable, file or preset adds to them.

        Raises:
            ConfigError: Something cannot be used; one line per fault.
        """
        settled = cls.__new__(cls)
        try:
            BaseModel.__init__(settled, **values)
        except ValidationError as error:
            raise ConfigError(describe(error, cls, values)) from error
        return settled

    def to_toml(self) -> str:
        """Return the resolved values as a settings file: `--config` on it repeats the run.

        Where the run lies and what it goes on from are left out, so that a repetition is a new run.
        """
        plain = self.model_dump(mode="json")
        values = {
            name: AUTO if plain[name] is None and takes_auto(field) else plain[name]
            for name, field in self.ordered().items()
            if name in plain
        }
        told = {name: value for name, value in values.items() if value is not None}
        return tomli_w.dumps({self.table: told})

    @field_validator("resume", mode="before", check_fields=False)
    @classmethod
    def _existing_run(cls, value: object) -> object:
        if value is None:
            return None
        run = resumed_run(value, cls.table)
        if run is None and str(value) == NEWEST:
            raise ValueError(f"names no run: there is none of ram {cls.table} under {RUNS}/")
        if run is None:
            raise ValueError(f"is not a run folder: it has no {RUN_FILE}")
        return run

    @field_validator("config")
    @classmethod
    def _usable_file(cls, path: Path | None) -> Path | None:
        if path is None:
            return None
        for_all_commands = (str(LOCAL_FILE), os.environ.get(f"{PREFIX}CONFIG"))
        must_serve_this_one = str(path) not in for_all_commands
        path = path.expanduser()
        document = read_document(path)
        if not {cls.table, cls.below} & set(document) and must_serve_this_one:
            tables = ", ".join(f"[{name}]" for name in document) or "no table at all"
            raise ValueError(f"has no table [{cls.table}]; it has {tables}")
        return path


def _declaring(settings: type, name: str) -> type:
    return next(base for base in settings.__mro__ if name in inspect.get_annotations(base))


def unknown_variables(environment: Mapping[str, str], fields: Collection[str]) -> list[str]:
    """Return one remark for each `RAM_*` variable that no field of any command reads.

    Args:
        environment: Variables of the process.
        fields: Names of the fields of all commands.
    """
    known = [f"{PREFIX}{name.upper()}" for name in (*fields, "debug", "hub_mirror")]
    strangers = sorted(
        name
        for name in environment
        if name.upper().startswith(PREFIX) and name.upper() not in known
    )
    return [f"no setting reads {name}{did_you_mean(name.upper(), known)}" for name in strangers]
