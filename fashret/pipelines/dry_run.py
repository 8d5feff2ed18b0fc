"""What a training run would do: its data, what is trained and evaluated, and what it costs."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from fashret.catalog.contents import Contents, FeatureStores, Missing, stores_folder
from fashret.data.photos import decode_photo
from fashret.disk import readable_bytes
from fashret.evaluation.plan import Plan, search_of
from fashret.evaluation.targets import Target
from fashret.pipelines.session import Session, check_weights, shown_split
from fashret.pipelines.train import TrainOptions, check_judged, check_options
from fashret.reports.atomic_write import write_text
from fashret.reports.overview import Overview, describe_table
from fashret.tasks.base import Task

_TIMED_PHOTOS, _TIMED_TEXTS = 32, 128
"""Photos and texts that are encoded to measure a rate."""

_ENOUGH = 100
"""Queries from which a target is proposed: below that its interval is wide."""

_KEY_BYTES = 20


def dry_run(options: TrainOptions) -> Overview | None:
    """Prepare the data, and describe them and the run; nothing is trained, or stored but the data.

    The targets that the data can show are written to `proposed/targets/proposed.yaml` in the run
    folder.

    Args:
        options: the options of the run.

    Returns:
        The description; None in every process but that with rank 0.

    Raises:
        FashretError: what would end the run before it trains, see `fashret.errors`.
    """
    check_options(options)
    session = Session.open(options.session)
    targets = session.targets
    check_weights(session.options.retrieval.weights, tuple(session.spec.block_widths))
    check_judged(options, session)
    if not session.group.keep_rank_zero():
        return None
    plan = session.split_search(shown_split(session))
    counts = {task.name: queries_with_an_answer(plan, task) for task in plan.tasks}
    proposed = session.output_dir / "proposed"
    write_targets(proposed / "targets" / "proposed.yaml", propose_targets(plan, counts))
    return Overview(
        {
            **describe_table(session.table),
            "Training": list(_training(options, session)),
            f"Evaluation ({plan.split})": list(_evaluation(plan, counts)),
            "Targets": [
                *(_target(target) for target in targets),
                f"proposed for these data: {proposed}/targets/proposed.yaml",
                f"with them: python train.py --config-dir={proposed} targets=proposed ...",
            ],
            "Cost": list(_cost(session)),
        }
    )


def queries_with_an_answer(plan: Plan, task: Task) -> int:
    """Count the queries of a task that something else in the gallery is relevant to."""
    counts = task.relevance.ideal(1)[0]
    excluded = search_of(plan, task.name).excluded
    if excluded is not None:
        gains = task.relevance.gains(excluded.queries, excluded.rows[:, None])[:, 0]
        right = excluded.queries[gains >= task.relevance.least_gain]
        counts = counts - torch.bincount(right, minlength=len(counts))
    return int((counts > 0).sum())


def propose_targets(plan: Plan, counts: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Propose what should rise and what must not fall, by what the data can show.

    Args:
        plan: the evaluation.
        counts: the number of queries with an answer, by task.

    Returns:
        Targets by name, as a file in conf/targets/ has them.
    """
    kept = {"image/product": "hit", "text/pair": "hit", "image/category": "precision"}
    k = max(plan.options.k)
    proposed: dict[str, tuple[str, float | None]] = {}
    for task in plan.tasks:
        query, _, relevance = task.name.partition("/")
        if counts[task.name] < _ENOUGH:
            continue
        if task.name in kept:
            proposed[relevance] = (f"{task.name}/{kept[task.name]}@{k}", None)
        elif query == "image" and task.values is not None:
            codes = task.values[0]
            if len(codes[codes >= 0].unique()) > 1:
                proposed[relevance] = (f"{task.name}/precision@{k}", 0.05)
    return {
        name: {"_target_": "fashret.evaluation.targets.Target", "metric": metric, "rise": rise}
        for name, (metric, rise) in proposed.items()
    }


