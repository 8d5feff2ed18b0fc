"""Hydra's launcher for Ray, `hydra/launcher=ray`. Hydra looks for plugins in this folder.

Light to import: Hydra reads it at every start.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict


class RayLauncher(Launcher):
    """Makes each job of a sweep a task of a Ray cluster, which runs as many at once as fit.

    A job has a process of its own. Nodes need the same packages, and see the same folders: the
    sweep's, the cache's and the data's. A job whose process dies (killed, out of memory, its node
    gone) is worth 0, and the others go on.

    Args:
        address: of a cluster ("auto" for the one of this machine, "<host>:6379"); null starts one
            on this machine, which ends with the sweep.
        num_cpus: cores of a job.
        num_gpus: GPUs of a job; a fraction shares one.
    """

    def __init__(self, address: str | None, num_cpus: float, num_gpus: float) -> None:
        self.address = address
        self.resources = {"num_cpus": num_cpus, "num_gpus": num_gpus}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Keep what Hydra's other launchers keep."""
        self.of_all = hydra_context, task_function, config, os.getcwd()
        self.folder = Path(str(config.hydra.sweep.dir)).absolute()

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Run jobs, and wait for all.

        Args:
            job_overrides: of each.
            initial_job_idx: the first one's number.

        Raises:
            HydraException: Ray is not installed; there is no cluster at the address, or none that
                has what a job asks for.
        """
        ray = _ray()
        self.folder.mkdir(parents=True, exist_ok=True)
        started = not ray.is_initialized()
        if started:
            self._connect(ray)
        try:
            self._check(ray)
            task = ray.remote(max_calls=1, max_retries=0, **self.resources)(_job)
            tasks = []
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                print(f"#{number} : {' '.join(filter_overrides(overrides))}")
                own = Singleton.get_state(), number, list(overrides)
                tasks.append(task.remote(*self.of_all, *own))
            return [self._result(ray, task, n) for n, task in enumerate(tasks, initial_job_idx)]
        finally:
            if started:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        try:
            ray.init(self.address, include_dashboard=False if self.address is None else None)
        except (ConnectionError, ValueError) as e:
            raise HydraException(f"hydra.launcher.address={self.address}: {e}") from None

    def _check(self, ray: Any) -> None:
        """Make sure that a job fits: Ray would wait for a node that has what it asks for."""
        held = ray.cluster_resources()
        for option, name in (("num_cpus", "CPU"), ("num_gpus", "GPU")):
            if self.resources[option] > held.get(name, 0):
                raise HydraException(
                    f"hydra.launcher.{option}={self.resources[option]:g}: the cluster has "
                    f"{held.get(name, 0):g}"
                )

    def _result(self, ray: Any, task: Any, number: int) -> JobReturn:
        """What a job returned; 0 where its process died."""
        try:
            result: JobReturn = ray.get(task)
        except ray.exceptions.RayError as e:
            folder = self.folder / str(number)
            folder.mkdir(exist_ok=True)
            (folder / "failed.txt").write_text(f"the job's process died\n\n{e}")
            result = JobReturn(status=JobStatus.COMPLETED)
            result.return_value = 0.0
        return result


def _ray() -> Any:
    """The package, which reports nothing to its makers unless it is told to."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise HydraException(
            'hydra/launcher=ray needs another package (ray): pip install "fashret[ray]"'
        ) from None
    return ray


def _job(
    context: HydraContext,
    body: TaskFunction,
    config: DictConfig,
    cwd: str,
    state: dict[Any, Any],
    number: int,
    overrides: list[str],
) -> JobReturn:
    """One job, in a process of Ray's."""
    os.chdir(cwd)
    setup_globals()
    Singleton.set_state(state)
    job = context.config_loader.load_sweep_config(config, overrides)
    with open_dict(job):
        job.hydra.job.id = f"{job.hydra.job.name}_{number}"
        job.hydra.job.num = number
    HydraConfig.instance().set_config(job)
    return run_job(
        hydra_context=context,
        config=job,
        task_function=body,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
