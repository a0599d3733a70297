"""What the models reach on real data, by stated protocols; writes docs/RESULTS.md itself.

    python benchmarks/results.py [--data ../shared/data] [--only WORD] [--write] [--json]

Each section of the document is a protocol in words, which stands here, and figures, which a run gives.
Without `--write` the figures are printed. Sections whose data is not there are skipped: their figures in the
document stay as they are. Nothing of date or machine gets into it; a file of data is known by its hash.
"""

import argparse
import hashlib
import importlib.util
import json
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sagacity_data.importers import FORMATS, import_event_logs, import_histories
from sagacity_data.importers.reading import Hints
from sagacity_data.outcomes import OutcomeRule, parse_outcome_rule
from sagacity_data.store import DatasetStore
from sagacity_data.taxonomy import default_taxonomy
from sagacity_training.case_scores import CaseScores, Interval
from sagacity_training.ladder.season import Season, log_past
from sagacity_training.live_risk import train_live_risk
from sagacity_training.live_risk_logs import train_log_risk
from sagacity_training.live_risk_remaining import RemainingPart

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
DOCUMENT = ROOT / "docs" / "RESULTS.md"
DAY_S = 86_400.0
SEED = 0
Rows = tuple[tuple[str, str], ...]

HEAD = """# Results on real data

Written by `benchmarks/results.py`; `python benchmarks/results.py --write` measures again what is on the
machine. The data is not part of this project.

The same holds for every section about cases or runs:

- Cases are sorted by start. The last fifth is the test; everything else may use only what was known when the
  first test case started. Inside the training part, models are fitted on the first 60 %, calibrated on the
  next 20 % and chosen on the last 20 %, each slice with labels known before the next begins.
- A row is a prefix: the first 1 to 40 events of a case, strictly before its first outcome event.
- The base rate is the share of successes among the rows of the latest training slice, drawn towards that of
  the whole training part by 20 cases. A model is used only if it beats it on the slice that chooses, even at
  the low end of an interval; otherwise the answer is the base rate, and no signal is claimed.
- Figures are over test rows, unweighted. Intervals are 95 % bootstrap intervals over whole cases.
- Settings of the learners are the same for every log and were fixed before any of these test figures was
  looked at; kinds of models are chosen on inner slices only. The definition of the base rate and the window
  of rules about time were changed after figures had been seen, as protocol, not to move them.
"""


@dataclass(frozen=True)
class Measured:
    """What a run of one protocol gave."""

    data: str
    verdict: str
    rows: Rows


@dataclass(frozen=True)
class Protocol:
    """One section: its title, the protocol in words, and how it is measured (None: the data is not there)."""

    title: str
    words: str
    measure: Callable[[Path], Measured | None]


def document(told: Mapping[str, Measured]) -> str:
    """The document with these figures by title; a section without figures says so."""
    sections = [HEAD]
    for protocol in PROTOCOLS:
        lines = [f"## {protocol.title}", "", protocol.words, ""]
        if (measured := told.get(protocol.title)) is None:
            lines += ["Not measured yet.", ""]
        else:
            lines += [f"Data: {measured.data}", "", f"Verdict: {measured.verdict}", ""]
            lines += ["| figure | value |", "|---|---|"]
            lines += [f"| {name} | {value} |" for name, value in measured.rows]
            lines += [""]
        sections.append("\n".join(lines))
    return "\n".join(sections)


def figures_in(text: str) -> dict[str, Measured]:
    """The figures by title that a document holds: `document` writes them back as they were."""
    told = {}
    for part in text.split("\n## ")[1:]:
        title, _, rest = part.partition("\n")
        data, verdict = (
            re.search(r"^Data: (.*)$", rest, re.MULTILINE),
            re.search(r"^Verdict: (.*)$", rest, re.MULTILINE),
        )
        if data is not None and verdict is not None:
            rows = re.findall(r"^\| (.*) \| (.*) \|$", rest, re.MULTILINE)
            told[title] = Measured(data[1], verdict[1], tuple(rows[1:]))
    return told


def _of_log(file: str, rule: OutcomeRule, *, drop_last_s: float = 0.0) -> Callable[[Path], Measured | None]:
    """Cases of an XES log under a rule: P(success) and remaining time."""

    def measure(data: Path) -> Measured | None:
        path = data / "event_logs" / file
        if not path.is_file():
            return None
        with tempfile.TemporaryDirectory() as scratch:
            import_event_logs([path], Path(scratch, "set"), rule)
            told = train_log_risk(Path(scratch, "set"), seed=SEED, drop_last_s=drop_last_s)
        rows = _success(told.outcome.scores, signal=told.outcome.signal) + _remaining(told.remaining)
        return Measured(_named(path), told.outcome.verdict, rows)

    return measure


