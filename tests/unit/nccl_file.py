"""A file as nccl-tests writes it with -J."""

from typing import Any


def written(**more: Any) -> dict[str, Any]:
    """Return what a run of two GPUs writes, in the form of ``src/util.cu`` (JSON_FILE_VERSION 3)."""
    return {
        "version": 3, "start_time": "2026-01-01", "args": ["./build/all_reduce_perf", "-b", "1M", "-J", "out.json"],
        "env": ["HOME=/root", "SECRET_TOKEN=hush", "NCCL_DEBUG=WARN", "MY_NCCL_X=no", "NCCL_ALGO=Ring=1"],
        "nccl_version": 22703, "config": {"nthreads": 1, "ngpus": 2, "blocking": "false", "warmup_iters": 1},
        "devices": [{"rank": rank, "device": rank, "device_info": "NVIDIA H200"} for rank in (0, 1)],
        "results": [
            {"size": 1048576, "count": 262144, "type": "float", "redop": "sum", "root": "-1",
             "out_of_place": {"time": 21.5, "alg_bw": 48.77, "bus_bw": 48.77, "nwrong": 0.0},
             "in_place": {"time": 21.0, "alg_bw": 49.93, "bus_bw": "nan", "nwrong": None},
             "actual_iterations": 20},
            {"size": 8, "count": 2, "type": "float", "redop": "sum", "root": "-1",
             "out_of_place": {"cpu_time": 9.0, "alg_bw": 0.0, "bus_bw": 0.0, "nwrong": 2.0}}],
        "end_time": "2026-01-01", **more}
