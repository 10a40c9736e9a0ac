"""Everything a run needs to go on: weights, optimiser, schedule, RNG, position, epoch state."""

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ram_cli.engine.objective import EpochState
from ram_cli.errors import CheckpointError, OutputError

_EPOCH_STATE = "epoch.safetensors"
_RNG = "rng.json"


def write_state(accelerator: Accelerator, epoch_state: EpochState, folder: Path) -> None:
    """Write all but the position into `folder`.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        accelerator.save_state(str(folder))
        if epoch_state:
            save_file({k: v.contiguous() for k, v in epoch_state.items()}, folder / _EPOCH_STATE)
    except (RuntimeError, SafetensorError) as error:
        # torch and safetensors report a full disk as errors of their own.
        raise OutputError(f"cannot write checkpoint {folder.parent}: {error}.") from error
    (folder / _RNG).write_text(json.dumps({"digest": _rng_digest()}) + "\n")


def read_state(accelerator: Accelerator, folder: Path) -> EpochState:
    """Load what `write_state` wrote into the prepared objects and the process; give the rest.

    Raises:
        CheckpointError: The checkpoint is damaged, or of another network.
    """
    try:
        accelerator.load_state(str(folder))
        digest = json.loads((folder / _RNG).read_text("utf-8"))["digest"]
        path = folder / _EPOCH_STATE
        state = load_file(path) if path.exists() else {}
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"damaged checkpoint {folder}: {reason}.") from error
    # accelerate swallows a failure to restore random states; a silent one would change the run.
    if digest != _rng_digest():
        raise CheckpointError(f"damaged checkpoint {folder}: its random states do not load.")
    return state


def _rng_digest() -> str:
    digest = hashlib.sha256(torch.get_rng_state().numpy().tobytes())
    digest.update(repr(random.getstate()).encode())
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the state that accelerate keeps
    digest.update(np.asarray(keys).tobytes() + repr((name, rest)).encode())
    return digest.hexdigest()
