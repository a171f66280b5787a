"""What is told while rounds go on."""

from dlcompare.core.judging.outlook import Outlook
from dlcompare.core.judging.verdict import Verdict
from dlcompare.core.run.outlook import told


def outlook(name: str, word: str, more: int | None) -> Outlook:
    return Outlook(Verdict("run", name, "run", "base", 0.97, word, 0.91, 1.034), more)


def test_what_is_undecided_comes_first_with_about_how_long_it_takes() -> None:
    found = [outlook("jax", "slower", 0), outlook("mxnet", "undecided", 6), outlook("tf-horovod", "undecided", None)]
    assert told(found, done=3, of=8, seconds=40.0) == (
        "3 of 8 done: tf-horovod 0.9700 [0.9100, 1.034] undecided, and not decided within 100 rounds such as these; "
        "mxnet 0.9700 [0.9100, 1.034] undecided, for about 6 more rounds (4 min); jax 0.9700 [0.9100, 1.034] slower")
    assert told([outlook("a", "undecided", 1)], done=2, of=None, seconds=40.0).endswith("about 1 more round (40 s)")
    assert told([outlook("a", "same", 0)] * 5, done=2, of=2, seconds=40.0).endswith("; 2 more")
    assert "no ratio rests on two that were undisturbed" in told([], done=2, of=6, seconds=1.0)


def test_of_a_sweep_it_says_at_which_point() -> None:
    one = Outlook(outlook("jax", "same", 0).verdict, 0, {"batch": 8, "threads": 2})
    assert "done: batch 8, threads 2: jax 0.9700" in told([one], done=2, of=6, seconds=1.0)
