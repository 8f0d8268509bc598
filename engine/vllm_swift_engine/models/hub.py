"""Downloads from the Hugging Face Hub: the files a model needs and no others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from vllm_swift_engine.errors import ModelNotFoundError

_PATTERNS = [
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
]


_TIMEOUT_S = 10

#: The same weights again under Mistral's and Meta's own names, and models within a model.
_NOT_NEEDED = ["consolidated*", "*/*.safetensors"]


def download(
    repo: str,
    file: str | None,
    *,
    revision: str | None,
    token: str | bool | None,
    cache_dir: str | os.PathLike[str] | None,
    local_files_only: bool,
) -> Path:
    """A snapshot folder, or one .gguf file, in the Hub's cache.

    Interrupted downloads resume, with huggingface_hub's progress bar. HF_HUB_OFFLINE, HF_TOKEN,
    HF_HOME and HF_ENDPOINT are respected.

    Raises:
        ModelNotFoundError: no such repository, revision or file, no permission, or no connection
            and nothing in the cache.
    """
    import huggingface_hub
    from huggingface_hub import constants

    options: dict[str, Any] = {"revision": revision, "token": token, "cache_dir": cache_dir}
    offline = local_files_only or constants.HF_HUB_OFFLINE
    try:
        if file is None and not offline:
            file = _only_gguf(repo, revision, token)
        if file is not None:
            found = huggingface_hub.hf_hub_download(repo, file, local_files_only=offline, **options)
        else:
            found = huggingface_hub.snapshot_download(
                repo,
                allow_patterns=_PATTERNS,
                ignore_patterns=_NOT_NEEDED,
                local_files_only=offline,
                **options,
            )
    except Exception as error:
        sentence = _sentence(error, repo, file, revision, offline)
        if sentence is None:
            raise
        raise ModelNotFoundError(sentence) from error
    return Path(found)


def _only_gguf(repo: str, revision: str | None, token: str | bool | None) -> str | None:
    """The one .gguf file of a repository that has nothing else to load, or None.

    Raises:
        ModelNotFoundError: there are several, or no model at all.
    """
    import huggingface_hub
    from huggingface_hub import errors

    try:
        info = huggingface_hub.model_info(repo, revision=revision, token=token, timeout=_TIMEOUT_S)
    except errors.HFValidationError:
        raise
    except Exception as error:
        response = getattr(error, "response", None)
        answered = response is not None and response.status_code < 500
        if isinstance(error, errors.HfHubHTTPError) and answered:
            raise
        # No connection, in the words of whatever HTTP client there is: the cache may still have it.
        return None
    names = [file.rfilename for file in info.siblings or ()]
    if "config.json" in names and any(name.endswith(".safetensors") for name in names):
        return None
    files = [name for name in names if name.endswith(".gguf")]
    if len(files) == 1:
        return files[0]
    if files:
        listed = ", ".join(f'"{repo}/{name}"' for name in files)
        raise ModelNotFoundError(f"{repo} holds several GGUF models; name one: {listed}.")
    raise ModelNotFoundError(
        f"{repo} has neither config.json with *.safetensors nor a .gguf file, so there is no "
        "model in it that this engine reads."
    )


def _sentence(
    error: Exception, repo: str, file: str | None, revision: str | None, offline: bool
) -> str | None:
    """What went wrong and what to do about it; None for what is no error of the Hub."""
    from huggingface_hub import errors

    where = f"{repo}/{file}" if file else repo
    if isinstance(error, errors.GatedRepoError):
        return (
            f"{where} is gated. Accept its terms at https://huggingface.co/{repo} and give a token "
            "(hf auth login, HF_TOKEN, or token=...)."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f'There is no path "{repo}" here and no such repository on the Hub, or it is private '
            "and needs a token (HF_TOKEN, or token=...). Check the spelling."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{repo} has no revision {revision!r}."
    if isinstance(error, errors.LocalEntryNotFoundError):
        reason = "downloads are switched off" if offline else "the Hub cannot be reached"
        return (
            f"{where} is not in the Hub cache, and {reason}. Download it first: hf download {repo}"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return f"{repo} has no file {file!r}."
    if isinstance(error, (errors.HfHubHTTPError, errors.HFValidationError, OSError)):
        return f"{where} cannot be downloaded: {error}"
    return None
