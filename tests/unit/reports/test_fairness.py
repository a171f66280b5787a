"""What makes records comparable is computed, never claimed; every difference is in the ledger."""

import dataclasses

from fabricated import SETTINGS, SYSTEM, finished, job, ranks, sha

from dlcompare.core.kinds.training.result import LossPoint
from dlcompare.core.records.choices import Choices
from dlcompare.core.reports.fairness import differences, flat, sameness, spans

GPU = {"index": 0, "name": "NVIDIA H200", "memory_bytes": 143771 << 20, "driver": "570.86.15", "power_limit_w": 700.0}


def test_what_is_the_same_is_computed() -> None:
    one, two = finished(job()), finished(job("tf-horovod"))
    same, other = sameness([one, two])
    assert len(same) == 5 and not other and sha("params")[:12] in same[0]
    changes = {"params_sha256": sha("x"), "sample_order_sha256": None, "loss": (LossPoint(0, 7.1),)}
    same, other = sameness([one, dataclasses.replace(two, **changes)])
    assert [words.split(" (")[0] for words in same] == ["first batch"]
    assert other == ["initial parameters (2 different sha256)", "order of samples (not recorded by all)",
                     "loss at step 0 (6.901 to 7.1, 2.8 % apart)"]
    assert "not recorded" in sameness([one, dataclasses.replace(two, loss=())])[1][0]


def test_the_ledger_lists_every_difference_and_nothing_else() -> None:
    one = finished(job(), system=SYSTEM | {"load_average": [9.0, 9.0, 9.0]})
    assert differences([one, finished(job())]) == []
    other = finished(job(lr=0.1, image_size=96), ranks(
        job(), settings=Choices.of(SETTINGS["pytorch-ddp"] | {"tf32": True})),
                     system=SYSTEM | {"accelerators": [GPU]})
    found = {(item.group, item.name): item.values for item in differences([one, other])}
    assert found[("job", "lr")] == ("0.01", "0.1")
    assert found[("job", "image_size")] == ("64", "96")
    assert found[("settings", "tf32")] == ("no", "yes")
    assert found[("machine", "accelerators.0.name")] == ("-", "NVIDIA H200")
    assert {group for group, _ in found} == {"job", "settings", "machine"}


def test_small_pieces() -> None:
    assert spans([1, 2, 3, 5, 7, 8]) == "1-3, 5, 7-8" and spans([]) == ""
    assert flat({"a": {"b": [1, 2], "c": None}, "d": True, "e": [{"f": 1.5}]}) == {
        "a.b": "1, 2", "a.c": "-", "d": "yes", "e.0.f": "1.5"}
