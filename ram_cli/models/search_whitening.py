"""The whitening that vectors of a model get before they are compared: that of its gallery network.

A network that stands alone brings its own. A student's vectors are searched in the gallery of its
teacher, so they get the teacher's.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ram_cli.errors import ModelError
from ram_cli.models.folder import is_model_folder, model_hash, read_provenance
from ram_cli.models.hub import is_hub_id
from ram_cli.models.whitening_file import (
    GALLERY_WHITENING_FILE,
    read_whitening,
    stored_whitening,
)
from ram_cli.models.zoo import ZOO, find_in_zoo, zoo_whitening

WhiteningPair = tuple[Tensor, Tensor]
"""m `[D]` and P `[D, D]`, applied as P(x − m) and then L2."""


@dataclass(slots=True, eq=False)
class WhiteningSource:
    """Finds the whitening of a model's searches once it is needed, and keeps it.

    Attributes:
        name: What the model was loaded by.
        cache_dir: Where published networks are kept, see `load_model`.
        mirror: Where else they lie.
    """

    name: str
    cache_dir: Path | None = None
    mirror: str | None = None
    _found: list[WhiteningPair | None] = field(default_factory=list)

    def find(self) -> WhiteningPair | None:
        """The whitening; None where the gallery network brings none.

        Raises:
            ModelError: The gallery network is not here, so nobody can tell.
            CheckpointError: A file is damaged.
        """
        if not self._found:
            self._found.append(search_whitening(self.name, self.cache_dir, self.mirror))
        return self._found[0]


def search_whitening(
    name: str, cache_dir: Path | None = None, mirror: str | None = None
) -> WhiteningPair | None:
    """The whitening of a search with this model at one scale, see `WhiteningSource`.

    Args:
        name: Model folder, published file, or name of the zoo.
        cache_dir: Where published networks are kept, see `load_model`.
        mirror: Where else they lie.
    """
    path = Path(name).expanduser()
    if not path.exists() and (known := find_in_zoo(name)):
        gallery = ZOO[known].teacher or known
        return zoo_whitening(gallery, multi_scale=False, cache_dir=cache_dir, mirror=mirror)
    if path.is_file() and is_model_folder(path.parent):
        path = path.parent
    teacher = read_provenance(path).get("teacher") if is_model_folder(path) else None
    if isinstance(teacher, dict) and teacher.get("name"):
        return _of_teacher(path, teacher)
    return stored_whitening(name)


def _of_teacher(student: Path, teacher: dict[str, Any]) -> WhiteningPair | None:
    """Of the teacher beside a student, else as it was exported with it, else where it was."""
    name, known = str(teacher["name"]), teacher.get("hash")
    beside = student.parent / "teacher"
    if is_model_folder(beside) and model_hash(beside) == known:
        return read_whitening(beside)
    exported = read_whitening(student, GALLERY_WHITENING_FILE)
    if exported is not None or teacher.get("whitened") is False:
        return exported
    recorded = Path(name).expanduser()
    for folder in (recorded, recorded / "best", recorded / "final"):
        if is_model_folder(folder) and model_hash(folder) == known:
            return read_whitening(folder)
    if not recorded.exists() and (find_in_zoo(name) or is_hub_id(name)):
        return stored_whitening(name)
    if recorded.is_file():
        return stored_whitening(recorded)
    raise ModelError(
        f"{student} is searched in the gallery of {name}, which is not here to tell whether its "
        "vectors are whitened: embed(…, whitening=False), or whitening=teacher."
    )
