"""What processes of ours inherit of the user's variables, and what not."""

import pytest

from dlcompare.core.machine.inherited import for_python, for_workers

LEFT_OUT = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TF_CONFIG",
            "HOROVOD_RANK", "HOROVOD_CONTROLLER", "HOROVOD_GLOO_IFACE", "OMPI_COMM_WORLD_RANK", "PMI_RANK",
            "SLURM_PROCID", "DMLC_ROLE", "JAX_COORDINATOR_ADDRESS", "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONHOME",
            "PYTHONPATH", "PYTHONINSPECT"]
# How a framework is tuned, where its libraries lie, what a user calls their own.
KEPT = ["HOROVOD_FUSION_THRESHOLD", "HOROVOD_CYCLE_TIME", "XLA_FLAGS", "OMP_NUM_THREADS", "NCCL_DEBUG", "RANKING",
        "LD_LIBRARY_PATH", "MXNET_ENGINE_TYPE", "DLCOMPARE_CACHE", "HOME"]
PROXIES = ["http_proxy", "HTTPS_PROXY", "all_proxy", "grpc_proxy"]


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*LEFT_OUT, *KEPT, *PROXIES, "PIP_TARGET", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "1")


def test_a_worker_meets_others_and_is_tuned_as_the_user_wants() -> None:
    assert not for_workers().keys() & {*LEFT_OUT, *PROXIES}
    assert for_workers().keys() >= {*KEPT}


def test_what_installs_packages_goes_through_the_users_proxies_and_index() -> None:
    assert not for_python().keys() & {*LEFT_OUT, "PIP_TARGET"}
    assert for_python().keys() >= {*KEPT, *PROXIES, "PIP_INDEX_URL"}
