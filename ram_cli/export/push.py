"""Model folders onto the Hugging Face Hub: one commit each, and nothing secret in any message.

The address and the token are those of `huggingface_hub`: `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`.
"""

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_cli.errors import ConfigError, OutputError, RamError, causes
from ram_cli.export.results import PICTURE_FILE
from ram_cli.models import MODEL_FILES
from ram_cli.models.hub import OFFLINE, network_errors, refusal

_LOGIN = "Run hf auth login, or set HF_TOKEN to a token that may write"
_OURS = re.compile(r"model(\.int8)?\.onnx(\.data)?")
_BAD_CARD = "Invalid metadata in README.md."
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Push:
    """One folder and the repository that it goes to.

    Attributes:
        folder: A model folder.
        repository: `owner/name`.
        branch: Branch to commit to; empty for the main one.
        private: Whether to create the repository as a private one.
    """

    folder: Path
    repository: str
    branch: str = ""
    private: bool = False

    @property
    def name(self) -> str:
        """What loads the model from there."""
        return f"{self.repository}@{self.branch}" if self.branch else self.repository

    def files(self) -> list[tuple[str, int]]:
        """Name and size in bytes of every file that is sent."""
        return [
            (str(path.relative_to(self.folder)), path.stat().st_size)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        ]


def check_name(repository: str) -> None:
    """Refuse a name that the Hub would not allow.

    Raises:
        ConfigError: It is none.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise ConfigError(f"hub: '{repository}' is no name that the Hub allows.") from error


def assert_logged_in(repository: str) -> None:
    """Refuse, before any work, to publish without a token.

    Raises:
        OutputError: There is none.
    """
    from huggingface_hub import get_token

    if not get_token():
        raise OutputError(f"hub: {repository} cannot be written without a token. {_LOGIN}.")


def check_repository(push: Push) -> None:
    """Ask the Hub, before anything is sent, whether a repository may be what was asked for.

    Raises:
        OutputError: It is public and was to be private, or the Hub refuses or does not answer.
    """
    from huggingface_hub import HfApi, errors

    with _failures(push):
        assert_logged_in(push.repository)
        try:
            known = HfApi().model_info(push.repository)
        except errors.RepositoryNotFoundError:
            return  # to be created
        if push.private and not known.private:
            raise OutputError(
                f"{push.repository} is a public repository, and --private does not change that. "
                "Choose another name, or make it private on the Hub first."
            )


def push_folder(push: Push, message: str) -> str:
    """Create the repository and the branch if they are missing, and commit all files at once.

    Large files that an earlier attempt has brought there are not sent again. Files of an older
    model that this one lacks are removed in the same commit; others stay.

    Args:
        push: What goes where.
        message: Of the commit.

    Returns:
        Address of the commit.

    Raises:
        OutputError: The Hub refuses, or the connection broke; nothing is changed there then.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _failures(push):
        api.create_repo(push.repository, private=push.private or None, exist_ok=True)
        if push.branch:
            api.create_branch(push.repository, branch=push.branch, exist_ok=True)
        commit = api.create_commit(
            push.repository,
            _operations(push, api.list_repo_files(push.repository, revision=push.branch or None)),
            commit_message=message,
            revision=push.branch or None,
        )
    return str(commit.commit_url)


def _operations(push: Push, present: Sequence[str]) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    sent = [name for name, _ in push.files()]
    known = {*MODEL_FILES, PICTURE_FILE}
    stale = [
        name for name in present if name not in sent and (name in known or _OURS.fullmatch(name))
    ]
    return [
        *(CommitOperationAdd(name, str(push.folder / name)) for name in sent),
        *(CommitOperationDelete(name) for name in stale),
    ]


@contextmanager
def _failures(push: Push) -> Iterator[None]:
    """Turn what the client raises into one line, and keep the client itself silent.

    Its messages, log and tracebacks hold signed addresses, with which anyone could write.
    """
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    expected: tuple[type[Exception], ...] = (*network_errors(), ValueError, RuntimeError)
    logger = logging.getLogger("huggingface_hub")
    level, silent = logger.level, are_progress_bars_disabled()
    logger.setLevel(logging.CRITICAL)
    if not silent:
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            # The client calls its HTTP library in a way that this one will give up.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    except RamError:
        raise
    except expected as error:
        message = _why(push, error)
        told = " < ".join(f"{type(one).__name__}: {one}" for one in causes(error))
        cause = OutputError(_without_secrets(told))
        cause.with_traceback(error.__traceback__)
        raise OutputError(message) from cause
    finally:
        logger.setLevel(level)
        if not silent:
            enable_progress_bars()


def _why(push: Push, error: Exception) -> str:
    from huggingface_hub import constants, errors

    kept = f" The folder is in {push.folder}." if push.folder.exists() else ""
    if isinstance(error, errors.RepositoryNotFoundError):
        status = error.response.status_code
        return (
            f"the Hub shows no {push.repository} to the account of this token ({status}). {_LOGIN} "
            f"there.{kept}"
        )
    if str(error).startswith(_BAD_CARD):
        reason = " ".join(str(error).removeprefix(_BAD_CARD).replace("- ", " ").split())
        shown = f"{reason[:_LONGEST_REASON]}…" if len(reason) > _LONGEST_REASON else reason
        return (
            f"the Hub does not take the card of {push.repository}: {shown.rstrip('.')}. Most often "
            f"it knows no such --licence: export again with another one, or without.{kept}"
        )
    if known := refusal(push.repository, error):
        return f"{known}{kept}"
    if constants.HF_HUB_OFFLINE:
        return f"{push.repository} was not published: {OFFLINE}. Unset that.{kept}"
    return (
        f"{push.repository} was not published: {constants.ENDPOINT} does not answer, or broke off."
        f"{kept} Run again, with --force if the folder is there, to send what is missing."
    )


def _without_secrets(text: str) -> str:
    """A text without tokens and without the signed part of any address."""
    from huggingface_hub import get_token

    token = get_token()
    text = text.replace(token, "***") if token else text
    return re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1?…", text)
