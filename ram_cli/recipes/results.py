"""Results that stay with a model: what `ram test --save` keeps in its folder."""

from collections.abc import Sequence
from pathlib import Path

from ram_cli.errors import ConfigError
from ram_cli.evaluation.cost import machine_name
from ram_cli.export import PICTURE_FILE, read_results, save_results
from ram_cli.files import check_writable
from ram_cli.models import is_hub_id, is_model_folder, model_hash
from ram_cli.recipes.comparison import Comparison
from ram_cli.recipes.pictures import Shown, image_credits, write_pictures
from ram_cli.recipes.rows import ResultRow, rows_table


def check_savable(named: str | None, folder: str) -> None:
    """Refuse, before any work, to save where results could not stay.

    Args:
        named: The model as the user named it.
        folder: What that was found to be.

    Raises:
        ConfigError: The model is no folder of the user's own.
        OutputError: Its folder cannot be written.
    """
    if not is_model_folder(folder) or (named is not None and is_hub_id(named)):
        raise ConfigError(
            f"save: {named} is no model folder on this machine. Export it to one first: "
            f"ram export {named} --to FOLDER"
        )
    check_writable(Path(folder) / PICTURE_FILE)


def keep_results(
    folder: Path, comparison: Comparison, rows: Sequence[ResultRow], shown: Sequence[Shown]
) -> None:
    """Write rows, and a picture of what was searched, into the folder of the model tested.

    Args:
        folder: Its model folder.
        comparison: Holds the vectors.
        rows: All results.
        shown: Those that can be shown.

    Raises:
        OutputError: The folder cannot be written.
    """
    about = {
        "device": machine_name(comparison.runtime.device),
        "scales": [float(scale) for scale in comparison.scales],
    }
    credits = image_credits(shown[0][2]) if shown else []
    if shown:
        table = rows_table("test", [row for *_, row in shown])
        write_pictures(None, comparison, _pictured(shown), table, png=folder / PICTURE_FILE)
    results = read_results(folder, model_hash(folder))
    save_results(folder, results.with_rows([row.to_json() | about for row in rows], credits))


def _pictured(shown: Sequence[Shown]) -> Sequence[Shown]:
    """Small queries in the teacher's gallery, where they were searched for: before and after."""
    small = [one for one in shown if one[3].query_size < one[3].gallery_size]
    return small or shown