def _of_table(file: str, hints: Hints) -> Callable[[Path], Measured | None]:
    """Runs of a CSV log whose rows say how cases ended: live risk."""

    def measure(data: Path) -> Measured | None:
        path = data / "event_logs" / file
        if not path.is_file():
            return None
        with tempfile.TemporaryDirectory() as scratch:
            store = DatasetStore(Path(scratch, "set"))
            reader = FORMATS["csv"].reader()
            import_histories("csv", reader, [path], store, taxonomy=default_taxonomy(), hints=hints)
            told = train_live_risk(store.folder, seed=SEED)
        rows = _success(told.scores, signal=told.signal) + _remaining(told.remaining)
        if not told.signal:
            rows += (("different forecasts given to the test rows", str(len(set(told.judged[0].forecasts)))),)
        return Measured(_named(path), told.reason, rows)

    return measure


def _of_world(data: Path) -> Measured | None:
    """Live risk of the demo's logged trips."""
    del data
    with tempfile.TemporaryDirectory() as scratch:
        store = DatasetStore(scratch)
        log_past(Season(seed=5, logged=4_000, fresh=1), store, lambda _done: None)
        told = train_live_risk(scratch, seed=SEED)
    assert told.launch_auc is not None
    assert told.forward_auc is not None
    rows: tuple[tuple[str, str], ...] = (
        ("AUC of what was said at the launch, over the same rows", f"{told.launch_auc:.3f}"),
        ("AUC on rows before any undo", f"{told.forward_auc:.3f}"),
    )
    rows += _success(told.scores, signal=told.signal) + _remaining(told.remaining)
    return Measured("the world `goa`, seed 5, 4,000 trips", told.reason, rows)


def _of_failures(data: Path) -> Measured | None:
    """Failure classes of fault-injection experiments: `benchmarks/failures.py` measures them."""
    folder, script = data / "failures" / "openstack" / "DEPL", Path(__file__).with_name("failures.py")
    if not folder.is_dir() or not script.is_file():
        return None
    spec = importlib.util.spec_from_file_location("failures", script)
    assert spec is not None
    assert spec.loader is not None
    failures: Any = importlib.util.module_from_spec(spec)
    sys.modules["failures"] = failures  # Its dataclasses look themselves up.
    spec.loader.exec_module(failures)
    rows: Rows = ()
    for distance in failures.DISTANCES:
        told = failures.figures(folder, distance)
        what = "equal counts" if distance == 0 else f"counts that differ by up to {distance}, chained"
        rows += (
            (f"macro-F1, groups of {what}", f"{told.macro_f1:.3f} ({told.low:.3f} to {told.high:.3f})"),
            (f"lowest of {len(told.splits)} splits, groups of {what}", f"{told.lowest:.3f}"),
        )
    names = sorted(path for path in folder.rglob("*") if path.is_file())
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in names)).hexdigest()
    verdict = "the mean over seeded splits, with the interval of that mean"
    return Measured(f"`openstack/DEPL`, sha256 of its files `{digest[:16]}`", verdict, rows)


def _success(scores: CaseScores, *, signal: bool) -> Rows:
    return (
        ("signal", "yes" if signal else "no"),
        ("test cases", f"{scores.cases:,}"),
        ("test rows", f"{scores.rows:,}"),
        ("share of successes among test rows", f"{scores.positive_share:.3f}"),
        ("base rate", f"{scores.base_rate:.3f}"),
        ("AUC", "none: one outcome only" if scores.auc is None else _interval(scores.auc)),
        ("Brier score", f"{scores.brier:.4f}"),
        ("Brier score of the base rate", f"{scores.base_brier:.4f}"),
        ("Brier score gained", _interval(scores.brier_gain, 4)),
        ("log loss gained", _interval(scores.log_loss_gain, 4)),
        ("calibration error, ten bins", f"{scores.calibration_error:.3f}"),
    )


def _remaining(part: RemainingPart | None) -> Rows:
    if part is None or part.scores is None:
        return (("remaining time", "not judged: no case could be known to have ended before the cut"),)
    scores, unit_s, unit = part.scores, DAY_S, "days"
    if scores.mean_error_s < DAY_S:
        unit_s, unit = 1.0, "s"
    covered = ", ".join(f"{level:g}: {share:.3f}" for level, share in scores.covered)
    return (
        ("law of the remaining time", part.choice.remaining.kind.value),
        (f"error of its median, {unit}", f"{scores.error_s / unit_s:.2f}"),
        (f"error of always saying the mean, {unit}", f"{scores.mean_error_s / unit_s:.2f}"),
        ("pinball loss gained over one law of all", _interval(scores.pinball_gain, 4)),
        ("share of rows below each quantile", covered),
    )


