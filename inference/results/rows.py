"""Records as the rows of a summary, and rows as records again: earlier versions kept a run's rows in one file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from dlcompare.core.errors import UsageError
from dlcompare.core.plugins.inference_job import InferenceJob
from dlcompare.core.records import disturbance
from dlcompare.core.records.bounds import Bounds
from dlcompare.core.records.caveat import Caveat
from dlcompare.core.records.choices import Choices
from dlcompare.core.records.record import Throughput, Window
from dlcompare.core.typed_json import from_plain, to_plain
from dlcompare.inference.cell.result import Build, InferenceRecord, Measured, Ran

from .summary import SCHEMA, Json, Results, threads_of, windows_of


def summaries(records: Sequence[InferenceRecord]) -> list[Results]:
    """Return a summary for each run and network among the records."""
    runs = dict.fromkeys((record.run, record.model) for record in records)
    return [summary([record for record in records if (record.run, record.model) == run]) for run in runs]


def summary(records: Sequence[InferenceRecord]) -> Results:
    """Return the summary of one run's records."""
    first = next((record for record in records if record.network), records[0])
    rows: dict[str, list[Json]] = {"measure": [], "predict": [], "scenario": [], "search": []}
    for record in records:
        rows[record.task].append(ROWS[record.task](record))
    made = [record.calibration for record in records if record.calibration]
    return Results(run=first.run, started=min(record.started for record in records), data=first.dataset,
                   network=first.network or unknown(first), plan=first.asked or request_of(records),
                   system=first.system, calibration=made[-1] if made else None, accuracy=rows["predict"],
                   cells=rows["measure"], scenarios=rows["scenario"], searches=rows["search"], caveats=caveats(records))


def caveats(records: Sequence[InferenceRecord]) -> list[Json]:
    """Return what the records say of their samples, each once."""
    return list({str(one): to_plain(one) for record in records for one in record.warnings}.values())


def unknown(record: InferenceRecord) -> Json:
    """Return what is known of a network that no job has run."""
    return {"name": record.model, "task": None, "image_size": record.image_size, "origin": "unknown: nothing ran",
            "trained": True, "params_sha256": None, "outputs": []}


def request_of(records: Sequence[InferenceRecord]) -> Json:
    """Return what was asked for as the records themselves tell."""
    first = records[0]
    timed = [one for one in records if one.task == "measure"] or records
    return {"engines": list(dict.fromkeys(one.framework for one in records)),
            "precisions": list(dict.fromkeys(one.precision for one in records)),
            "batches": list(dict.fromkeys(one.batch_per_worker for one in records if one.task == "measure")),
            "threads": sorted({one.job.get("threads", 1) for one in timed}), "device": first.device}


def common_cells(record: InferenceRecord) -> Json:
    """Return the cells that all rows have."""
    return {"engine": record.framework, "precision": record.precision, "status": record.status,
            "reason": reason(record)}


def reason(record: InferenceRecord) -> str | None:
    """Return why a row is not there, with where to read more."""
    return f"{record.reason} (log: {record.log})" if record.reason and record.log else record.reason


def accuracy_row(record: InferenceRecord) -> Json:
    """Return a row of accuracy."""
    return {**common_cells(record), "ran": plain(record.ran), "build": plain(record.build), **(record.accuracy or {})}


def speed_row(record: InferenceRecord) -> Json:
    """Return a row of speed."""
    row = {**common_cells(record), "batch": record.batch_per_worker, "threads": record.job.get("threads"),
           "round": record.round or 0,
           "seconds": record.duration_s}
    if record.measured is None:
        return row
    windows = [{"runs": one.steps, "seconds": list(one.seconds), "started": one.started, "joules": one.joules,
                "foreign_cores": one.foreign_cores, "throttled": one.throttled, "paused": one.paused}
               for one in record.windows]
    startup = {name: value for name, value in record.startup.items() if name not in ("first run", "launch")}
    return row | {"bounds": record.bounds and to_plain(record.bounds), "host": record.host and to_plain(record.host),
                  "energy": [to_plain(one) for one in record.energy], "build": plain(record.build), "startup": startup,
                  "ran": plain(record.ran),
                  "measured": to_plain(record.measured) | {"windows": windows}, "settings": record.settings.flat(),
                  "versions": record.environment, "peak_bytes": record.peak_bytes, "rss_bytes": record.rss_bytes}


def scenario_row(record: InferenceRecord) -> Json:
    """Return a row of a scenario."""
    return {**common_cells(record), "scenario": record.job.get("scenario"), "ran": plain(record.ran),
            **(record.scenario or {})}


def search_row(record: InferenceRecord) -> Json:
    """Return a row of searches."""
    return dict(record.search or {})


