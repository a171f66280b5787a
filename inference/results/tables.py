"""Inference shown to people: tables of accuracy, speed, energy, cold starts, scenarios and searches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from dlcompare.core.published.tables import table as published
from dlcompare.core.reports.roofline.shares import near
from dlcompare.core.reports.roofline.shares import percent as share
from dlcompare.core.reports.sections.energy import spent_parts
from dlcompare.core.reports.sections.host import hosts
from dlcompare.core.reports.text import columns, to_text

from .remarks import notes, signal
from .summary import Results, Speed, audit_of, pixels, side, speeds, threads_of

PUBLISHED = "xu2018_table3_int8_accuracy"
SOURCE = "Xu et al. 2018, Table III: TensorRT, ImageNet, calibrated on 50 batches of 25"
Json = dict[str, Any]


def render(*runs: Results) -> str:
    """Return the tables as text as wide as the terminal; of several runs, one table of all networks comes first."""
    every: list[RenderableType] = [networks(runs), Text("")] if len(runs) > 1 else []
    for one in runs:
        every += [*parts(one), Text("")]
    return to_text(every, columns())


def networks(runs: Sequence[Results]) -> Table:
    """Return the paper's table: a row per network and engine, INT8 beside FP32, measured beside published."""
    table = Table(title="INT8 beside FP32, measured and published", title_justify="left", box=None, pad_edge=False,
                  header_style="bold", caption=f"published: {SOURCE}", caption_justify="left")
    table.add_column("network\ndata", overflow="fold")
    table.add_column("engine\nINT8 by", no_wrap=True)
    for name in ("top-1 FP32\nINT8", "points\n95 % interval", "top-5 FP32\nINT8", "published FP32\nINT8", "points"):
        table.add_column(name, justify="right", no_wrap=True)
    for results in runs:
        right = {(row["engine"], row["precision"]): row for row in results.accuracy if row["status"] == "ok"}
        known = reference(results.network["name"]) or {}
        for engine in dict.fromkeys(engine for engine, _ in right):
            fp32, int8 = right.get((engine, "fp32")), right.get((engine, "int8"))
            if fp32 and int8:
                table.add_row(f"{results.network['name']}\n{results.data}", f"{engine}\n{rule(results)}",
                              f"{percent(fp32['right'])}\n{percent(int8['right'])}",
                              points(int8["against_fp32"]["difference"]).replace(" ", "\n", 1),
                              f"{percent(fp32['top5'])}\n{percent(int8['top5'])}",
                              f"{known['fp32_top1']}\n{known['int8_top1']}" if known else "",
                              f"-{known['diff_top1']}" if known else "")
    return table


def rule(results: Results) -> str:
    """Return by which rule INT8 was calibrated, and what was done to the network first."""
    made = results.calibration
    return f"{made['rule']}{', equalised' if made['equalised'] else ''}{balanced(made)}" if made else ""


def balanced(made: Json) -> str:
    """Return whether layers' inputs were balanced with their weights; records from before that do not say."""
    return ", balanced" if made.get("balanced") else ""


def reference(network: str) -> Mapping[str, str] | None:
    """Return what is published of a network's accuracy."""
    return next((row for row in published(PUBLISHED).rows if row["model"] == network), None)


def parts(results: Results) -> Iterator[RenderableType]:
    """Yield what is printed, from top to bottom."""
    yield from heading(results)
    if results.accuracy:
        yield accuracy_table(results)
        yield from published_accuracy(results)
    found = speeds(results)
    if found:
        yield speed_table(found)
        yield from near([(one.engine, side(one), one, one.throughput) for one in found])
        yield from energies(found)
        yield from hosts([(f"{one.engine} {side(one)}:", one) for one in found])
        yield from colds(found)
    if results.scenarios:
        yield scenario_table(results)
    yield from (layer_table(engine, found) for engine, found in (results.calibration or {}).get("layers", {}).items()
                if found["rows"])
    yield from map(search_table, results.searches)
    yield from (Text(f"note: {line}") for line in notes(results, found))


