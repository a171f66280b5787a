"""The traps of the neutral ops, one tiny case each: what a framework's default gets wrong without anyone noticing."""

import dataclasses

import numpy as np
import pytest
import scipy.special

from dlcompare.core.errors import JobError
from dlcompare.frameworks.reference.ops import TABLE
from dlcompare.frameworks.reference.unit import Call


def forward(op: str, call: Call) -> np.ndarray:
    return TABLE[op].forward(call)[0]


def statistics(channels: int, *, mean: float, var: float) -> dict[str, np.ndarray]:
    values = {"weight": 1.0, "bias": 0.0, "running_mean": mean, "running_var": var}
    return {name: np.full(channels, value) for name, value in values.items()}


def running(x: np.ndarray, **attrs: float) -> dict[str, np.ndarray]:
    call = Call("bn", {"eps": 1e-5, "momentum": 0.1, **attrs}, (x,), statistics(1, mean=2.0, var=5.0))
    return TABLE["batch_norm"].running(call, TABLE["batch_norm"].forward(call)[1])


def test_running_statistics_take_the_unbiased_variance():
    moved = running(np.array([1.0, 2.0, 3.0, 6.0]).reshape(2, 1, 2, 1))  # mean 3, variance 14/4 biased, 14/3 unbiased
    assert moved["running_mean"] == pytest.approx(0.9 * 2 + 0.1 * 3, rel=1e-14)
    assert moved["running_var"] == pytest.approx(0.9 * 5 + 0.1 * 14 / 3, rel=1e-14)


def test_running_momentum_is_the_share_of_the_new_batch():
    moved = running(np.array([[1.0], [2.0]]), momentum=0.75)
    assert moved["running_mean"] == pytest.approx(0.25 * 2 + 0.75 * 1.5, rel=1e-14)


def test_evaluation_ignores_the_rest_of_the_batch():
    x = np.random.default_rng(0).standard_normal((3, 2, 4, 4))
    whole = Call("bn", {"eps": 0.0}, (x,), statistics(2, mean=0.3, var=4.0), training=False)
    alone = dataclasses.replace(whole, inputs=(x[:1, :, :1, :1],))
    np.testing.assert_allclose(forward("batch_norm", alone), (x[:1, :, :1, :1] - 0.3) / 2, rtol=1e-14)
    np.testing.assert_array_equal(forward("batch_norm", alone), forward("batch_norm", whole)[:1, :, :1, :1])


def test_the_first_of_equal_maxima_takes_the_gradient():
    call = Call("pool", {"kernel": 2, "stride": 2, "pad": 0}, (np.array([[[[1.0, 3.0], [3.0, 3.0]]]]),), {})
    (grad,), _ = TABLE["max_pool"].backward(call, TABLE["max_pool"].forward(call)[1], np.full((1, 1, 1, 1), 5.0))
    np.testing.assert_array_equal(grad, [[[[0, 5], [0, 0]]]])


def test_padding_never_wins_a_maximum():
    call = Call("pool", {"kernel": 3, "stride": 2, "pad": 1}, (np.full((1, 1, 4, 4), -7.0),), {})
    np.testing.assert_array_equal(forward("max_pool", call), np.full((1, 1, 2, 2), -7.0))


def test_relu_has_no_slope_at_zero():
    call = Call("relu", {}, (np.zeros((1, 1)),), {})
    (grad,), _ = TABLE["relu"].backward(call, TABLE["relu"].forward(call)[1], np.ones((1, 1)))
    assert grad == 0


def test_gelu_is_exact_in_both_tails():
    x = np.linspace(-9, 9, 181).reshape(1, -1)
    np.testing.assert_allclose(forward("gelu", Call("gelu", {}, (x,), {})), x * scipy.special.ndtr(x), rtol=1e-13)


def test_a_masked_key_has_no_influence():
    query, key, value = np.random.default_rng(0).standard_normal((3, 1, 4, 6))
    mask = np.array([[1, 1, 0, 0]])
    call = Call("attention", {"heads": 2}, (query, key, value, mask), {})
    before = forward("attention", call)
    key[:, 2:] += 1e6
    value[:, 2:] += 1e6
    np.testing.assert_array_equal(forward("attention", call), before)


def test_cross_entropy_survives_large_logits():
    call = Call("loss", {}, (np.array([[1e4, 0.0], [0.0, -1e4]]), np.array([1, 0])), {})
    assert forward("cross_entropy", call) == 5e3


REFUSED = {
    "dropout": (Call("drop", {"rate": 0.5}, (np.ones((1, 2)),), {}), "'drop' has rate 0.5"),
    "batch_norm": (Call("bn", {"eps": 1}, (np.ones((1, 2, 1, 1)),), statistics(2, mean=0, var=1)), "'bn' sees one"),
    "attention": (Call("att", {"heads": 1}, (*np.ones((3, 1, 2, 2)), np.zeros((1, 2), int)), {}), "every key masked"),
    "embedding": (Call("words", {"rows": 2}, (np.array([[-1]]),), {"weight": np.ones((2, 1))}), "index -1; .* 0 to 1"),
    "cross_entropy": (Call("loss", {}, (np.ones((1, 3)), np.array([3])), {}), "index 3; allowed are 0 to 2"),
}


@pytest.mark.parametrize("op", REFUSED)
def test_what_has_no_meaning_is_refused(op):
    call, reason = REFUSED[op]
    with pytest.raises(JobError, match=reason):
        TABLE[op].forward(call)