ROWS = {"measure": speed_row, "predict": accuracy_row, "scenario": scenario_row, "search": search_row}


def plain(value: Ran | Build | None) -> Json | None:
    return None if value is None else to_plain(value)


def read_old(data: Any) -> list[InferenceRecord] | None:
    """Return the records of a run of schema 1, or of what ``--format json`` prints; None if JSON holds neither."""
    runs = data if isinstance(data, list) else [data]
    if not runs or not all(isinstance(one, dict) and "searches" in one for one in runs):
        return None
    return [record for one in runs for record in records_of(read_summary(one))]


def read_summary(data: Mapping[str, Any]) -> Results:
    """Return the summary that a file holds; UsageError if it is of another schema, or damaged."""
    if data.get("schema") != SCHEMA:
        raise UsageError(f"the results of dlcompare infer have schema {data.get('schema')!r}, but this dlcompare reads "
                         f"schema {SCHEMA}; read them with the version that wrote them")
    known = {spec.name: data[spec.name] for spec in fields(Results) if spec.name in data}
    return from_plain(Results, known, what="summary of dlcompare infer")


def records_of(results: Results) -> Iterator[InferenceRecord]:
    """Yield the records that a summary was made of, or might have been."""
    every = [("predict", results.accuracy), ("measure", results.cells), ("scenario", results.scenarios)]
    for task, rows in every:
        yield from (record_of(results, task, row, number) for number, row in enumerate(rows))
    for number, row in enumerate(results.searches):
        job = job_of(results, "search", {"engine": row["engine"], "precision": "int8"})
        yield record_with(results, job, f"search-{row['engine']}-{number}", status="ok", search=row)


def job_of(results: Results, task: str, row: Json) -> InferenceJob:
    """Return the job of a row as far as the row tells."""
    return InferenceJob(engine=row["engine"], model=results.network["name"], precision=row["precision"], task=task,
                        data=results.data, image_size=results.network["image_size"], batch=row.get("batch", 1),
                        threads=row.get("threads") or threads_of(results)[-1], device=results.plan["device"],
                        scenario=row.get("scenario"))


def record_of(results: Results, task: str, row: Json, number: int) -> InferenceRecord:
    """Return the record of a row."""
    job, rounds = job_of(results, task, row), results.plan.get("rounds", 1)
    about: Json = {"status": row["status"], "reason": row["reason"], "duration_s": row.get("seconds"),
                   "ran": row.get("ran") and from_plain(Ran, row["ran"], what="row"),
                   "build": row.get("build") and from_plain(Build, row["build"], what="row")}
    if task == "measure" and rounds > 1:
        about |= {"round": row["round"], "rounds": rounds}
    if task == "predict" and row["status"] == "ok":
        about["accuracy"] = {key: row[key] for key in ("metric", "samples", "right", "top5", "against_fp32")
                             if key in row}
    if task == "scenario" and row["status"] == "ok":
        about["scenario"] = {key: value for key, value in row.items() if key not in (
            "engine", "precision", "scenario", "status", "reason", "ran")}
    if "measured" in row:
        about |= speed_of(results, row, job.batch)
    return record_with(results, job, f"{job.id}.{number}", **about)


def speed_of(results: Results, row: Json, batch: int) -> Json:
    """Return the fields of a record that a row of speed fills."""
    windows: tuple[Window, ...] = tuple(windows_of(row, batch))
    cores = disturbance.cores(results.system)
    good = [window for window in windows if not disturbance.disturbance(window, cores)]
    disturbed = 2 * len(good) < len(windows)
    measured = {key: value for key, value in row["measured"].items() if key != "windows"}
    return {"measured": from_plain(Measured, {**measured, "windows": []}, what="row"), "windows": windows,
            "disturbed": disturbed, "throughput": Throughput.of(windows if disturbed else good),
            "startup": {**row["startup"], "first run": row["measured"]["first_run"]},
            "settings": Choices.of(row.get("settings", {})), "environment": row.get("versions", {}),
            "peak_bytes": row.get("peak_bytes"), "rss_bytes": row.get("rss_bytes"),
            "bounds": from_plain(Bounds, row["bounds"], what="bounds") if row.get("bounds") else None}


def record_with(results: Results, job: InferenceJob, name: str, **about: Any) -> InferenceRecord:
    """Return a record with what all of a summary have in common."""
    return InferenceRecord(**{
        "id": name, "run": results.run, "variant": f"precision={job.precision}", "started": results.started,
        "system": results.system, "job": job.to_plain(), "reproduce": job.reproduce(), "task": job.task,
        "warnings": tuple(from_plain(Caveat, one, what="caveat") for one in results.caveats),
        "network": results.network, "calibration": results.calibration, "asked": results.plan, **job.identity(),
        **about})


