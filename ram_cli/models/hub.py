"""Models of the Hugging Face Hub: brought here file by file, checked, and never executed.

Only the files of a model folder are fetched, whatever else a repository holds. The address, the
cache and the token are those of `huggingface_hub`: `HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`.
"""

import hashlib
import re
from pathlib import Path

from ram_cli.errors import CheckpointError, ModelError, causes, on_one_line
from ram_cli.models.folder import CONFIG_FILE, RESULTS_FILE, WEIGHTS_FILE
from ram_cli.models.pretrained import reachable

MODEL_FILES = (
    CONFIG_FILE,
    WEIGHTS_FILE,
    "whitening.safetensors",
    "whitening-ms.safetensors",
    "gallery-whitening.safetensors",
    RESULTS_FILE,
)
"""What a model is loaded from, and its results; nothing else of a repository is ever fetched."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BLOCK = 2**20
_LONGEST_REASON = 200
OFFLINE = "HF_HUB_OFFLINE forbids to ask the Hub"
_LOGIN = "Run hf auth login, or set HF_TOKEN to a token of an account that may see it"


def is_hub_id(name: str) -> bool:
    """Whether a name can only be `owner/name[@revision]`: it has that form and is not on disk."""
    return bool(_HUB_ID.fullmatch(name)) and not Path(name).expanduser().exists()


def fetch_from_hub(name: str) -> Path:
    """Bring the files of a model here; offline, the cached ones.

    Args:
        name: `owner/name`, optionally with `@revision`: a branch, a tag or a commit.

    Returns:
        A folder that holds them, whose name is the commit.

    Raises:
        ModelError: The Hub does not have it, does not show it, or is out of reach.
        CheckpointError: It holds no model of ours, or a file arrived damaged.
    """
    from huggingface_hub import constants, snapshot_download

    repository, _, revision = name.partition("@")
    try:
        folder = Path(
            snapshot_download(
                repository,
                revision=revision or None,
                allow_patterns=list(MODEL_FILES),
                local_files_only=not reachable(constants.ENDPOINT),
            )
        )
    except network_errors() as error:
        raise ModelError(_why(name, error)) from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ModelError(
            f"what {constants.ENDPOINT} answers for {repository} is no repository of models. Is "
            "HF_ENDPOINT the address of a Hub?"
        ) from error
    missing = [file for file in (CONFIG_FILE, WEIGHTS_FILE) if not (folder / file).is_file()]
    if missing:
        raise CheckpointError(
            f"{name} on the Hub holds no model of ram: it has no {' and no '.join(missing)}. "
            "Nothing else is loaded from there, and no pickle ever."
            + ("" if revision else f" Of a branch or a tag that has one, write {name}@REVISION.")
        )
    for file in MODEL_FILES:
        _check_content(name, folder / file)
    return folder


def pinned(name: str) -> str:
    """A name that means the same model for ever: a Hub id with its commit, others as they are.

    Raises:
        ModelError: It is a Hub id and cannot be had.
    """
    if not is_hub_id(name):
        return name
    commit = fetch_from_hub(name).name
    return f"{name.partition('@')[0]}@{commit}" if _COMMIT.fullmatch(commit) else name


def network_errors() -> tuple[type[Exception], ...]:
    """What `huggingface_hub` raises when the Hub refuses, breaks off, or is no Hub at all."""
    from huggingface_hub import errors

    # Newer versions stand on httpx, whose errors are no OSErrors; both offer this name.
    return OSError, getattr(errors, "HTTPError", OSError), errors.HFValidationError


def refusal(repository: str, error: BaseException) -> str | None:
    """What the answer of the Hub means and what to do; None where it did not answer.

    Args:
        repository: What was asked for.
        error: What `huggingface_hub` raised; those it was raised from are looked at too.
    """
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{repository}"
    for cause in causes(error):
        if isinstance(cause, errors.GatedRepoError):
            return f"{repository} is gated: ask for access at {page}, then {_login()}."
        status = getattr(getattr(cause, "response", None), "status_code", None)
        match status:
            case None:
                continue
            case 401 if "Invalid" in str(cause):
                return f"the Hub does not accept the token that is set here (401). {_LOGIN}."
            case 403:
                return (
                    f"the Hub forbids this for {repository} (403{_own_words(cause)}). {_LOGIN} and "
                    "may change it."
                )
            case 429:
                return f"the Hub asks to wait: too many requests for {repository} (429). Try later."
            case _ if status >= 500:
                return f"the Hub fails with status {status} for {repository}. Try again later."
            case _ if not isinstance(cause, errors.RepositoryNotFoundError):
                return f"the Hub refuses {repository} with status {status}{_own_words(cause)}."
    return None


def _login() -> str:
    """The advice inside a sentence."""
    return _LOGIN[0].lower() + _LOGIN[1:]


def _own_words(error: BaseException) -> str:
    """What the Hub itself says, behind a colon; nothing where that is long, or may be a secret.

    Stores of files answer with pages of markup that hold signed addresses.
    """
    told = " ".join(str(getattr(error, "server_message", None) or "").split())
    plain = len(told) <= _LONGEST_REASON and not re.search(r"[<>]|https?:|hf_", told)
    return f": {on_one_line(told).rstrip('.')}" if told and plain else ""


def _why(name: str, error: Exception) -> str:
    from huggingface_hub import constants, errors

    repository, _, revision = name.partition("@")
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repository} on the Hub has no revision '{revision}'."
    if isinstance(error, errors.HFValidationError):
        return f"{name} is neither a folder here nor a name that the Hub allows."
    if isinstance(error, errors.RepositoryNotFoundError) and not isinstance(
        error, errors.GatedRepoError
    ):
        return (
            f"there is no folder {name} here, and no model {repository} on the Hub that you may "
            f"see. If it is private, {_login()}."
        )
    if known := refusal(repository, error):
        return known
    if any("Consistency check" in str(cause) for cause in causes(error)):
        return f"{repository} did not arrive whole from the Hub. Run again to fetch the rest."
    absent = f"there is no folder {name} here, it is not in the cache"
    if constants.HF_HUB_OFFLINE:
        return f"{absent}, and {OFFLINE}. Check the name, or unset that."
    return f"{absent}, and {constants.ENDPOINT} does not answer. Check the name, or the connection."


def _check_content(name: str, path: Path) -> None:
    """Compare a cached file with the hash that the Hub gave it, which is the name of its blob."""
    if not path.is_file():
        return
    blob = path.resolve()
    if _SHA256.fullmatch(blob.name):
        digest = hashlib.sha256()
    elif _COMMIT.fullmatch(blob.name):  # a small file, under its git hash
        digest = hashlib.sha1(f"blob {blob.stat().st_size}\0".encode(), usedforsecurity=False)
    else:
        return
    with blob.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != blob.name:
        path.unlink()
        blob.unlink(missing_ok=True)
        raise CheckpointError(
            f"{path.name} of {name} is not what the Hub says it is, and was removed. Run again."
        )
