"""The matrix of some frameworks and one model: from what was asked to a job for each side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from dlcompare.core.errors import UsageError
from dlcompare.core.graph import Graph, Input
from dlcompare.core.graph.model import Model
from dlcompare.core.plugins.backend import ORACLE
from dlcompare.core.plugins.job import FAIL, BaseJob, J
from dlcompare.core.plugins.registry import Plugins
from dlcompare.core.settings import default_of

from .bad_samples import bad_samples
from .classes import check_labels, usual_classes
from .feasibility import check_batch_norm, default_device
from .plan import Plan, Tell, silent
from .variants import Variant, parse


@dataclass(frozen=True)
class Matrix(Generic[J]):
    """Jobs in the order asked for, each with the variant it was asked for as, and the network they are of."""

    model: Model
    graph: Graph
    jobs: tuple[J, ...]
    sides: tuple[Variant, ...]

    def plan(self, refusals: Mapping[str, str | None], **more: Any) -> Plan:
        """Return the plan for these jobs; ``refusals`` are reasons by job id, None for one that can run."""
        named = {job.id: side.text for job, side in zip(self.jobs, self.sides, strict=True) if side.text}
        kind = self.jobs[0].kind
        return Plan(kind, self.jobs, {k: v for k, v in refusals.items() if v}, named, **more)


def matrix(plugins: Plugins, cls: type[J], settings: Mapping[str, Any], tell: Tell = silent) -> Matrix[J]:
    """Return the jobs of a request, each a ``cls``, whose fields are the ``settings`` that were given.

    Of those, ``framework`` names one or several. What is not given takes the default of this machine. ``tell`` hears
    what takes long.

    Raises:
        UsageError: a framework, model, dataset, setting or option does not exist or fit.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    frameworks, model = require_names(given)
    if given.get("weights"):
        given["weights"] = existing_file(given["weights"])
    asked = sides(plugins, frameworks, device=given.get("device"))
    known = plugins.model(model)
    if given.get("classes") is None:
        data = [side.settings.get("data") or given.get("data") or known.data for side in asked]
        given["classes"] = usual_classes(plugins, known, data, weights=given.get("weights"),
                                         image_size=given.get("image_size"))
    graph = known.graph(given.get("image_size"), given["classes"])
    if given.get("weights"):
        check_weights(given["weights"], graph)
    shared = {**defaults(plugins, cls, known, [side.framework for side in asked], given), **given}
    wanted = [{"execution": next(iter(plugins.backend(side.framework).executions)), **shared, **side.settings}
              for side in asked]
    for one in wanted:
        one["data"] = check_data(plugins, one["data"], graph)
        if one.get("on_bad_sample", FAIL) == FAIL:
            check_labels(plugins, one["data"], graph)
        check_batch_norm(graph, one["batch"])
    leave_out(plugins, wanted, graph.inputs, tell)
    jobs = tuple(cls(**{**one, "framework": side.framework}) for side, one in zip(asked, wanted, strict=True))
    distinct(asked, jobs)
    return Matrix(known, graph, jobs, tuple(asked))


def leave_out(plugins: Plugins, wanted: Sequence[dict[str, Any]], inputs: Mapping[str, Input], tell: Tell) -> None:
    """Add to the settings of jobs which samples they leave out; UsageError if there are bad ones that may not be."""
    asked = {(one["data"], one.get("on_bad_sample", FAIL)) for one in wanted}
    found = {(data, policy): bad_samples(plugins, data, inputs, policy=policy, tell=tell)
             for data, policy in sorted(asked)}
    for one in wanted:
        if names := found[one["data"], one.get("on_bad_sample", FAIL)]:
            one["skip"] = names


def require_names(given: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the frameworks and the model that were asked for; UsageError if either is missing."""
    frameworks, model = given.get("framework"), given.get("model")
    if not frameworks or not model:
        missing = [f"--{k}" for k, v in (("framework", frameworks), ("model", model)) if not v]
        raise UsageError(f"{' and '.join(missing)} must be given, as in: dlcompare --framework tf-horovod "
                         "--model resnet50; 'dlcompare list' shows what there is")
    return [name.strip() for name in frameworks.split(",") if name.strip()], model


def defaults(plugins: Plugins, cls: type[BaseJob], model: Model, frameworks: Sequence[str],
             given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this machine and this model set where nobody says."""
    device = given.get("device") or default_device(plugins, frameworks)
    return {"data": model.data, "device": device, "batch": default_of(cls, "batch", device=device),
            "threads": max(1, len(os.sched_getaffinity(0)) // given.get("workers", 1))}


def sides(plugins: Plugins, asked: Sequence[str], *, device: str | None = None) -> list[Variant]:
    """Return the sides asked for, each checked to exist, once.

    ``all`` is every framework but the oracle that runs on the device at all, by default on a CPU.
    """
    everything = [name for name, backend in plugins.backends().items() if name != ORACLE
                  and (device or "cpu") in backend.devices]
    found = [side for one in asked for side in (map(Variant, everything) if one == "all" else [parse(one)])]
    for side in found:
        plugins.backend(side.framework)
    if not found:
        raise UsageError(f"no framework was named; there is: {', '.join(plugins.backends())}")
    return list({side.name: side for side in found}.values())


def distinct(asked: Sequence[Variant], jobs: Sequence[BaseJob]) -> None:
    """Raise UsageError if two sides come to the same job."""
    seen: dict[str, Variant] = {}
    for side, job in zip(asked, jobs, strict=True):
        if job.id in seen:
            raise UsageError(f"{seen[job.id].name} and {side.name} are the same job: the setting is what that side has "
                             "anyway; name another value")
        seen[job.id] = side


def check_data(plugins: Plugins, data: str, graph: Graph) -> str:
    """Return a dataset's name with the path in it made absolute; UsageError if the network cannot read it."""
    kind, argument = plugins.dataset(data)
    kind.check(argument, graph.inputs)
    return make_absolute(data)


def make_absolute(data: str) -> str:
    """Return a dataset's name with the path in it, if there is one, made absolute: workers run in other folders."""
    name, _, argument = data.partition(":")
    place = Path(argument).expanduser()
    return f"{name}:{place.resolve()}" if argument and place.exists() else data


def check_weights(path: str, graph: Graph) -> None:
    """Raise UsageError if a file of weights cannot be read, does not fit the network, or holds NaN."""
    from dlcompare.core.graph.params import load_weights  # late: it needs NumPy

    load_weights(path, graph)


def existing_file(path: str) -> str:
    """Return the absolute path of a file that exists; UsageError otherwise."""
    if not Path(path).expanduser().is_file():
        raise UsageError(f"the weights file {path} does not exist; --weights takes a .safetensors or .pth file, or the "
                         "*.index.json of several")
    return str(Path(path).expanduser().resolve())
