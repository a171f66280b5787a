"""What limits the numbers of an inference run, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dlcompare.core.records.caveat import Caveat
from dlcompare.core.reports.words import sentence

from .summary import Results, Speed, audit_of, side

NAMED = 4  # layers named in a line before the rest are only counted
WORST = 4  # tensors named of those that were measured
GAIN = {"int8": 2.0}  # times FP32 of the same engine; less is worth a word


def notes(results: Results, found: list[Speed]) -> Iterator[str]:
    """Yield in plain sentences what limits the numbers above."""
    if not results.network["trained"]:
        yield ("nobody has trained these parameters, or not all of them, so accuracy means nothing; name --weights of "
               "a whole network, or --from-run")
    if not results.accuracy and results.data.partition(":")[0] == "synthetic":
        yield "synthetic labels are drawn at random: no accuracy was measured"
    yield from (sentence(Caveat(one["kind"], one["values"])) for one in results.caveats)
    seen: set[str] = set()
    for row in [*results.accuracy, *results.cells, *results.scenarios]:
        for line in about_row(row, deviates=bool(audit_of(results, row["engine"], row["precision"]).get("deviates"))):
            said = line.partition(" (log:")[0]
            if said not in seen:
                seen.add(said)
                yield line
    made = results.calibration or {}
    if unjudged := (made.get("judged") or {}).get("reason"):
        yield f"no calibration rule could be judged, so {made['rule']} was taken: {unjudged}"
    yield from kernels(results)
    for engine, seen_layers in made.get("layers", {}).items():
        if seen_layers["reason"]:
            yield f"{engine}'s layers could not be looked at: {seen_layers['reason']}"
    yield from sensitive_tensors(results)
    yield from saturation(results)
    for search in results.searches:
        yield from searched(search)
    for line in made.get("objections", []):
        yield f"TensorRT's rules object to the INT8 file: {line}"
    yield from about_speed(found)


def about_speed(found: list[Speed]) -> Iterator[str]:
    """Yield which speeds were disturbed, and which gains of the others are too small for what was done."""
    base = {(one.engine, one.batch, one.threads): one for one in found if one.precision == "fp32"}
    if busy := "; ".join(f"{one.engine} {side(one)}" for one in found if one.disturbed):
        yield f"the machine was busy with something else, so these speeds mean little: {busy}"
    for one in found:
        fp32 = base.get((one.engine, one.batch, one.threads))
        if fp32 and not one.disturbed and not fp32.disturbed:
            gain = one.throughput / fp32.throughput
            if gain < GAIN.get(one.precision, 0):
                yield (f"{one.engine} {one.precision} at batch {one.batch} is only {gain:.2f} times its FP32: INT8 "
                       "pays with unsigned activations (U8S8), all layers quantised and instructions for it "
                       "(AVX512-VNNI, AMX) in the CPU; layers of small images have little to gain")
        if one.left_out:
            yield f"{one.engine} {one.precision} at batch {one.batch}: {one.left_out} disturbed windows were left out"


def sensitive_tensors(results: Results) -> Iterator[str]:
    """Yield which tensors eight bits hurt most, where the accuracy floor was not surely held."""
    verdicts = [found["floor"]["verdict"] for row in results.accuracy
                if (found := row.get("against_fp32")) and found["floor"] and row["precision"] == "int8"
                and not audit_of(results, row["engine"], "int8").get("deviates")]
    if results.calibration and set(verdicts) - {"pass"}:
        worst = ", ".join(f"{name} ({error:.2g})" for name, error in results.calibration["most_sensitive"].items())
        repair = "" if results.searches else "; --search looks for a way to hold the floor"
        yield f"eight bits hurt these tensors most (mean error of a channel, relative to it): {worst}{repair}"


def searched(search: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a search measured of tensors, and whether its choice is computed as its file says."""
    if worst := search.get("sensitivity", [])[:WORST]:
        yield (f"signal to noise of {search['engine']}'s logits where one of these tensors alone takes eight bits, "
               f"worst first: {', '.join(map(sensitive, worst))}")
    if search.get("audit", {}).get("deviates"):
        yield (f"{search['engine']}'s INT8 kernels deviate from the arithmetic of the file that the search chose, so "
               "what it found is these kernels' accuracy on this device")


