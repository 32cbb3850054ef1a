"""Train an encoder.

    python -m retrieval.training.train CONFIG [key=value ...]
    torchrun --nproc-per-node 8 -m retrieval.training.train CONFIG [key=value ...]

The same command resumes a stopped run. The files of a run are described in
`retrieval.training.run_folder`; scores go to stdout.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from core.errors import UserError
from retrieval.training.compact.recipe import train_compact
from retrieval.training.config import AnyConfig, CompactConfig, CrossviewConfig, load_config, require_arguments
from retrieval.training.crossview.recipe import train_crossview
from retrieval.training.distributed import ProcessGroup, join_process_group, leave_process_group
from retrieval.training.fusion_recipe import train_fusion
from retrieval.training.validation import Scores, markdown_table


def train(config: AnyConfig, process_group: ProcessGroup, arguments: list[str]) -> dict[str, Scores]:
    """Train the configured encoder to the end; scores by method."""
    torch.set_num_threads(config.threads)
    if isinstance(config, CompactConfig):
        return train_compact(config, process_group, arguments)
    if isinstance(config, CrossviewConfig):
        return {"tile of the place, among those of validation": train_crossview(config, process_group, arguments)}
    return {f"{config.validation.view}, nearest position": train_fusion(config, process_group, arguments)}


def main(arguments: list[str]) -> None:
    """Run from the command line."""
    require_arguments(arguments, __doc__)
    process_group = ProcessGroup(torch.device("cpu"))
    try:
        config = load_config(Path(arguments[0]), arguments[1:])
        process_group = join_process_group(config.device)
        scores = train(config, process_group, arguments)
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        leave_process_group(process_group, 1)
        return
    if process_group.is_main:
        sys.stdout.write(markdown_table(scores) + "\n")
    leave_process_group(process_group)


if __name__ == "__main__":
    main(sys.argv[1:])
