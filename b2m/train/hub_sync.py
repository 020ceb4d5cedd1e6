"""Keep a training on the Hugging Face Hub, so that another machine can resume it."""

from __future__ import annotations

from pathlib import Path

from b2m.hub_client import RETRY_REMEDY, check_hub_id, checked_token, hub_errors
from b2m.train.loop import CHECKPOINT


def open_run(repo_id: str, folder: str | Path, *, token: str | None = None) -> None:
    """Fetch a training kept on the Hub, for `b2m.train.train` to go on with; or make its place.

    Args:
        repo_id: "owner/name" of a repository of its own, which is made, private, where it is
            missing.
        folder: of the run. One that holds a checkpoint is left as it is.
        token: None takes the one of ``hf auth login`` or of the variable HF_TOKEN.

    Raises:
        InputError: not an id, there is no token, or the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    check_hub_id(repo_id)
    api = HfApi(token=checked_token(token))
    with hub_errors(repo_id, remedy=RETRY_REMEDY):
        api.create_repo(repo_id, private=True, exist_ok=True)
        if not Path(folder, CHECKPOINT).exists():
            api.snapshot_download(repo_id, local_dir=folder)


def keep_run(folder: str | Path, repo_id: str, *, token: str | None = None) -> None:
    """Upload the current state of a training to the Hub repository of `open_run`.

    Args:
        folder: of the run, which `b2m.train.train` gives to `on_save`.
        repo_id: "owner/name".
        token: as `open_run` takes it.

    Raises:
        InputError: there is no token, or the Hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(token=checked_token(token))
    with hub_errors(repo_id, remedy="the next checkpoint is sent again"):
        api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message="Keep the training")