def write_targets(path: Path, targets: Mapping[str, Mapping[str, Any]]) -> None:
    """Write targets as a file that `targets=<name>` reads from the folder above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = "# What should rise (0.05 is 5 points), and what must not fall (null), by these data.\n"
    write_text(path, head + yaml.safe_dump(dict(targets), sort_keys=False))


def _training(options: TrainOptions, session: Session) -> Iterator[str]:
    names = ", ".join(task.name for task in options.tasks)
    loss = type(options.loss).__name__
    learns = f"model.train={session.spec.train}" if session.spec.learns else "nothing"
    yield (
        f"task {names} with {loss} over {len(session.table.rows('train')):,} items, less those "
        "whose photo or product is also in validation or test"
    )
    epochs = options.trainer.trainer.get("max_epochs")
    yield f"{session.spec.label}, {learns} learns; {epochs} epochs of batches of " + (
        f"{session.source.batch_size}; best by {options.monitored}"
    )


def _evaluation(plan: Plan, counts: Mapping[str, int]) -> Iterator[str]:
    """How many queries each relevance has, by query."""
    by_query: dict[str, list[str]] = {}
    for name, count in counts.items():
        query, _, relevance = name.partition("/")
        by_query.setdefault(query, []).append(f"{relevance} {f'{count:,}' if count else 'none'}")
    for query, each in by_query.items():
        yield f"{query} queries with something to find: {', '.join(each)}"


def _target(target: Target) -> str:
    if target.rise is None:
        return f"{target.metric} must not fall by more than {100 * target.margin:g} points"
    return f"{target.metric} should rise by {100 * target.rise:g} points"


def _cost(session: Session) -> Iterator[str]:
    """What is encoded, how long that takes, and the disk that it needs."""
    if session.imported is not None:
        yield "nothing is encoded: the embeddings are imported"
        return
    contents = Contents(session.table)
    folder = stores_folder(
        session.cache_dir, session.spec.label, session.identity, session.options.catalog_dtype
    )
    stores = FeatureStores.open(folder)
    if stores is not None:
        missing = stores.missing(contents)
    else:
        photos = np.sort(np.unique(contents.photos, return_index=True)[1])
        texts = np.arange(len(contents.captions)) if session.spec.reads_text else photos[:0]
        missing = Missing(photos, texts)
    if not missing:
        yield "nothing is encoded: all photos and texts are stored"
        return
    retriever = session.untrained()
    of_photos = retriever.image_head.in_features * np.dtype(session.options.catalog_dtype).itemsize
    of_texts = retriever.text_head.in_features * np.dtype(session.options.catalog_dtype).itemsize
    disk = len(missing.photos) * (of_photos + _KEY_BYTES)
    disk += len(missing.captions) * (of_texts + _KEY_BYTES)
    seconds = _seconds(session, contents, missing)
    yield (
        f"{len(missing.photos):,} photos and {len(missing.captions):,} texts are encoded first, "
        f"once: about {_duration(seconds)} on {session.device}, {readable_bytes(disk)} in "
        f"{session.cache_dir}"
    )


def _seconds(session: Session, contents: Contents, missing: Missing) -> float:
    """The seconds that encoding takes, at the rate of a few photos and texts."""
    backbone, total = session.backbone.to(session.device).eval(), 0.0
    transform = backbone.photo_transform()
    with torch.inference_mode():
        for rows, most in ((missing.photos, _TIMED_PHOTOS), (missing.captions, _TIMED_TEXTS)):
            some = rows[:most].tolist()
            for _ in range(2 if some else 0):  # the first time is that of warming up
                began = time.perf_counter()
                if most == _TIMED_PHOTOS:
                    photos = (decode_photo(session.table.photo(row)) for row in some)
                    images = torch.stack([transform(photo) for photo in photos])
                    backbone.encode_image(images.to(session.device)).cpu()
                else:
                    tokens = backbone.tokenize([contents.captions[code] for code in some])
                    backbone.encode_text(tokens.to(session.device)).cpu()
                spent = time.perf_counter() - began
            total += spent / len(some) * len(rows) if some else 0.0
    return total


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
