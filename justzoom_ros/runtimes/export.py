"""Making engines: built aside, checked, and only then put where they are found."""

import tempfile
from pathlib import Path

from justzoom_ros.files import output_folder
from justzoom_ros.models.policy import ZoomPolicy
from justzoom_ros.runtimes.engines import engine_folder, keep_engines
from justzoom_ros.runtimes.parity import Parity, check_parity
from justzoom_ros.runtimes.registry import ENGINES
from justzoom_ros.runtimes.torch_runtime import TorchRuntime


def export_engine(
    policy: ZoomPolicy, name: str, folder: str | Path | None = None, **options: str
) -> tuple[list[Path], Parity]:
    """Make the engine of a policy for a runtime on this machine and keep it, if it says what torch
    says in float32. Returns its paths and how well it agrees.

    `options` are those of its `EngineKind`. Raises RuntimeUnavailableError, with the figures where
    the gate refuses it, and OutputError.
    """
    kind = ENGINES.get(name)
    place = output_folder(folder or engine_folder())
    with tempfile.TemporaryDirectory(prefix='.trial-', dir=place) as trial:
        paths = kind.export(policy, trial, **options)
        runtime = kind.open(policy, trial)
        found = check_parity(runtime, TorchRuntime(policy, runtime.device.type))
        figures = {'frames': found.frames, 'total_variation': found.total_variation}
        return keep_engines(paths, place, figures), found
