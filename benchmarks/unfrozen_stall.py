"""How much of a step of unfrozen training is waiting for decoded photos.

    python benchmarks/unfrozen_stall.py

The tiny model, all of it learning on the CPU, batches of 64 drawn photos of 480 x 640 from the
data module's own training loader: the time that `next` takes, against the whole step (module,
backward, clipping, optimizer). Then the same steps over one batch that is already decoded.

Where decoding has cores of its own, less than 5 % of a step may be waiting. On a machine of few
cores that is measured with one worker and a thread less for torch; the second measurement, two
workers beside all threads of torch, shows what sharing costs, and has no bound.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import drawn
import torch
from measure import Options, Ratio, Row, benchmark

from fashret.cli.composing import composing
from fashret.cli.options import train_options
from fashret.engine.module import RetrievalModule
from fashret.pipelines.session import Session
from fashret.pipelines.train import make_data, make_module
from fashret.types import Batch, TrainingItems

SIZE, BATCH = (480, 640), 64
BOUND = 0.05


def stepper(module: RetrievalModule) -> Callable[[Batch], None]:
    """One step of training, as Lightning makes it."""
    # A trainer's own loop would hide the wait; the step only asks it for these.
    module.trainer = SimpleNamespace(  # type: ignore[assignment]
        world_size=1,
        log_every_n_steps=2**30,
        global_step=1,
        optimizers=[],
        is_last_batch=False,
        accumulate_grad_batches=1,
    )
    learning = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-5)

    def step(batch: Batch) -> None:
        loss = module.training_step(batch, 1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()

    return step


def turns(
    root: Path, scratch: Path, workers: int, repeats: int
) -> tuple[list[float], list[float], list[float]]:
    """Seconds a step waits, seconds of a step with its wait, and of one without: by turn."""
    chosen = ["model.train=all", f"data.num_workers={workers}", f"data.batch_size={BATCH}"]
    with composing("train", [*drawn.overrides(root, scratch), *chosen, "device=cpu"]) as composed:
        options = train_options(composed)
    session = Session.open(options.session)
    baseline = session.baseline_catalog()
    table, codes = session.table, session.codes
    items = TrainingItems(  # every one: the drawn photos of all splits are near copies
        torch.from_numpy(table.rows("train")),
        codes.product,
        codes.caption,
        codes.described,
        table.column("item_id"),
    )
    module = make_module(options, session, items, baseline)
    data = make_data(options, session, items, baseline, module.miner)
    loader = data.train_dataloader()
    step = stepper(module)
    waits, steps, decoded = [], [], []
    for turn in range(repeats + 1):
        loader.batch_sampler.set_epoch(turn)
        found = iter(loader)
        batch = next(found)  # the first is waited for whatever is done: an epoch's start
        step(batch)
        waited, count = 0.0, 0
        begun = time.perf_counter()
        while True:
            start = time.perf_counter()
            following = next(found, None)
            waited += time.perf_counter() - start
            if following is None:
                break
            batch = following
            step(batch)
            count += 1
        steps.append((time.perf_counter() - begun) / count)
        waits.append(waited / count)
        start = time.perf_counter()
        for _ in range(count):
            step(batch)
        decoded.append((time.perf_counter() - start) / count)
    return waits[1:], steps[1:], decoded[1:]


def rows(options: Options) -> Iterator[Row]:
    count = 640 if options.quick else 1920  # half of them are trained on
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    with tempfile.TemporaryDirectory() as scratch:
        root = drawn.folder(Path(scratch, "photos"), count, SIZE)
        for workers, left, bound in ((1, cores - 1, BOUND), (2, cores, None)):
            if left < 1:
                yield Row("waiting for photos", note="one core: decoding has none of its own")
                continue
            torch.set_num_threads(left)
            waits, steps, decoded = turns(root, Path(scratch), workers, options.repeats)
            torch.set_num_threads(threads)
            share = [wait / step for wait, step in zip(waits, steps, strict=True)]
            who = f"{workers} worker{'s' * (workers > 1)}, {left} of {cores} cores for torch"
            shared = "" if bound else "; cores are shared: no bound"
            yield Row(
                f"waiting for photos, {who}",
                "the whole step",
                1e3 * statistics.median(waits),
                1e3 * statistics.median(steps),
                "ms",
                statistics.median(share),
                min(share),
                max(share),
                bound,
                f"batch of {BATCH}{shared}",
            )
            yield Row.of(
                f"step with its photos, {who}",
                "the same step over a decoded batch",
                Ratio.of([1e3 * value for value in steps], [1e3 * value for value in decoded]),
                unit="ms",
            )


if __name__ == "__main__":
    benchmark(rows, __doc__)
