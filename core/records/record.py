"""The envelope of a record: what a job of any kind leaves behind. A kind's own record adds its fields to it.

Records hold raw values with units and where they come from; ``json_schema`` of a record's class is its JSON Schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from dlcompare.core.errors import UsageError
from dlcompare.core.meters.meter import Metered
from dlcompare.core.typed_json import from_plain, to_plain

from . import stats
from .caveat import Caveat
from .choices import Choices
from .energy import Span, Spent, spent
from .host import Host, host

SCHEMA = 2
SAMPLES = "samples/s"
NONE = Choices()
NOT_KEPT = "not kept"  # the caveat of a record, or of what goes with it, that could not be written
Json = dict[str, Any]
R = TypeVar("R", bound="Record")


@dataclass(frozen=True, kw_only=True)
class Window:
    """One timed window, raw. ``seconds`` are by rank, ``samples`` those of all ranks, ``step`` the last step's index.

    ``feed_seconds``: the main loop's waiting for input; ``foreign_cores``: what others used meanwhile, on average;
    ``throttled``: how often the clock was slowed; ``paused``: seconds that a rank stood still, or the machine slept;
    ``clock``: when it began, in seconds of the monotonic clock that all processes of the machine share; ``joules`` by
    what a counter covers, ``counted`` what other counters grew by, by ``Quantity.key``; ``waiting_cores``: what jobs
    used on average that waited for their turn, where some did; ``discarded``: why the window is in no statistic, None
    if it is.
    """

    steps: int
    samples: int
    seconds: tuple[float, ...]
    started: float  # unix time
    step: int | None = None
    loss: float | None = None
    feed_seconds: float | None = None
    foreign_cores: float | None = None
    throttled: int | None = None
    paused: float | None = None
    clock: float | None = None
    joules: dict[str, float] = field(default_factory=dict)
    waiting_cores: float | None = None
    counted: dict[str, float] = field(default_factory=dict)
    discarded: Caveat | None = None

    json_rules: ClassVar[Json] = {"properties": {
        "steps": {"minimum": 1}, "samples": {"minimum": 1}, "step": {"minimum": 0}, "feed_seconds": {"minimum": 0},
        "seconds": {"minItems": 1, "items": {"type": "number", "exclusiveMinimum": 0}}, "foreign_cores": {"minimum": 0},
        "paused": {"minimum": 0}, "waiting_cores": {"minimum": 0},
        "joules": {"additionalProperties": {"minimum": 0}}, "counted": {"additionalProperties": {"minimum": 0}},
    }}

    @property
    def rate(self) -> float:
        """Return samples per second, over the slowest rank's time."""
        return self.samples / max(self.seconds)


@dataclass(frozen=True)
class Throughput:
    """Median over windows and the 95 % bootstrap interval of that median; no interval from a single window."""

    value: float
    low: float | None
    high: float | None
    unit: str = SAMPLES

    @classmethod
    def of(cls, windows: Sequence[Window], unit: str = SAMPLES) -> Throughput:
        """Return the throughput of windows that count, at least one."""
        rates = [window.rate for window in windows]
        low, high = stats.bootstrap_interval(rates) if len(rates) > 1 else (None, None)
        return cls(stats.median(rates), low, high, unit)


def spans(windows: Sequence[Window]) -> list[Span]:
    """Return windows as their energy is asked of them."""
    return [Span(one.clock, max(one.seconds), one.samples, one.joules) for one in windows]