def _interval(told: Interval, digits: int = 3) -> str:
    return f"{told.value:.{digits}f} ({told.low:.{digits}f} to {told.high:.{digits}f})"


def _named(path: Path) -> str:
    return f"`{path.name}`, sha256 `{hashlib.sha256(path.read_bytes()).hexdigest()}`"


_OFFERS = "O_ACCEPTED,O_DECLINED,O_CANCELLED"
_SEPSIS_CONTEXT = (
    "Age,Diagnose,DiagnosticArtAstrup,DiagnosticBlood,DiagnosticECG,DiagnosticIC,DiagnosticLacticAcid,"
    "DiagnosticLiquor,DiagnosticOther,DiagnosticSputum,DiagnosticUrinaryCulture,DiagnosticUrinarySediment,"
    "DiagnosticXthorax,DisfuncOrg,Hypotensie,Hypoxie,InfectionSuspected,Infusion,Oligurie,SIRSCritHeartRate,"
    "SIRSCritLeucos,SIRSCritTachypnea,SIRSCritTemperature,SIRSCriteria2OrMore"
)


def _bpic2012(success: str) -> Protocol:
    rule = parse_outcome_rule(outcome_activities=_OFFERS, success=success)
    words = (
        f"Loan applications of a bank. The last of `{_OFFERS}` decides; success is `{success}`. Cases\n"
        "without any of the three are not used. Prefixes end strictly before the first of the three."
    )
    return Protocol(f"BPIC 2012, {success}", words, _of_log("bpic2012.xes.gz", rule))


PROTOCOLS: Sequence[Protocol] = (
    *(_bpic2012(success) for success in _OFFERS.split(",")),
    Protocol(
        "Helpdesk, within 40 days",
        "Tickets. Success is an end within 40 days of the start. Cases started in the last 60 days of the\n"
        "log are left out, and so they are before each cut inside it: such a case is not known to be late.",
        _of_log(
            "helpdesk.xes.gz",
            parse_outcome_rule(success_within=40 * DAY_S),
            drop_last_s=60 * DAY_S,
        ),
    ),
    Protocol(
        "Sepsis, return to emergency",
        "Patients of a hospital. A case failed where its column `label` says `deviant`; the flags of the\n"
        "registration and the age are the run's context. Published models find no signal here.",
        _of_table(
            "sepsis_cases_1.csv.gz",
            Hints(columns={"context": _SEPSIS_CONTEXT}, failed_when=(("label", "deviant"),)),
        ),
    ),
    Protocol(
        "BPIC 2013 incidents, within 7 days",
        "Incidents of a car maker, extracted by closing date: the early ones in the log are those that took\n"
        "long, so durations and rates drift by construction. The window before each cut is 7 days.",
        _of_log("07_bpic2013_incidents.xes.gz", parse_outcome_rule(success_within=7 * DAY_S)),
    ),
    Protocol(
        "Road traffic fines, paid",
        "A hundred cases. Success is an event `Payment`: too few cases to conclude much from.",
        _of_log("roadtraffic100traces.xes", parse_outcome_rule(success_contains="Payment")),
    ),
    Protocol(
        "Receipt of building permits",
        "Runs without any word on how they ended: all count as completed, so nothing can be said of\n"
        "success, and only the remaining time is learnt.",
        _of_table("receipt.csv", Hints()),
    ),
    Protocol(
        "OpenStack, class of failure",
        "Fault-injection experiments as counts of API events; six classes. Experiments that repeat one\n"
        "another are one group, and a group is in training or in the test, whole (`benchmarks/failures.py`).",
        _of_failures,
    ),
    Protocol(
        "Live risk in the demo's world",
        "Not real data: simulated trips with outages, run under the author's plan. A row is a run after its\n"
        "launch or after the end of one of its attempts; success is COMPLETED.",
        _of_world,
    ),
)


def main() -> None:
    """Measure, then print or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--only", default="", help="sections whose title holds this word")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", action="store_true")
    said = parser.parse_args()
    told = figures_in(DOCUMENT.read_text("utf-8")) if DOCUMENT.is_file() else {}
    found = {}
    for protocol in PROTOCOLS:
        if said.only.lower() in protocol.title.lower():
            print(f"measuring {protocol.title}", file=sys.stderr)
            if (measured := protocol.measure(said.data)) is not None:
                found[protocol.title] = measured
            else:
                print("skipped: its data is not there", file=sys.stderr)
    if said.write:
        DOCUMENT.write_text(document(told | found), "utf-8")
    if said.json:
        print(json.dumps({title: dict(each.rows, verdict=each.verdict) for title, each in found.items()}))
    elif not said.write:
        print(document(found))


if __name__ == "__main__":
    main()
