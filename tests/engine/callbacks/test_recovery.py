"""Where the last good weights are."""

from types import SimpleNamespace
from typing import Any

from fashret.engine.callbacks.recovery import advice, last_good_weights


def trainer_of(*paths: tuple[str, str]) -> Any:
    made = [SimpleNamespace(last_model_path=last, best_model_path=best) for last, best in paths]
    return SimpleNamespace(checkpoint_callbacks=made)


def test_the_first_checkpoint_that_was_written_is_named() -> None:
    assert last_good_weights(trainer_of(("last.ckpt", "best.ckpt"))).endswith("are in last.ckpt.")
    assert last_good_weights(trainer_of(("", "best.ckpt"))).endswith("are in best.ckpt.")
    assert last_good_weights(trainer_of(("", ""), ("", "b.ckpt"))).endswith("are in b.ckpt.")
    assert last_good_weights(trainer_of(("", ""))).startswith("No epoch was finished before it")
    assert last_good_weights(trainer_of()).startswith("No epoch was finished before it")
    bare: Any = SimpleNamespace(checkpoint_callbacks=[object()])
    assert last_good_weights(bare).startswith("No epoch was finished before it")


def test_advice_says_where_the_weights_are_and_what_to_try() -> None:
    given = advice(trainer_of(("last.ckpt", "")))
    assert given.startswith("The weights of the last good epoch are in last.ckpt. Try a smaller")
