"""Where an alert's problem most likely comes from: pure functions over what the state knows when it fires.

All renditions of a stream are encoded from one source. What all of them show was in the source; what one of them shows alone
was made by its encoder; where segments are missing, it is the network, or the packager. The signals that moved most against
their own usual say what it looks like.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from streams.alerts.limits import Alerts
from streams.alerts.moves import Move, moves, unlike_clean
from streams.alerts.state import SIGNALS, OpenAlert, RenditionState, StreamState, Watch
from streams.events import AlertCause, AlertKind, SignalMove
from streams.text import printable

SETTLING = timedelta(seconds=10)
"""For so long after an alert has fired, each segment of any rendition can make its cause better known."""

Where = Literal["source", "rendition", "network", "unknown"]

MOST_SIGNALS, MOST_NAMES, LONGEST_NAME = 4, 4, 40
"""Most signals in a cause, most renditions in its sentence, and most characters of a rendition's name."""

MISSING_SHARE = 0.12
"""From this share of missing segments on, the network is the cause, whatever the pictures show: one segment of 2 s is less."""

STOPPED_SECONDS = (10.0, 120.0)
"""A rendition has stopped if it is behind by the first of these, and by two of its segments: the next one comes when it is over.
It was given up before, if by the second, before the start."""

SHARED_FALL = 0.25
"""A rendition whose score fell by this share of another one's fall has the same problem."""

SHARED_MOVE = 0.4
"""A rendition one of whose signals moved by this share of another one's move has the same problem."""

LEAST_FALL = 4.0
"""A smaller fall is no fall, points."""

FROM_SOURCE = {"black", "luma", "contrast", "noise"}
"""Signals that an encoder hardly raises: where there is one rendition only, they tell that it is the source."""

SHAPES: dict[AlertKind, str] = {"black": "black", "frozen": "freeze"}
"""The signal that a kind of alert is about."""


@dataclass(frozen=True, slots=True)
class _Others:
    """The other renditions: those that have the problem too, are fine, have stopped, and have not been heard since it began."""

    bad: list[str]
    fine: list[str]
    stopped: list[str]
    unheard: list[str]


def cause_of(state: StreamState, name: str, kind: AlertKind, started_at: datetime) -> AlertCause:
    """The cause of an alert of one rendition, as far as the state knows it.

    state: with the segment that fired the alert, or with later ones. name: of the rendition, '' where it has none.
    started_at: start of the problem. It depends on nothing else, so that every worker comes to the same cause.
    """
    own = state.renditions[name]
    moved = _leading(own, kind)
    others = _compare(state, name, kind, started_at, moved)
    lost = max((state.renditions[other].missing for other in (name, *others.bad)), default=0.0)
    if kind == "silent":
        return _cause_of_no_sound(own, name, *_place(lost, name, others, moved))
    told = [f"{move.name} {_shown(move.name, move.value)}, usual {_shown(move.name, move.usual)}" for move in moved[:2]]
    signals = [SignalMove(name=move.name, value=round(move.value, 3), usual=round(move.usual, 3)) for move in moved]
    if not moved and kind not in SHAPES:
        # The stream may have been bad from its beginning on: then its own usual values say nothing.
        moved = unlike_clean(own.recent)[:MOST_SIGNALS]
        told = [_against_clean(move) for move in moved[:2]]
        signals = [SignalMove(name=move.name, value=round(move.value, 3)) for move in moved]
    where, reason = _place(lost, name, others, moved)
    if not own.usual and own.recent and kind in SHAPES:
        # The stream began like this: nobody knows what is usual for it.
        value = own.recent[SIGNALS.index(SHAPES[kind])]
        signals, told = [SignalMove(name=SHAPES[kind], value=round(value, 3))], [f"{SHAPES[kind]} {value:.2f}"]
    return AlertCause(
        where=where,
        rendition=name or None if where == "rendition" else None,
        signals=signals,
        text="; ".join([*told, reason]),
    )


def explained(state: StreamState, limits: Alerts) -> StreamState:
    """The state with the causes of its open alerts, as far as it knows them.

    An alert fires with the cause that is known then. While it settles, the segments of the other renditions can tell more; what
    they tell is sent when it resolves.
    """
    for name, rendition in state.renditions.items():
        watches = rendition.every_watch()
        settling = {
            kind: watch.open_alert
            for kind, watch in watches.items()
            # After it, the signals are those of the good stretch.
            if watch.open_alert is not None
            and watch.pending_since is None
            and _settles(watch.open_alert, rendition, kind, limits)
        }
        for kind, alert in settling.items():
            known = replace(alert, cause=cause_of(state, name, kind, alert.started_at))
            watches[kind] = replace(watches[kind], open_alert=known)
        if settling:
            state = state.with_rendition(name, rendition.watching(watches))
    return state


def _settles(alert: OpenAlert, rendition: RenditionState, kind: AlertKind, limits: Alerts) -> bool:
    """Whether the cause of an open alert may still become better known: it has none, or has not fired long ago."""
    if kind == "no-face":
        return False
    timing = getattr(limits, kind.replace("-", "_"))
    return alert.cause is None or rendition.until - alert.started_at <= timedelta(seconds=timing.minimum) + SETTLING