def heading(results: Results) -> Iterator[Text]:
    """Yield whose network was run on what."""
    net, made = results.network, results.calibration
    yield Text(f"{net['name']}{pixels(net)}, {results.data}, {', '.join(map(str, threads_of(results)))} thread(s) on "
               f"{results.plan['device']}")
    yield Text(f"parameters: {net['origin']}")
    if net.get("preprocessing"):
        yield Text(f"images: {net['preprocessing']}")
    if made:
        yield Text(f"INT8: {rule(results)} over {len(made['samples'])} samples of the {made['split']} split of "
                   f"{made['data'] or results.data}")
        yield from rules(made.get("judged"))


def rules(judged: Json | None) -> Iterator[Text]:
    """Yield how the rules of calibration did, best first, where they were tried."""
    if judged and not judged["reason"]:
        held = "held back from calibration" if judged["held_back"] else "that also calibrated"
        found = ", ".join(f"{one['rule']}{balanced(one)} {signal(one['sqnr_db'])} and {percent(one['agreement'])}"
                          for one in judged["ranking"])
        yield Text(f"rules by logits and same answers on {judged['samples']} samples {held}, in exact arithmetic: "
                   f"{found}")


def accuracy_table(results: Results) -> Table:
    """Return accuracy by engine and precision, each INT8 beside its own engine's FP32."""
    metric = next((row["metric"] for row in results.accuracy if "metric" in row), "accuracy")
    table = Table(title="\nAccuracy", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("engine", "asked", "ran", metric, "top-5", "against FP32, points", "same answer", "logits", "floor"):
        table.add_column(name, justify="left" if name in ("engine", "asked", "ran", "floor") else "right",
                         overflow="fold")
    for row in results.accuracy:
        deviates = audit_of(results, row["engine"], row["precision"]).get("deviates")
        mark = ", kernels deviate" if deviates else ""
        *cells, floor = score_cells(row)
        table.add_row(row["engine"], row["precision"], f"{precision_cell(row.get('ran'))}{mark}", *cells,
                      f"{floor}{floor and mark}")
    return table


def score_cells(row: Mapping[str, Any]) -> list[str]:
    """Return the cells of one row of accuracy that stand after the precision."""
    if row["status"] != "ok":
        return [str(row["status"]), "", "", "", "", ""]
    cells = [percent(row["right"]), percent(row["top5"])]
    found = row.get("against_fp32")
    if not found:
        return [*cells, "", "", "", ""]
    floor = found["floor"]
    return [*cells, points(found["difference"]), percent(found["agreement"]),
            "identical" if found["sqnr_db"] is None else f"{found['sqnr_db']:.1f} dB",
            f"{floor['verdict']} (of {floor['floor']:g})" if floor else ""]


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.2f} %"


def points(difference: Mapping[str, float] | None) -> str:
    if difference is None:
        return ""
    return f"{100 * difference['value']:+.2f} [{100 * difference['low']:+.2f}, {100 * difference['high']:+.2f}]"


def precision_cell(said: Mapping[str, Any] | None) -> str:
    """Return which precision really ran, and how many layers did not."""
    if not said:
        return ""
    left = f", {len(said['left'])} of {said['layers']} layers not" if said["left"] else ""
    return f"{said['precision']}{left}"


def published_accuracy(results: Results) -> Iterator[RenderableType]:
    """Yield the published accuracy of the same network, where there is one."""
    if row := reference(results.network["name"]):
        yield Text(f"published for {row['model']} ({SOURCE}): top-1 {row['fp32_top1']} % in FP32, {row['int8_top1']} % "
                   f"in INT8, {row['diff_top1']} points apart; top-5 {row['fp32_top5']} %, {row['int8_top5']} %, "
                   f"{row['diff_top5']} points")


