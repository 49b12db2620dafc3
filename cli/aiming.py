"""``--max-drop`` of ``dfsq quantize``: quantizing until a target holds, and telling what that took."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.calibrating import patches_of
from cli.console import note
from cli.progress import progress
from dfsq.plurals import counted

if TYPE_CHECKING:
    from calibration import Recipe, Target
    from dfsq.evaluation.benchmarks import Benchmark
    from dfsq.model import SRModel
    from dfsq.report.gates import Check


@dataclass(frozen=True)
class Aim:
    """A target, what came of it, and the images that it was judged on."""

    target: Target
    held_out: Benchmark

    def check(self, name: str) -> Check:
        """The verdict on the model that was written as ``name``."""
        from dfsq.report.gates import Check

        images = f"{len(self.held_out.pairs)} {self.held_out.name}"
        return Check("max-drop", name, images, self.target.taken.drop, self.target.limit)

    def facts(self) -> dict[str, str]:
        """What was changed, by caption."""
        target = self.target
        tries = ", ".join(f"{each.drop:.3f} dB after {each.steps}" for each in target.tries)
        facts = {
            "set aside": "; ".join((*self.held_out.notes, ", ".join(target.images))),
            "drop there": f"{target.before:.3f} dB by the recipe alone, {target.taken.drop:.3f} dB as written, at most "
            f"{target.limit:g} asked for",
            "raised": f"{counted(len(target.raised), 'layer')}, by {target.taken.steps} of "
            f"{counted(target.possible, 'step')}; tried: {tries}",
        }
        if not target.possible:
            facts["raised"] = "nothing had to be raised" if target.reached else "nothing is left to be raised"
        return facts | self._layers()

    def _layers(self) -> dict[str, str]:
        """Names of the layers that were raised, by what to."""
        from calibration.target import shown

        layers: dict[str, list[str]] = {}
        for name, (_, after) in self.target.raised.items():
            layers.setdefault(shown(after), []).append(name)
        return {f"raised to {bits}": ", ".join(names) for bits, names in sorted(layers.items())}


def quantize_within(
    model: SRModel, recipe: Recipe, images: tuple[Path, ...], quiet: bool, max_drop: float, *, is_lr: bool = False
) -> tuple[SRModel, Aim]:
    """Quantize ``model`` on patches of ``images``, files or folders, with layers raised until ``max_drop`` holds on
    some that are set aside; without any, on parts of the sample photographs."""
    import calibration
    from dfsq.evaluation import samples

    rest, held_out = calibration.set_aside(
        images or samples.calibration_images(),
        scale=model.scale,
        patch_size=recipe.patch_size,
        seed=recipe.seed,
        is_lr=is_lr,
        on_skip=lambda reason: note(reason, quiet),
    )
    for line in held_out.notes:
        note(f"set aside: {line}", quiet)
    patches = patches_of(model, recipe, rest, quiet, is_lr=is_lr)
    with progress(quiet) as advance:
        quantized, target = calibration.quantize_within(model, patches, held_out, recipe, max_drop, advance)
    return quantized, Aim(target, held_out)
