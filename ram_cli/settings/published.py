"""Names of the published commands, and what they are called here.

The commands of AML name a training by two words: `--mode` says where the images of a tuple come
from, `--loss` what is minimised.
"""

from typing import Any

PUBLISHED_NAMES = {
    "ts_aug": "coupled",
    "ts_reg": "cosine-regression",
    "sym": "triplet",
    "std": "contrastive",
    "ts": "contrastive",
    "ts_self": "contrastive+",
    "ts_rand": "random-negatives",
    "rand": "random-negatives",
    "reg": "regression",
    "reg_only_pos": "positive-regression",
    "rand_tpl": "ranked-triplet",
    "rand_tpl_a": "ranked-triplet",
    "multi": "multi-similarity",
    "cross_entropy": "cross-entropy",
    "cross_entropy_dist": "distance-cross-entropy",
    "contrastive_dist": "contrastive-distance",
    "d3still": "d3",
}
"""Published modes and losses, and the method or the loss that each of them is, alone."""

_OVER_TUPLES = ("contrastive", "triplet", "multi", "cross_entropy_dist", "contrastive_dist")
_PLAIN = ("cross_entropy", "rkd", "darkrank")


def _named(loss: str) -> str:
    return PUBLISHED_NAMES.get(loss, loss)


PUBLISHED_PAIRS: dict[tuple[str, str], dict[str, Any]] = {
    **{("ts", loss): {"method": _named(loss)} for loss in _OVER_TUPLES},
    **{
        (mode, loss): {"method": _named(loss), "negatives_from": "random"}
        for mode in ("ts_rand", "rand")
        for loss in _OVER_TUPLES
    },
    **{(mode, loss): {"method": _named(loss)} for mode in ("ts", "rand", "reg") for loss in _PLAIN},
    ("ts_self", "contrastive"): {"method": "contrastive+"},
    ("reg", "contrastive"): {"method": "regression"},
    ("reg_only_pos", "contrastive"): {"method": "positive-regression"},
    ("rand_tpl", "triplet"): {"method": "ranked-triplet"},
    ("rand_tpl_a", "triplet"): {"method": "ranked-triplet"},
}
"""Settings of `ram distill` by published mode and loss."""

_KEPT_VECTORS = (
    "is not needed: ram prepare DATASET --teacher NAME keeps the teacher's vectors, and ram "
    "distill finds them"
)
MOVED_FLAGS = {
    "--optimize": "is a command of its own: ram tune, with the options of ram distill",
    "--feat-path": _KEPT_VECTORS,
    "--feat-val-path": _KEPT_VECTORS,
    "--test-freq": "is not needed: --test-datasets are tested on once, after training; --val-every "
    "says how often to validate",
}
"""Published flags that are no setting, and what to do instead."""

SHORT_FLAGS = {
    "-npath": "--network-path",
    "-noff": "--network-offtheshelf",
    "-d": "--datasets",
    "-ms": "--multiscale",
    "-w": "--whitening",
}
"""Short spellings of the published test commands, and what they are short for."""

PUBLISHED_TRAININGS: dict[str, dict[str, Any]] = {
    "sym": {"loss": "triplet", "mining": "pool"},
    "std": {"loss": "contrastive", "mining": "hard"},
}
"""Settings of `ram train` by published mode."""


def method_named(value: object) -> object:
    """A published mode or loss as the method of `ram distill`; anything else in small letters.

    Raises:
        ValueError: It is a way to train without a teacher.
    """
    name = folded(value)
    if name in PUBLISHED_TRAININGS:
        raise ValueError(f"trains without a teacher: ram train --mode {name}")
    return PUBLISHED_NAMES.get(name, name) if name else value


def folded(value: object) -> str:
    """A published name in small letters; empty where the value is no text."""
    return value.strip().lower() if isinstance(value, str) else ""
