"""What TensorRT's versions and GPUs leave out, known without its library: the outside asks it as well as the inside."""

from __future__ import annotations

from dlcompare.core.plugins.inference_job import InferenceJob

REMOVED = ("TensorRT {} has no calibrators: version 11 removed them. Use --engine tensorrt85 (with --env, any version "
           "up to 10), or --calibrate entropy, which finds ranges the same way and writes them into the file")
TURING = (7, 5)  # compute capability of the first GPUs whose tensor cores multiply eight-bit integers


def fours(job: InferenceJob, capability: tuple[int, int]) -> bool:
    """Return whether INT8 takes batches in fours: on GPUs before Turing, which multiply four bytes at once.

    NVIDIA's release notes of TensorRT 3.0.1 say so of the V100 (quoted in Xu et al. 2018, section V). Notes of the
    versions that are supported here are silent about it, so the rule is kept for the GPUs that it was made for.
    """
    return job.precision == "int8" and capability < TURING


def batch_trouble(job: InferenceJob, capability: tuple[int, int], gpu: str) -> str | None:
    """Return why a job's batch size cannot be had in INT8 on a GPU; None if it can."""
    if not fours(job, capability) or job.batch % 4 == 0:
        return None
    return (f"INT8 on {gpu} (compute capability {capability[0]}.{capability[1]}, before Turing's 7.5) needs batches "
            f"divisible by 4, and {job.batch} is not; use --batch {job.batch + -job.batch % 4}")
