"""Every tunable value, declared once: flags, `RAM_*` variables and files all read these fields."""

from ram_cli.settings.base import CommandSettings, unknown_variables
from ram_cli.settings.choices import (
    BudgetName,
    CommandName,
    DatasetName,
    ListingName,
    LoggerName,
    LossName,
    MethodName,
    MiningName,
    OptimizerName,
    PoolingName,
    PrecisionName,
    ProjectionStartName,
    SchedulerName,
    SplitName,
)
from ram_cli.settings.commands import (
    SETTINGS,
    CompareSettings,
    DemoSettings,
    DistillSettings,
    ExportSettings,
    InfoSettings,
    ListSettings,
    TestSettings,
    TrainSettings,
    TuneSettings,
)
from ram_cli.settings.data import DownloadSettings, PrepareSettings
from ram_cli.settings.faults import did_you_mean, label_of
from ram_cli.settings.fields import (
    Flag,
    Repeated,
    choices_of,
    flag_of,
    kinds_of,
    takes_auto,
    takes_many,
)
from ram_cli.settings.presets import PRESETS, dataset_of_network
from ram_cli.settings.published import MOVED_FLAGS
from ram_cli.settings.sources import newest_run

__all__ = [
    "MOVED_FLAGS",
    "PRESETS",
    "SETTINGS",
    "BudgetName",
    "CommandName",
    "CommandSettings",
    "CompareSettings",
    "DatasetName",
    "DemoSettings",
    "DistillSettings",
    "DownloadSettings",
    "ExportSettings",
    "Flag",
    "InfoSettings",
    "ListSettings",
    "ListingName",
    "LoggerName",
    "LossName",
    "MethodName",
    "MiningName",
    "OptimizerName",
    "PoolingName",
    "PrecisionName",
    "PrepareSettings",
    "ProjectionStartName",
    "Repeated",
    "SchedulerName",
    "SplitName",
    "TestSettings",
    "TrainSettings",
    "TuneSettings",
    "choices_of",
    "dataset_of_network",
    "did_you_mean",
    "flag_of",
    "kinds_of",
    "label_of",
    "newest_run",
    "takes_auto",
    "takes_many",
    "unknown_variables",
]
