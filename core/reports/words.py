"""What caveats mean, in plain sentences. A kind of measurement with caveats of its own has ``words`` for them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlcompare.core.plugins.registry import plugins
from dlcompare.core.records.caveat import Caveat

Values = Mapping[str, Any]
Words = Callable[[Values], str]


def sentence(caveat: Caveat) -> str:
    """Return a caveat in words; one that nobody has words for as its kind and values."""
    words = WORDS.get(caveat.kind) or words_of_kinds().get(caveat.kind)
    if words:
        with contextlib.suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return words(caveat.values)  # the values may be another version's, or anybody's
    return ", ".join([caveat.kind, *(f"{name} {value}" for name, value in caveat.values.items())])


def words_of_kinds() -> dict[str, Words]:
    """Return the words that kinds of measurement, those of plug-ins too, have for caveats of their own."""
    return {name: words for one in plugins().by_name("dlcompare_kinds").values() for name, words in one.words().items()}


def sentences(caveats: Sequence[Caveat]) -> list[str]:
    """Return caveats in words."""
    return [sentence(caveat) for caveat in caveats]


def likeness(caveat: Caveat) -> str:
    """Return what caveats share that say the same of other numbers: of sentences, what they say before the numbers."""
    said = str(caveat.values["text"]) if caveat.kind == "told" else ""
    return " ".join([caveat.kind, *said.partition(":")[0].split()[-3:]])


def at_worst(v: Values) -> str:
    """Return what the most disturbed of some windows suffered."""
    parts = [(v["foreign"], f"others used up to {v['foreign']:.2f} cores"),
             (v["throttled"], f"the clock was throttled {v['throttled']} times"),
             (v.get("paused"), f"it was paused for {v.get('paused', 0):.1f} s")]
    return "; ".join(said for there, said in parts if there)


def short(v: Values) -> str:
    count = v["windows"]
    return (f"short measurement: {count} window{'s' * (count != 1)} of {v['seconds']:.2f} s in all, where at least "
            f"{v['least_windows']} windows and {v['least_seconds']:g} s make an interval worth reading; "
            "raise --windows or --steps")


def weights(v: Values) -> str:
    said = {"not in the weights file, so drawn from the seed": v["drawn"],
            "in the weights file and left unread": v["unread"]}
    return "; ".join(f"{what}: {some(names)}" for what, names in said.items() if names)


def some(names: Sequence[str], most: int = 6) -> str:
    """Return names in a row, those beyond so many only counted."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def warm_up(v: Values) -> str:
    tail = ", ".join(f"{seconds:.3g}" for seconds in v["last"]) or "none"
    return (f"step time had not settled after {v['steps']} warm-up steps (the last took {tail} s); "
            "early windows may be slow")


def brief(value: Any) -> str:
    """Return a value in few letters."""
    return "nothing" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)[:80]


def skipped_samples(v: Values) -> str:
    more = f" and {v['count'] - len(v['first'])} more" if v["count"] > len(v["first"]) else ""
    return (f"{v['count']} sample{'s' * (v['count'] != 1)} that cannot be read {'were' if v['count'] != 1 else 'was'} "
            f"left out of every job: {', '.join(v['first'])}{more}")


def passed_over(v: Values) -> str:
    count = sum(v["files"].values())
    kinds = ", ".join(f"{number} {suffix or 'without a suffix'}" for suffix, number in sorted(v["files"].items()))
    return f"{count} file{'s' * (count != 1)} among the samples passed over, for they do not end as images do: {kinds}"


BOUNDS = {"arithmetic": "the matrix units", "memory traffic": "the memory", "input": "the input pipeline",
          "exchange": "handing gradients over"}  # as people say it
