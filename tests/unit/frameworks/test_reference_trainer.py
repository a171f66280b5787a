"""The reference's trainer: the walk over whole graphs, the optimiser, emulated workers, noise."""

import numpy as np
import pytest

from dlcompare.core.errors import JobError
from dlcompare.core.graph import Graph, Input
from dlcompare.core.graph.ops import trace
from dlcompare.core.plugins.job import Job
from dlcompare.frameworks.reference.norms import BatchNorm
from dlcompare.frameworks.reference.ops import TABLE
from dlcompare.frameworks.reference.oracle import Oracle
from dlcompare.frameworks.reference.trainer import ReferenceTrainer

JOB = Job("reference", "tiny", momentum=0.8, weight_decay=0.05)
IMAGES = {"image": Input((2, 6, 6)), "label": Input((), "int64", "label", 3)}
TOKENS = {"ids": Input((4,), "int64", "ids", 7), "mask": Input((4,), "int64", "mask", 2),
          "start": Input((), "int64", "label", 4), "end": Input((), "int64", "label", 4)}


def convnet(image, label):
    """A residual block: the tensor after bn1 has two users."""
    x = image.conv(4, 3, stride=2, pad=1, name="conv1").batch_norm(name="bn1").relu()
    x = x.conv(4, 3, pad=1, bias=False, name="conv2").batch_norm(name="bn2").add(x).relu()
    x = x.max_pool(2, 1).flatten().dense(3, name="fc")
    return {"logits": x, "loss": x.cross_entropy(label)}


def plain(image, label):
    x = image.conv(4, 3, stride=2, name="conv1").tanh().adaptive_avg_pool(2).flatten().dense(3, name="fc")
    return {"logits": x, "loss": x.cross_entropy(label)}


def encoder(ids, mask, start, end):
    """One transformer layer, a span head, and a pooler that the loss does not reach."""
    x = ids.embedding(7, 4, name="words").position_embedding(5, name="positions").layer_norm(name="norm")
    query, key, value = (x.dense(4, name=name) for name in ("query", "key", "value"))
    x = query.attention(key, value, mask, heads=2).add(x).dense(4, name="out").gelu()
    span = x.dense(2, name="span")
    first, last = span.select(0, axis=-1), span.select(1, axis=-1)
    loss = first.cross_entropy(start).add(last.cross_entropy(end)).scale(0.5)
    return {"pooled": x.select(0, axis=0).dense(4, name="pooler").tanh(), "start": first, "end": last, "loss": loss}


GRAPHS = {"convnet": trace("convnet", convnet, IMAGES), "plain": trace("plain", plain, IMAGES),
          "encoder": trace("encoder", encoder, TOKENS)}


