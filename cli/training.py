"""Options of recipes that train, and what such a run tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from cli.calibrating import patches_of
from cli.console import note
from cli.progress import progress
from cli.values import Number
from dfsq import distributed, limits
from dfsq.errors import WorkerLostError
from dfsq.plurals import counted

if TYPE_CHECKING:
    from calibration import Recipe
    from dfsq.model import SRModel

Command = TypeVar("Command", bound=Callable[..., Any])


def training_options(command: Command) -> Command:
    """Add ``--steps``, ``--minutes``, ``--precision`` and ``--resume``."""
    for option in reversed(
        (
            click.option(
                "--steps",
                type=Number(int, limits.STEPS),
                help="Steps of training, of recipes that train.  [default: the recipe's; trained 2000]",
            ),
            click.option(
                "--minutes",
                type=Number(float, limits.MINUTES),
                help="Train for as many steps as fit into so many minutes here.  [default: --steps]",
            ),
            click.option(
                "--precision",
                type=click.Choice(["auto", "f32", "bf16"]),
                help="Of products in training; auto: bf16 where that is fast.  [default: the recipe's; auto]",
            ),
            click.option(
                "--resume/--no-resume",
                default=None,
                help="Go on with an interrupted training, whose state lies beside the output.  [default: on]",
            ),
        )
    ):
        command = option(command)
    return command


def train_model(
    model: SRModel,
    recipe: Recipe,
    images: tuple[Path, ...],
    output: Path,
    quiet: bool,
    *,
    minutes: float | None,
    resume: bool | None,
    is_lr: bool,
) -> SRModel:
    """Train ``model`` on ``images``, files or folders; without any, on the sample photographs.

    What an interrupted run goes on from lies beside ``output``; :func:`forget` removes it. What interrupts it is
    given a note that says so.
    """
    import calibration
    from dfsq.evaluation import samples

    state = state_of(output)
    sitting = calibration.Sitting(
        state=state, resume=resume is not False, minutes=minutes, note=lambda line: note(line, quiet)
    )
    patches = patches_of(model, recipe, images or samples.calibration_images(), quiet, is_lr=is_lr)
    try:
        with progress(quiet) as advance:
            return calibration.train(model, patches, recipe, sitting, advance)
    except BaseException as error:
        stopped = not isinstance(error, Exception) or isinstance(error, WorkerLostError)
        if stopped and state.exists():
            how = "" if sitting.resume else " without `no_resume`"
            error.add_note(f"the training so far is in {state}, and the same command{how} goes on from it")
        raise


def state_of(output: Path) -> Path:
    """Where the state of a run lies whose artifact will be ``output``."""
    return output.with_name(f"{output.name}.training")


def forget(output: Path) -> None:
    """Remove the state of a run whose artifact has been written as ``output``, by the process that has."""
    if distributed.writes_files():
        state_of(output).unlink(missing_ok=True)


def facts_of(calibration: Mapping[str, Any], steps: int) -> dict[str, str]:
    """What came of a training run, by caption; nothing for a model that was not trained."""
    if "best_step" not in calibration:
        return {}
    best = calibration["best_step"]
    kept = "the start, which training did not better" if best == 0 else f"{calibration['drop']:.3f} dB at step {best}"
    aside = calibration["set_aside"]
    return {
        "training": f"{counted(steps, 'step')}; on {counted(len(aside), 'image')} set aside "
        f"{calibration['drop_before']:.3f} dB lost at the start, kept: {kept}",
        "set aside": ", ".join(aside),
    }