def sensitive(one: Mapping[str, Any]) -> str:
    """Return what eight bits cost an activation, or the weights of a layer."""
    if one.get("weights"):
        return f"the weights that make {one['weights']} {signal(one['sqnr_db'])}"
    return (f"{one['tensor']} {signal(one['sqnr_db'])} (rounding {signal(one['rounding_db'])}, clipping "
            f"{signal(one['clipping_db'])})")


def kernels(results: Results) -> Iterator[str]:
    """Yield which engines compute an INT8 file otherwise than it says, and which were not audited."""
    for engine, found in (results.calibration or {}).get("audit", {}).items():
        if found["reason"]:
            yield f"{engine}'s INT8 kernels were not held against the file's arithmetic: {found['reason']}"
        elif found["deviates"]:
            where = (f", from the layer {found['layer']} on ({found['steps']:.1f} steps of eight bits away)"
                     if found["layer"] else "")
            bits = (results.calibration or {})["weights"].get(engine, {}).get("bits")
            advice = "; leave --weight-bits to auto, or use 7" if bits == 8 else ""
            yield (f"{engine}'s INT8 kernels deviate from the file's arithmetic on this device (saturation is the "
                   f"usual cause){where}: {signal(found['sqnr_db'])} of the logits where exact arithmetic of the very "
                   f"same file gives {signal(found['exact_db'])}, over {found['samples']} samples. What its INT8 loses "
                   f"is not the file's fault{advice}{floor_of_kernels(results, engine, found)}")


def floor_of_kernels(results: Results, engine: str, audit: Mapping[str, Any]) -> str:
    """Return what became of an accuracy floor under kernels that deviate, beside what exact arithmetic answers."""
    floors = (row["against_fp32"]["floor"] for row in results.accuracy if row["engine"] == engine
              and row["precision"] == "int8" and row.get("against_fp32"))
    floor = next(floors, None)
    if not floor:
        return ""
    return (f". The floor of {floor['floor']:g} is judged by what these kernels answer: {floor['verdict']}; FP32's "
            f"answer is given for {100 * audit['agreement']:.2f} % of those samples, by exact arithmetic for "
            f"{100 * audit['exact_agreement']:.2f} %")


def signal(ratio: float | None) -> str:
    return "no noise" if ratio is None else f"{ratio:.1f} dB"


def saturation(results: Results) -> Iterator[str]:
    """Yield which engines' weights take fewer bits, and why."""
    for engine, found in (results.calibration or {}).get("weights", {}).items():
        bits = found["bits"]
        if found["saturating"]:
            seen = ", ".join(f"{100 * share:.0f} % in {layer}" for layer, share in found["saturating"].items())
            yield (f"{engine} adds INT8 products in 16 bits on this machine, where they saturate (a probe came to part "
                   f"of the exact sum: {seen}); its INT8 weights take {bits} bits, with which they do not"
                   f"{price(found)}")
        elif found["reason"] and bits < 8:
            yield (f"whether {engine}'s INT8 products saturate on this machine is not known, so its INT8 weights take "
                   f"{bits} bits, with which they do not; the probe failed: {found['reason']}")


def price(found: Mapping[str, Any]) -> str:
    """Return what fewer bits cost, if that is known."""
    if "cost" not in found:
        return ""
    said = " and ".join(f"{signal(ratio)} with {bits}" for bits, ratio in found["cost"].items())
    return f"; in exact arithmetic the logits have {said}"


def about_row(row: Mapping[str, Any], *, deviates: bool) -> Iterator[str]:
    """Yield what a row says of itself: why it is not there, which layers stayed, which classes suffered, unless that
    is the kernels' doing."""
    name = f"{row['engine']} {row['precision']}"
    if row["status"] != "ok":
        yield f"{name} {row['status']}: {row['reason']}"
        return
    if (said := row.get("ran") or {}) and said["precision"] != row["precision"]:
        yield f"{name} was asked for, but the engine ran {said['precision']}"
    if left := said.get("left"):
        more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
        yield f"{name}: not in {row['precision']}: {', '.join(left[:NAMED])}{more}"
    for one in (row.get("against_fp32") or {}).get("worst", [])[:0 if deviates else 1]:
        yield f"{name}: class {one['class']} lost most, {one['before']} to {one['after']} right of {one['samples']}"