WORDS: dict[str, Words] = {
    "told": lambda v: str(v["text"]),
    "throttled": lambda v: f"the clock was throttled {v['times']} times",
    "paused": lambda v: f"it was paused for {v['seconds']:.1f} s: stopped, frozen or suspended",
    "foreign": lambda v: f"others used {v['cores']:.2f} cores",
    "disturbed": lambda v: (
        f"the machine was disturbed in {v['count']} of {v['windows']} windows ({at_worst(v)}), too many to leave them "
        "out: the numbers are of all windows, and no verdict rests on them; repeat this on a quiet machine"),
    "windows": lambda v: (
        f"{v['count']} of {v['windows']} windows, {v['seconds']:.2f} s: the machine was disturbed ({at_worst(v)})"),
    "warm-up steps": lambda v: f"{v['steps']} warm-up steps, {v['seconds']:.2f} s",
    "short": short,
    "spread": lambda v: (
        f"throughput varies between windows: the interquartile range is {100 * v['share']:.1f} % of the median "
        f"(above {100 * v['bound']:g} %); look for other load or take more windows"),
    "drift": lambda v: (
        f"throughput drifts: the last {v['windows']} windows are {100 * v['change']:+.1f} % against the first "
        f"{v['windows']} (beyond {100 * v['bound']:g} %); the machine may be throttling or still warming up"),
    "trend": lambda v: (
        f"throughput moves one way through all {v['windows']} windows, {100 * v['change']:+.1f} % from first to last; "
        "the machine may be throttling or still warming up"),
    "stall": lambda v: (
        f"input was too slow: in {v['stalled']} of {v['windows']} windows training waited for it more than "
        f"{100 * v['bound']:g} % of the time (up to {100 * v['worst']:.0f} %), so this is not the framework's speed "
        "alone; where images are decoded, --loaders or smaller files help"),
    "above bound": lambda v: (
        f"{100 * v['share']:.0f} % of what {BOUNDS.get(v['bound'], v['bound'])} was measured to allow: that bound is "
        "not as low as it was taken for, so measure it again on a quiet machine, or leave it out of account"),
    "warm-up": warm_up,
    "skipped samples": skipped_samples,
    "passed over": passed_over,
    "weights": weights,
    "classes": lambda v: f"the network tells {v['network']} classes apart, and the data have {v['data']}",
    "same first batch": lambda v: "several ranks read the same first batch, so the data may not be sharded",
    "crowded": lambda v: (
        f"{v['workers']} workers shared {v['cores']:g} usable cores, so each waited for the others' turns; this is "
        "not how that many machines would do"),
    "apart": lambda v: (
        f"its windows do not alternate with others', so its ratio is of whole rounds and sees less: {v['reason']}"),
    "not kept": lambda v: f"{v.get('what', 'this record')} {'are' if 'what' in v else 'is'} not kept: {v['error']}",
    "ended badly": lambda v: f"all was measured and written down before the job ended badly: {v['reason']}",
    "altered": lambda v: (
        f"{v['field']} was written as {brief(v['written'])}, and the raw values give {brief(v['recomputed'])}"),
    "unread job": lambda v: f"its job cannot be read, so nothing shows that the record is of it: {v['reason']}",
    "unproved": lambda v: f"not verified by certificate {v['certificate']}: {v['reason']}",
    "replayed meters": lambda v: "what meters tell here was answered from a recording, and is not of this machine",
    "clocks held back": lambda v: (
        f"{v['scope']}'s clocks were held back by " + ", ".join(f"{what} {100 * share:.0f} % of the time"
                                                                for what, share in v["shares"].items())),
    "meter lost": lambda v: f"the meter {v['meter']} was lost while the job ran: {v['reason']}",
    "counter unusable": lambda v: (
        f"{v['scope']}'s counter of energy stood still or began anew within a window, so it is not used"),
    "energy disagrees": lambda v: (
        f"{v['scope']}'s counter of energy tells {100 * v['share']:+.1f} % of what its power amounts to (beyond "
        f"{100 * v['bound']:g} %): one of them is wrong, so take neither for exact"),
    "part-time power": lambda v: (
        f"{v['scope']} looks at its own power {100 * v['duty']:.0f} % of the time (published for this board): what it "
        "takes in between is in no joule here; many windows of a load that does not keep step with it come near"),
    "energy short": lambda v: (
        f"no energy of {v['scope']}: its meter moves in steps, and needs windows of {v['shortest']:g} s; the longest "
        f"took {v['seconds']:.2f} s. Give more --steps"),
    "energy missing": lambda v: f"no energy of {v['scope']}: {v['reason']}",
    "devices unknown": lambda v: (
        f"no energy: rank{'s' * (len(v['ranks']) != 1)} {', '.join(map(str, v['ranks']))} cannot say on which device, "
        "and part of a total would look like the whole"),
    "devices unmetered": lambda v: (
        f"no energy: {v['missing']} of {v['devices']} devices that the job used have no meter here, and part of a "
        "total would look like the whole"),
    "part of a GPU": lambda v: (
        f"the job had a part of {', '.join(v['scopes'])} (MIG); energy and power are of all of it, whoever used the "
        "rest"),
    "hot start": lambda v: (
        f"{v['scope']} began at {v['degrees']:.0f} degC, and at {v['coolest']:.0f} degC where it was coolest in this "
        "run: heat takes power; give a --cool-down"),
    "held": lambda v: (
        f"certificate {v['certificate']} is not here: verified by what the record holds of it, the closest of "
        f"{v['checks']} checks"),
}