def params_of(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {k: rng.uniform(0.5, 1.5, p.shape) if len(p.shape) == 1 else rng.standard_normal(p.shape)
            for k, p in graph.params().items()}


def batch_of(graph: Graph, *, size: int = 6, seed: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    batch = {k: rng.standard_normal((size, *i.shape)).astype(np.float32) if i.high is None
             else rng.integers(0, i.high, (size, *i.shape)) for k, i in graph.inputs.items()}
    if "mask" in batch:
        batch["mask"][:, 0] = 1
    return batch


def trainer(name: str, **options) -> ReferenceTrainer:
    return ReferenceTrainer(GRAPHS[name], params_of(GRAPHS[name]), JOB, **options)


def loss(subject: ReferenceTrainer, batch) -> float:
    return float(subject.activations(batch)[subject.graph.outputs["loss"]])


@pytest.mark.parametrize("replicas", [1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_gradients_equal_central_differences_of_the_loss(name, replicas):
    subject, batch = trainer(name, replicas=replicas), batch_of(GRAPHS[name])
    found = subject.gradients(batch)
    assert set(found) == set(GRAPHS[name].trained())
    for key, grad in found.items():
        array = subject.weights[key]
        for place in list(np.ndindex(array.shape))[::max(1, array.size // 8)]:
            kept, ends = array[place], []
            for sign in (1, -1):
                array[place] = kept + sign * 1e-6
                ends.append(loss(subject, batch))
            array[place] = kept
            assert grad[place] == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-8), f"{key}{place}"


def softmax_regression(image, label):
    x = image.flatten().dense(3, name="fc")
    return {"logits": x, "loss": x.cross_entropy(label)}


def test_three_steps_equal_the_formula_written_by_hand():
    graph = trace("regression", softmax_regression, IMAGES)
    subject, batch = ReferenceTrainer(graph, params_of(graph), JOB), batch_of(graph)
    x, truth = batch["image"].reshape(6, -1).astype(np.float64), np.eye(3)[batch["label"]]
    w, b = params_of(graph).values()
    vw, vb = np.zeros_like(w), np.zeros_like(b)
    for lr in (0.1, 0.02, 0.3):
        p = np.exp(x @ w.T + b)
        p /= p.sum(1, keepdims=True)
        expected_loss = -np.log((p * truth).sum(1)).mean()
        vw, vb = 0.8 * vw + (p - truth).T @ x / 6 + 0.05 * w, 0.8 * vb + (p - truth).mean(0) + 0.05 * b
        w, b = w - lr * vw, b - lr * vb
        subject.step(subject.place(batch), lr)
        assert subject.wait() == pytest.approx(expected_loss, rel=1e-12)
    np.testing.assert_allclose(subject.params()["fc.weight"], w, rtol=1e-12)
    np.testing.assert_allclose(subject.params()["fc.bias"], b, rtol=1e-12)


def after_steps(subject: ReferenceTrainer, *, steps: int = 3) -> dict[str, np.ndarray]:
    for seed in range(steps):
        subject.step(subject.place(batch_of(subject.graph, seed=seed)), 0.1)
    return subject.params()


@pytest.mark.parametrize("name", ["plain", "encoder"])
def test_without_batch_norm_workers_change_nothing(name):
    one, three = trainer(name), trainer(name, replicas=3)
    expected, found = after_steps(one), after_steps(three)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-10, atol=1e-12, err_msg=key)
    assert three.wait() == pytest.approx(one.wait(), rel=1e-12)


def test_batch_norm_sees_only_its_own_worker():
    batch = batch_of(GRAPHS["convnet"])
    one, three = trainer("convnet"), trainer("convnet", replicas=3)
    assert abs(one.gradients(batch)["conv2.weight"] - three.gradients(batch)["conv2.weight"]).max() > 1e-3
    share = {k: v[:2] for k, v in batch.items()}
    np.testing.assert_allclose(three.activations(batch)["bn1"][:2], one.activations(share)["bn1"], rtol=1e-12)


def test_rank_0_keeps_its_own_running_statistics():
    batch, three, one = batch_of(GRAPHS["convnet"]), trainer("convnet", replicas=3), trainer("convnet")
    three.step(three.place(batch), 0.1)
    one.step(one.place({k: v[:2] for k, v in batch.items()}), 0.1)
    np.testing.assert_allclose(three.params()["bn1.running_var"], one.params()["bn1.running_var"], rtol=1e-12)
    assert not np.allclose(three.statistics[1]["bn1.running_var"], three.statistics[0]["bn1.running_var"])


def test_running_statistics_follow_the_pass_before_the_update():
    subject, batch, before = trainer("convnet"), batch_of(GRAPHS["convnet"]), params_of(GRAPHS["convnet"])
    x = subject.activations(batch)["conv1"]
    subject.step(subject.place(batch), 0.1)
    expected = 0.9 * before["bn1.running_var"] + 0.1 * x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(subject.params()["bn1.running_var"], expected, rtol=1e-12)


def test_a_parameter_the_loss_does_not_reach_stays_put():
    subject, before = trainer("encoder"), params_of(GRAPHS["encoder"])
    after = after_steps(subject)
    assert [k for k in before if np.array_equal(before[k], after[k])] == ["pooler.weight", "pooler.bias"]


@pytest.mark.parametrize("name", GRAPHS)
def test_only_a_step_changes_state(name):
    subject, batch = trainer(name, replicas=2), batch_of(GRAPHS[name])
    subject.gradients(batch)
    subject.activations(batch)
    subject.predict(batch)
    np.testing.assert_equal(subject.params(), params_of(GRAPHS[name]))
    subject.params()["norm.weight" if name == "encoder" else "fc.bias"][:] = 0
    np.testing.assert_equal(subject.params(), params_of(GRAPHS[name]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_given_parameters_are_copied_to_float64_and_left_alone(dtype):
    graph, given = GRAPHS["convnet"], {k: v.astype(dtype) for k, v in params_of(GRAPHS["convnet"]).items()}
    kept = {k: v.copy() for k, v in given.items()}
    after = after_steps(ReferenceTrainer(graph, given, JOB))
    assert {v.dtype for v in after.values()} == {np.dtype(np.float64)}
    np.testing.assert_equal(given, kept)


def test_prediction_evaluates_with_running_statistics_on_any_length():
    subject, batch = trainer("convnet", replicas=3), batch_of(GRAPHS["convnet"])
    whole, alone = subject.predict(batch), subject.predict({k: v[:1] for k, v in batch.items()})
    assert set(whole) == {"logits", "loss"} and whole["logits"].dtype == np.float64
    np.testing.assert_allclose(alone["logits"], whole["logits"][:1], rtol=1e-12)
    trained = subject.activations(batch)[subject.graph.outputs["logits"]]
    assert abs(trained - whole["logits"]).max() > 1e-3


def test_activations_are_joined_in_rank_order_and_the_loss_is_the_mean():
    batch = batch_of(GRAPHS["plain"])
    one, three = trainer("plain").activations(batch), trainer("plain", replicas=3).activations(batch)
    assert list(one) == list(three) == [n.name for n in GRAPHS["plain"].nodes]
    for name, value in one.items():
        np.testing.assert_allclose(three[name], value, rtol=1e-12, err_msg=name)


def test_noise_reaches_every_result_and_every_gradient():
    seen: list[np.ndarray] = []

    def noise(array: np.ndarray) -> np.ndarray:
        seen.append(array)
        return array * (1 + 1e-6)

    subject, batch = trainer("convnet", noise=noise), batch_of(GRAPHS["convnet"])
    noisy, clean = subject.gradients(batch), trainer("convnet").gradients(batch)
    nodes = GRAPHS["convnet"].nodes
    edges = sum(i != "label" for node in nodes for i in node.inputs)
    assert len(seen) == len(nodes) + edges + len(GRAPHS["convnet"].trained())
    assert all(array.dtype == np.float64 for array in seen)
    for key, grad in clean.items():
        assert 0 < abs(noisy[key] - grad).max() < 1e-3 * (abs(grad).max() + 1), key


class Biased(BatchNorm):
    def correction(self, count: int) -> float:
        return 1.0


def test_a_wrong_op_in_a_copy_of_the_table_is_used():
    wrong, right = trainer("convnet", table={**TABLE, "batch_norm": Biased()}), trainer("convnet")
    after_steps(wrong, steps=1)
    after_steps(right, steps=1)
    assert not np.allclose(wrong.params()["bn1.running_var"], right.params()["bn1.running_var"], rtol=1e-4)
    np.testing.assert_array_equal(wrong.params()["fc.weight"], right.params()["fc.weight"])


class Summed(ReferenceTrainer):
    def average(self, shares):
        return {name: len(shares) * grad for name, grad in super().average(shares).items()}


def test_a_wrong_average_can_replace_the_right_one():
    graph, batch = GRAPHS["plain"], batch_of(GRAPHS["plain"])
    summed = Summed(graph, params_of(graph), JOB, replicas=2).gradients(batch)
    np.testing.assert_allclose(summed["fc.bias"], 2 * trainer("plain").gradients(batch)["fc.bias"], rtol=1e-10)


def without(arrays, name):
    return {k: v for k, v in arrays.items() if k != name}


@pytest.mark.parametrize(("change", "reason"), [
    (lambda batch: without(batch, "label"), "no input 'label'; it has: image"),
    (lambda batch: batch | {"image": batch["image"][:, :1]}, r"\('batch', 2, 6, 6\)"),
    (lambda batch: batch | {"label": batch["label"][:2]}, "differ in batch size"),
    (lambda batch: {k: v[:5] for k, v in batch.items()}, "batch of 5 does not divide among 2 workers"),
    (lambda batch: {k: v[:0] for k, v in batch.items()}, "batch of 0"),
])
def test_a_batch_that_does_not_fit_is_refused(change, reason):
    with pytest.raises(JobError, match=reason):
        trainer("plain", replicas=2).gradients(change(batch_of(GRAPHS["plain"])))


@pytest.mark.parametrize(("change", "reason"), [
    (lambda params: without(params, "fc.bias"), "'fc.bias' of 'plain' is missing"),
    (lambda params: params | {"fc.bias": np.zeros(4)}, r"'fc.bias' has shape \(4,\), not \(3,\)"),
])
def test_parameters_that_do_not_fit_are_refused(change, reason):
    with pytest.raises(JobError, match=reason):
        ReferenceTrainer(GRAPHS["plain"], change(params_of(GRAPHS["plain"])), JOB)


def test_at_least_one_worker_is_emulated():
    with pytest.raises(JobError, match="at least one worker"):
        trainer("plain", replicas=0)


def test_it_tells_what_it_is():
    subject = trainer("plain", replicas=2)
    assert subject.gather(3.5) == [3.5] and (subject.rank, subject.world) == (0, 1)
    assert np.isnan(subject.wait()) and subject.versions() == {"numpy": np.__version__}
    assert subject.settings()["arithmetic"] == "float64" and subject.settings()["emulated_workers"] == 2


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("name", GRAPHS)
def test_the_oracle_shows_what_the_reference_does_with_less_work(name: str, replicas: int) -> None:
    """Activations, gradients and a step of one batch share a pass; of another, or after a step, nothing is shared."""
    graph, passes = GRAPHS[name], []

    class Counting(Oracle):
        def run(self, share, *, nodes, rank=0, training=True):
            passes.append(training)
            return super().run(share, nodes=nodes, rank=rank, training=training)

    plain, oracle = (make(graph, params_of(graph), JOB, replicas=replicas) for make in (ReferenceTrainer, Counting))
    first, second = batch_of(graph), batch_of(graph, seed=3)
    for batch in (first, second, second):
        for show in ("predict", "activations", "gradients"):
            seen, want = getattr(oracle, show)(batch), getattr(plain, show)(batch)
            assert seen.keys() == want.keys() and all(np.array_equal(seen[k], want[k]) for k in want)
        for trainer in (plain, oracle):
            trainer.step(trainer.place(batch), 0.1)
        assert oracle.wait() == plain.wait()
        assert all(np.array_equal(oracle.params()[k], v) for k, v in plain.params().items())
    assert sum(passes) == 3 * replicas and passes.count(False) == 3
