"""The git checkout that this code runs from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def commit_of(folder: Path, mark: str) -> str | None:
    """The commit of the checkout a folder lies in, with `mark` where tracked files differ; None outside of one."""
    git = shutil.which("git")
    if git is None:
        return None
    head, changes = (
        subprocess.run([git, "-C", str(folder), *question], capture_output=True, text=True, check=False)  # noqa: S603 - fixed
        for question in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
    )
    if head.returncode or changes.returncode:
        return None
    return head.stdout.strip() + (mark if changes.stdout.strip() else "")