def speed_table(found: list[Speed]) -> Table:
    """Return throughput and latency by engine, precision and batch."""
    base = {(one.engine, one.batch, one.threads): one.throughput for one in found if one.precision == "fp32"}
    table = Table(title="\nSpeed", title_justify="left", box=None, pad_edge=False, header_style="bold")
    known = ["of peak"] if any(one.of_peak is not None for one in found) else []
    swept = ["threads"] if len({one.threads for one in found}) > 1 else []
    for name in ("engine", "precision", "batch", *swept, "samples/s", "95 % interval", *known, "x FP32", "p50 ms",
                 "p90 ms", "p99 ms"):
        table.add_column(name, justify="left" if name in ("engine", "precision") else "right")
    for one in found:
        fp32 = base.get((one.engine, one.batch, one.threads))
        interval = "" if one.low is None or one.high is None else f"[{one.low:.1f}, {one.high:.1f}]"
        latencies = (f"{1000 * seconds:.2f}" for seconds in (one.p50, one.p90, one.p99))
        table.add_row(one.engine, one.precision, str(one.batch), *(str(one.threads) for _ in swept),
                      f"{one.throughput:.1f}", interval, *(share(one.of_peak) for _ in known),
                      "" if fp32 is None else f"{one.throughput / fp32:.2f}", *latencies)
    return table


def energies(found: list[Speed]) -> Iterator[RenderableType]:
    """Yield the energy of every cell, where there is a meter."""
    yield from spent_parts([(one.engine, side(one), one.energy) for one in found], ("engine", "cell"))


def colds(found: list[Speed]) -> Iterator[Text]:
    """Yield the cold start of every engine and precision, at its smallest batch."""
    first = {(one.engine, one.precision): one for one in reversed(found)}
    yield Text("\nCold start, seconds from nothing to the first answer", style="bold")
    for (engine, precision), one in reversed(first.items()):
        phases = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in one.cold.items())
        yield Text(f"{engine} {precision}: {sum(one.cold.values()):.2f} ({phases}), batch {one.batch}")


def scenario_table(results: Results) -> Table:
    """Return MLPerf's figures by engine, precision and scenario."""
    table = Table(title="\nMLPerf's scenarios, shorter than a submission's", title_justify="left", box=None,
                  pad_edge=False, header_style="bold")
    for name in ("engine", "precision", "scenario", "figure", "generator says"):
        table.add_column(name)
    for row in results.scenarios:
        table.add_row(row["engine"], row["precision"], row["scenario"], figure(row),
                      ("valid" if row["valid"] else "invalid") if row["status"] == "ok" else row["status"])
    return table


def figure(row: Mapping[str, Any]) -> str:
    """Return the figure of a scenario in words."""
    if row["status"] != "ok":
        return ""
    if row["unit"] == "s":
        return f"{1000 * row['value']:.2f} ms, {'90th' if row['scenario'] == 'single-stream' else '99th'} percentile"
    bound = f", 99 % within {1000 * row['latency_bound']:g} ms" if "latency_bound" in row else ""
    return f"{row['value']:.1f} samples/s{bound}"


def layer_table(engine: str, made: Mapping[str, Any]) -> Table:
    """Return an engine's INT8 against FP32, layer by layer."""
    table = Table(title=f"\nLayers of {engine} in INT8 against FP32, {made['samples']} samples; all layers before one "
                  "are in INT8 too", title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name in ("layer", "makes", "signal to noise", "largest error, steps", "values out of reach"):
        table.add_column(name, justify="left" if name in ("layer", "makes") else "right", overflow="fold")
    for one in made["rows"]:
        table.add_row(one["layer"] or "output", one["tensor"], signal(one["sqnr_db"]),
                      "" if one["largest"] is None else f"{one['largest']:.1f}", percent(one["outside"]))
    return table


def search_table(search: Mapping[str, Any]) -> Table:
    """Return the candidates of a repair: accuracy against throughput."""
    table = Table(title=f"\nRepair of {search['engine']}: {search['outcome']}", title_justify="left", box=None,
                  pad_edge=False, header_style="bold")
    for name in ("kept in FP32", "layers not INT8", "multiply-adds in INT8", "accuracy", "against FP32, points",
                 "floor", "samples/s"):
        table.add_column(name, justify="right" if name != "floor" else "left")
    for one in search["candidates"]:
        table.add_row(one["name"], str(one["left"]), percent(one.get("int8_share")), percent(one["right"]),
                      points(one["against_fp32"]["difference"]), one["against_fp32"]["floor"]["verdict"],
                      f"{one['throughput']:.1f}" if one["throughput"] else "")
    return table