def _cause_of_no_sound(own: RenditionState, name: str, where: Where, reason: str) -> AlertCause:
    """The cause of an alert on the sound: of the pictures' signals none tells anything of it."""
    what = "no audio track any more" if own.sound.lost else f"silent for {own.sound.silence:.0%} of the time"
    usual = "" if own.sound.usual is None else f", usual loudness {own.sound.usual:.0f} LUFS"
    return AlertCause(
        where=where,
        rendition=name or None if where == "rendition" else None,
        signals=[SignalMove(name="silent", value=round(own.sound.silence, 3))],
        text=f"{what}{usual}; {reason}",
    )


def cause_of_silence(state: StreamState) -> AlertCause:
    """The cause of a stream's silence, where nobody knows more than that its segments do not come."""
    count = len(state.renditions)
    which = "no segments" if count < 2 else f"no segments of any of its {count} renditions"
    return AlertCause(where="network", text=f"{which}: the network, the packager, or the encoder before it")


def _leading(own: RenditionState, kind: AlertKind) -> list[Move]:
    """The signals that moved most; for a black or frozen picture, first the one that says so."""
    if kind == "silent":
        return []
    shape = SHAPES.get(kind)
    return sorted(moves(own.recent, own.usual), key=lambda move: move.name != shape)[:MOST_SIGNALS]


def _compare(state: StreamState, name: str, kind: AlertKind, started_at: datetime, moved: Sequence[Move]) -> _Others:
    own, others = state.renditions[name], _Others([], [], [], [])
    stopped, forgotten = (timedelta(seconds=seconds) for seconds in STOPPED_SECONDS)
    for other, rendition in sorted(state.renditions.items()):
        if other == name or rendition.until < started_at - forgotten:
            continue
        if kind == "silent" and not rendition.sound.heard:
            continue  # it never had sound
        if rendition.until < own.until - max(stopped, timedelta(seconds=2 * rendition.duration)):
            others.stopped.append(other)
        elif rendition.until <= started_at:
            others.unheard.append(other)
        elif _is_bad(rendition, own, kind, moved):
            others.bad.append(other)
        else:
            others.fine.append(other)
    return others


def _is_bad(other: RenditionState, own: RenditionState, kind: AlertKind, moved: Sequence[Move]) -> bool:
    """Whether another rendition has the same problem."""
    if kind == "silent" or kind in SHAPES:
        return _watched(other, kind)
    if any(_watched(other, watched) for watched in ("low-quality", "quality-drop", *SHAPES)):
        return True
    fall = _fall(other)
    if fall >= max(LEAST_FALL, SHARED_FALL * _fall(own)):
        return True
    steps = {move.name: move.steps for move in moves(other.recent, other.usual)}
    return bool(moved) and steps.get(moved[0].name, 0.0) / moved[0].steps >= SHARED_MOVE


def _watched(rendition: RenditionState, kind: AlertKind) -> bool:
    """Whether the latest segments of a rendition are bad in the eyes of one kind of alert."""
    watch = rendition.every_watch().get(kind, Watch())
    return (watch.open_alert is None) == (watch.pending_since is not None)


def _fall(rendition: RenditionState) -> float:
    """Points by which a rendition's score is under its usual score."""
    if rendition.smoothed is None or rendition.baseline is None:
        return 0.0
    return rendition.baseline - rendition.smoothed


def _place(lost: float, name: str, others: _Others, moved: Sequence[Move]) -> tuple[Where, str]:
    """Where the problem is, and the words for it. lost: share of missing segments, of the rendition that has most of them."""
    this = _named([name])
    if lost >= MISSING_SHARE:
        return "network", f"{lost:.0%} of the last segments are missing: the network or the packager"
    if others.bad and len(others.bad) >= len(others.fine):
        but = f", {_named(others.fine)} not" if others.fine else ""
        return "source", f"{_named(others.bad)} as well{but}: the source"
    if others.fine:
        also = f", {_named(others.bad)} not" if others.bad else ""
        are = "is" if len(others.fine) == 1 else "are"
        return "rendition", f"{_named(others.fine)} {are} fine{also}: the transcoder of {this}"
    if others.stopped:
        return "network", f"{_named(others.stopped)} sent nothing any more: the network or the packager"
    if others.unheard:
        return "unknown", f"nothing is known yet of {_named(others.unheard)} at that time"
    if moved and moved[0].name in FROM_SOURCE:
        return "source", "there is no other rendition; light and noise come from the source"
    return "unknown", "there is no other rendition to compare with"


def _named(names: Sequence[str]) -> str:
    """Renditions by name, as `720p and 480p`."""
    shown = [printable(name)[:LONGEST_NAME] or "the unnamed rendition" for name in names[:MOST_NAMES]]
    if len(names) > MOST_NAMES:
        shown.append(f"{len(names) - MOST_NAMES} more")
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _against_clean(move: Move) -> str:
    """A signal against the limit of clean pictures."""
    limit = "at most" if move.steps > 0 else "at least"
    return f"{move.name} {_shown(move.name, move.value)}, clean pictures have {limit} {_shown(move.name, move.usual)}"


def _shown(signal: str, value: float) -> str:
    """A signal's value with as many digits as people can see a difference in."""
    return f"{value:.0f}" if signal in ("luma", "contrast") else f"{value:.1f}" if signal == "noise" else f"{value:.2f}"