@dataclass(frozen=True)
class Proved:
    """A network of a record that has several, and the certificate that speaks for it, in short."""

    network: str
    verified: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One job's outcome. Whatever a refused or failed job could not know is None or empty.

    ``framework`` is the framework or engine that ran it. ``variant`` is what was otherwise for this side of the
    comparison than for the rest, "" if nothing was; ``point`` are the values of what was swept, by setting; ``round``
    counts from 0, None where jobs ran once; ``rounds`` is how many were planned, None where they went on until all was
    decided; records with the same ``turns`` had their windows in turn, the first of each before the second of any;
    None: with nobody. ``startup`` are seconds by phase, slowest rank; ``peak_bytes`` device and ``rss_bytes`` host
    memory, largest rank; ``discarded`` says what was run but is in no statistic; ``disturbed``: too few windows were
    undisturbed, so the statistics are of all of them and no verdict may rest on them; ``environment`` are versions,
    ``settings`` every choice that could differ between runs; ``meters`` what was read by which, ``devices`` by rank the
    scopes of theirs that it computed on, ``energy`` what that amounts to, ``host`` what it says of cores, storage and
    network; ``apart`` windows in which meters that disturb were read, in no statistic of speed; ``cool_down`` seconds
    that all rested before; ``verified`` the certificate that speaks for its arithmetic, in short, and
    ``verified_before``, if there is none, one of the same job under other source of dlcompare.
    """

    schema: int = SCHEMA
    kind: str = ""
    status: str  # ok | refused | failed
    reason: str | None = None
    id: str
    run: str
    variant: str = ""
    point: dict[str, Any] = field(default_factory=dict)
    round: int | None = None
    rounds: int | None = None
    turns: str | None = None
    started: str  # ISO 8601, UTC
    duration_s: float | None = None
    framework: str
    model: str = ""
    dataset: str = ""
    image_size: int | None = None
    device: str = "cpu"
    precision: str = ""
    workers: int = 1
    batch_per_worker: int = 1
    global_batch: int = 1
    throughput: Throughput | None = None
    windows: tuple[Window, ...] = ()
    discarded: tuple[Caveat, ...] = ()
    disturbed: bool = False
    warnings: tuple[Caveat, ...] = ()
    startup: dict[str, float] = field(default_factory=dict)
    peak_bytes: int | None = None
    rss_bytes: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    settings: Choices = NONE
    system: dict[str, Any] = field(default_factory=dict)
    meters: tuple[Metered, ...] = ()
    devices: tuple[tuple[str, ...], ...] = ()
    energy: tuple[Spent, ...] = ()
    cool_down: float | None = None
    host: Host | None = None
    apart: tuple[Window, ...] = ()
    log: str | None = None
    verified: dict[str, Any] | None = None
    verified_before: dict[str, Any] | None = None
    job: dict[str, Any]
    reproduce: str

    json_rules: ClassVar[Json] = {
        "properties": {
            "schema": {"const": SCHEMA}, "status": {"enum": ["ok", "refused", "failed"]},
            "started": {"pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$"}, "duration_s": {"minimum": 0},
            "round": {"minimum": 0}, "rounds": {"minimum": 2}, "image_size": {"minimum": 1}, "workers": {"minimum": 1},
            "batch_per_worker": {"minimum": 1}, "global_batch": {"minimum": 1},
        },
        "if": {"properties": {"status": {"const": "ok"}}},
        "then": {"properties": {"reason": {"type": "null"}}},
        "else": {"properties": {"reason": {"type": "string", "minLength": 1}, "throughput": {"type": "null"}}},
    }
    unit: ClassVar[str] = SAMPLES  # of the throughput; whatever a window's ``samples`` are, in a second
    scale: ClassVar[tuple[float, str] | None] = None  # what people are shown it in instead, and how much that is
    over: ClassVar[str] = "all workers together, median over windows with its 95 % bootstrap interval"
    sample: ClassVar[str] = "sample"  # what its energy is told of
    scales: ClassVar[bool] = True  # whether n times the threads or workers would ideally give n times as much
    provable: ClassVar[bool] = False  # whether a certificate can speak for its arithmetic
    old: ClassVar[tuple[int, ...]] = ()  # schemas before this one that upgraded() understands

    @property
    def name(self) -> str:
        """Return what tables call this side of the comparison."""
        return ":".join(part for part in (self.framework, self.variant) if part)

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the networks whose certificates speak for the arithmetic of this record."""
        return (self.model,)

    @property
    def proved(self) -> tuple[Proved, ...]:
        """Return, of several networks, those for which a certificate speaks; a kind that has them has this field."""
        return ()

    @property
    def conditions(self) -> str:
        """Return in what arithmetic, and on how many workers with which batch, it was made, as headings say it."""
        many = f"{self.workers} worker{'s' * (self.workers > 1)} x batch {self.batch_per_worker}"
        return f"{self.precision}, {many}"

    @property
    def group(self) -> tuple[Any, ...]:
        """Return what two records must share for the ratio of their throughputs to mean something."""
        return (self.kind, self.model, self.image_size, *self.point.items())

    @property
    def shown(self) -> tuple[float, str]:
        """Return the unit in which people are shown throughputs, and how many of its own unit that is."""
        return self.scale or (1.0, self.unit)

    @property
    def kept(self) -> bool:
        """Return whether the record, and what was to be kept with it, was written down."""
        return not any(caveat.kind == NOT_KEPT for caveat in self.warnings)

    def shared(self) -> dict[str, str | None]:
        """Return what records that stand side by side should have in common: hashes, by what people call them."""
        return {}

    def losses(self) -> dict[int, float | None]:
        """Return the loss by optimiser step, where there is one."""
        return {}

    def moved_by_rounding(self) -> dict[int, float]:
        """Return how far rounding alone moved the loss, by optimiser step, where that was tried."""
        return {}

    def derived(self, windows: Sequence[Window]) -> dict[str, Any]:
        """Return the fields that follow from others, computed anew; ``windows`` are those that count, maybe none."""
        return {"throughput": Throughput.of(windows, self.unit) if windows else None,
                "energy": spent(self.meters, self.devices, spans(windows)),
                "host": host(self.meters, windows, self.apart)}

    def metered(self, windows: Sequence[Window]) -> tuple[list[Span], Sequence[Spent]]:
        """Return the windows that meters are asked of, where ``windows`` count, and what was spent in them."""
        return spans(windows), self.energy

    def samples_of(self, window: Window) -> int:
        """Return how many samples a window's steps are, if the record knows without the window."""
        return window.samples

    def doubts(self, windows: Sequence[Window]) -> tuple[Caveat, ...]:
        """Return the caveats that a record of this kind is given for the windows that count."""
        return ()

    def refutation(self) -> str | None:
        """Return why a record of this kind cannot be of a job that ended well; None if it can."""
        return None

    def phases(self) -> dict[str, float]:
        """Return the seconds of each phase until the job was at speed."""
        return dict(self.startup)

    def to_dict(self) -> Json:
        """Return what JSON can hold: lists and dicts, and None for every number that is not finite.

        Paths of the run's own files are relative to its folder, which others have elsewhere.
        """
        found: Json = to_plain(self)
        head, run, _ = self.log.rpartition(f"/{self.run}/") if self.log and self.log.startswith("/") else ("", "", "")
        own = {name: found[name].replace(f"{head}{run}", "") for name in ("log", "reason") if head and found[name]}
        return found | own

    def to_json(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_dict(cls: type[R], data: Mapping[str, Any]) -> R:
        """Return the record of an object that :meth:`to_dict` made, now or in an earlier schema of its kind.

        Raises:
            UsageError: a schema that is not known, an unknown key (the known ones are listed), or a missing one.
        """
        if not isinstance(data, Mapping):
            raise UsageError(f"a record must be an object, and this is {str(data)[:40]!r}")
        schema = data.get("schema", SCHEMA)
        if schema in cls.old:
            return from_plain(cls, cls.upgraded(data), what="record")
        if schema != SCHEMA:
            raise UsageError(f"the record has schema {schema!r}, but this dlcompare reads schema "
                             f"{', '.join(map(str, (*cls.old, SCHEMA)))}; read it with the version that wrote it")
        return from_plain(cls, data, what="record")

    @classmethod
    def upgraded(cls, data: Mapping[str, Any]) -> Json:
        """Return a record of an earlier schema as one of this."""
        return dict(data)

    @classmethod
    def from_json(cls: type[R], text: str) -> R:
        """Read what :meth:`to_json` wrote; raises as :meth:`from_dict`."""
        return cls.from_dict(json.loads(text))
