"""The processes of one job, as `torchrun` and `accelerate launch` start them; one, if nothing does.

All of them run the same command on the same settings. The first one writes and speaks; what they
exchange is in `ram_cli.engine.collectives`. Nothing here loads torch.
"""

import os

_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher sets; one alone, as a scheduler may set it, does not make a job."""


def process_count() -> int:
    """Processes of the job, over all machines."""
    return _number("WORLD_SIZE", 1)


def process_index() -> int:
    """Place of this process in the job, from 0."""
    return _number("RANK", 0)


def local_index() -> int:
    """Place of this process among those of this machine, from 0."""
    return _number("LOCAL_RANK", 0)


def local_count() -> int:
    """Processes of the job on this machine."""
    return _number("LOCAL_WORLD_SIZE", process_count())


def is_first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return process_index() == 0


def may_be_started_again() -> bool:
    """Whether the launcher starts the job again after a failure, as `--max-restarts` asks it to."""
    return _number("TORCHELASTIC_MAX_RESTARTS", 0) > 0


def _number(variable: str, otherwise: int) -> int:
    if any(name not in os.environ for name in _VARIABLES):
        return otherwise
    return int(os.environ.get(variable, otherwise))
