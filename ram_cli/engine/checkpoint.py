"""Everything a run needs to go on: weights, optimiser, schedule, RNG, position, epoch state."""

import hashlib
import json
import random
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ram_cli.engine.collectives import gather
from ram_cli.engine.objective import EpochState
from ram_cli.errors import CheckpointError, OutputError
from ram_cli.processes import is_first, process_index

RandomState = dict[str, Tensor]
"""State of the generators of one process that a forward pass draws from."""

_EPOCH_STATE = "epoch.safetensors"
_RNG = "rng.json"
_WRAPPED = "module."


def random_states() -> list[RandomState]:
    """The generators of every process, by their order; called by all of them."""
    state = {"torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return gather(state)


def write_state(
    accelerator: Accelerator,
    epoch_state: EpochState,
    folder: Path,
    states: Sequence[RandomState] = (),
) -> None:
    """Write all but the position into `folder`; called by the first process alone.

    Nothing in it depends on how many processes there are, but the states of the others, which a
    job of fewer leaves alone.

    Args:
        accelerator: Holds network, optimiser and schedule.
        epoch_state: What the objective has computed for the epoch.
        folder: Where to write.
        states: Of all processes; that of the first one is the accelerator's.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        with _named_as_alone(accelerator):
            accelerator.save_state(str(folder))
        for index, state in enumerate(states[1:], start=1):
            save_file(state, folder / _random_file(index))
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
        with _named_as_alone(accelerator):
            accelerator.load_state(str(folder))
        digest = json.loads((folder / _RNG).read_text("utf-8"))["digest"]
        path = folder / _EPOCH_STATE
        state = load_file(path) if path.exists() else {}
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"damaged checkpoint {folder}: {reason}.") from error
    if not is_first():
        _restore_random(folder)
    # accelerate swallows a failure to restore random states; a silent one would change the run.
    elif digest != _rng_digest():
        raise CheckpointError(f"damaged checkpoint {folder}: its random states do not load.")
    return state


@contextmanager
def _named_as_alone(accelerator: Accelerator) -> Iterator[None]:
    """Let parameters have the names that they have in a job of one process."""

    def strip(models: list[nn.Module], weights: list[dict[str, Tensor]], folder: str) -> None:
        weights[:] = [
            OrderedDict((name.removeprefix(_WRAPPED), value) for name, value in state.items())
            for state in weights
        ]

    def unwrap(models: list[nn.Module], folder: str) -> None:
        models[:] = [accelerator.unwrap_model(model) for model in models]

    hooks = (
        accelerator.register_save_state_pre_hook(strip),
        accelerator.register_load_state_pre_hook(unwrap),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _restore_random(folder: Path) -> None:
    """Set the generators of a process that is not the first; one that is new makes its own."""
    path = folder / _random_file(process_index())
    try:
        state = load_file(path) if path.exists() else {}
        if not state:
            torch.manual_seed(torch.initial_seed() + process_index())
        if "torch" in state:
            torch.set_rng_state(state["torch"])
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"])
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"damaged checkpoint {folder}: {path.name} ({error}).") from error


def _random_file(index: int) -> str:
    return f"rng-{index}.safetensors"


def _rng_digest() -> str:
    digest = hashlib.sha256(torch.get_rng_state().numpy().tobytes())
    digest.update(repr(random.getstate()).encode())
    name, keys, *rest = np.random.get_state()  # noqa: NPY002 - the state that accelerate keeps
    digest.update(np.asarray(keys).tobytes() + repr((name, rest)).encode())
    return digest.hexdigest()
