"""`fvq rate`: serve the rating page, keep its raters, export the ratings."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams import parts
from streams.addresses import cannot_listen, http_address, reached_at
from streams.cli.options import JsonFlag, live, load_settings
from streams.errors import SettingsError
from streams.text import counted, printable

if TYPE_CHECKING:
    from streams.life import Life
    from streams.queue.topic import QueuePlace
    from streams.rating.export import Exported
    from streams.rating.store import RatingStore
    from streams.settings import Settings

DEFAULT_PORT = 8090
ALL_ALIKE = "ALL VOTES ALIKE"

app = typer.Typer(help="The page where people rate the clips of the training queue.")


@dataclass(frozen=True)
class PageOptions:
    """How the page asks for votes: the options of `fvq rate serve`, as its help describes them."""

    scale: str = "acr"
    pause_after: int = 40
    enlarge: int = 1
    digit_votes: bool = False


@app.callback(invoke_without_command=True)
def rate(context: typer.Context) -> None:
    """Without a command: serve the page."""
    if context.invoked_subcommand is None:
        live("rating page", lambda settings, life: run_page(settings, life, DEFAULT_PORT, PageOptions()))


@app.command("serve")
def rate_serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 takes a free one.")] = DEFAULT_PORT,
    scale: Annotated[str, typer.Option(help="acr: five levels, ITU-T P.910; slider: 0-100.")] = "acr",
    pause_after: Annotated[int, typer.Option(min=1, help="Ratings after which the page asks for a pause.")] = 40,
    enlarge: Annotated[int, typer.Option(min=1, max=8, help="Screen pixels per clip pixel: 1 shows clips at native size.")] = 1,
    digit_votes: Annotated[bool, typer.Option("--digit-votes", help="1 to 5 is the whole vote, without Enter.")] = False,
) -> None:
    """Serve the page at FVQ_RATE_HOST until told to stop."""
    options = PageOptions(scale, pause_after, enlarge, digit_votes)
    live("rating page", lambda settings, life: run_page(settings, life, port, options))


@app.command("add")
def rate_add(
    name: Annotated[str, typer.Argument(help="The rater.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page, for the link.")] = DEFAULT_PORT,
) -> None:
    """Add a rater; prints their token and link, which are shown this once."""
    from streams.rating.store import RatingStore

    settings = load_settings()
    if not name:
        raise SettingsError("NAME", "is empty: name the rater")
    token = RatingStore(settings.data_dir).add_rater(name)
    address = settings.rate_url or http_address(reached_at(settings.host_of("rate")), port)
    print(f"token  {token}\nlink   {address}/#token={token}")


@app.command("ls")
def rate_ls(as_json: JsonFlag = False) -> None:
    """List the raters, the number of their ratings, and how they vote."""
    from streams.rating.mos import judge
    from streams.rating.store import RatingStore

    store = RatingStore(load_settings().data_dir)
    judged = judge(store.ratings(), ())[1]
    reports = {report.rater: asdict(report) for report in judged}
    alike = {report.rater for report in judged if report.all_alike}
    rows = [
        {"name": rater.name, "active": rater.active, "created": rater.created, "ratings": count, "votes": reports.get(rater.name)}
        for rater, count in store.raters()
    ]
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print("no raters yet; add one: fvq rate add NAME", file=sys.stderr)
    for row in rows:
        remarks = ("" if row["active"] else "  (removed)") + (f"  {ALL_ALIKE}" if row["name"] in alike else "")
        print(f"{printable(str(row['name']))}  {counted(int(str(row['ratings'])), 'rating')}  since {row['created']}{remarks}")


@app.command("rm")
def rate_rm(
    name: Annotated[str, typer.Argument(help="The rater.")],
    ratings: Annotated[bool, typer.Option("--ratings", help="Also delete all that they rated.")] = False,
) -> None:
    """End a rater's token; their ratings stay."""
    from streams.rating.store import RatingStore

    RatingStore(load_settings().data_dir).remove_rater(name, ratings)


@app.command("forget")
def rate_forget(stream: Annotated[str, typer.Argument(help="The stream's id.")]) -> None:
    """Delete a stream's clips and ratings from the page's data; `fvq queue rm` deletes them from the queue and the store."""
    print(f"{counted(parts.rating_data(load_settings()).forget_stream(stream), 'clip')} deleted", file=sys.stderr)


@app.command("export")
def rate_export(
    out: Annotated[Path, typer.Argument(help="The CSV: path, stream_id, mos, ci, ratings, example_id, factor.")],
    least: Annotated[int, typer.Option("--min-ratings", min=1, help="Clips with fewer ratings are left out.")] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Write the rated clips that are on the queue, with MOS and interval, as the CSV that `fvq train` reads."""
    from streams.privacy.exports import kept_words, note_export
    from streams.rating.export import export, read_queue
    from streams.rating.store import RatingStore

    settings = load_settings()
    store, queue = RatingStore(settings.data_dir), parts.queue(settings)
    examples = read_queue(store, queue)  # before the export is noted: the sweep deletes what is
    note_export(settings.data_dir, "ratings", out, time.time())
    print(kept_words(settings.export_days), file=sys.stderr)
    exported = export(store, examples, queue.store.read, out, least)
    if as_json:
        print(json.dumps(asdict(exported)))
    else:
        print("\n".join(lines_of(exported)))
    check_some(exported, out, len(examples), queue, store)


def run_page(settings: Settings, life: Life, port: int, options: PageOptions) -> None:
    """Serve the rating page until the process is told to stop, of which `life` tells.

    Raises `SettingsError` where it cannot listen, and `BrokerError` where the queue cannot be read.
    """
    import asyncio

    from scorer.sampling import SamplerPool
    from scorer.spec import SamplerSpec
    from streams.connections import SHUTDOWN_SECONDS, serve
    from streams.rating.playable import PlayableClips
    from streams.rating.server import RatingPage, make_app
    from streams.rating.store import RatingStore

    if options.scale not in ("acr", "slider"):
        raise SettingsError("--scale", f"{options.scale!r} is none of acr, slider")
    if options.digit_votes and options.scale != "acr":
        raise SettingsError("--digit-votes", "is for --scale acr: one digit cannot set the slider")
    life.starts()
    store, queue = RatingStore(settings.data_dir), parts.queue(settings)
    # Clips come from outside: what they hold is looked at in a child process.
    with SamplerPool(SamplerSpec(), 1, settings.sample_timeout, settings.sample_memory_mb) as pool:
        clips = PlayableClips(
            settings.data_dir / "rating",
            queue.store.read,
            lambda path: pool.probe(path).result(),
            memory_mb=settings.sample_memory_mb,
            max_mb=settings.fetch_max_mb,
        )
        page = RatingPage(
            store,
            clips,
            queue.read,
            "acr" if options.scale == "acr" else "slider",
            options.pause_after,
            enlarge=options.enlarge,
            digit_votes=options.digit_votes,
            url=settings.rate_url,
        )
        count = page.refresh()
        life.tell(f"{counted(count, 'clip')} on the queue")
        if not count:
            life.tell(f"none in {queue.shown}")
        if not any(rater.active for rater, _ in store.raters()):
            life.tell("no raters yet, and nobody can sign in; add one: fvq rate add NAME")
        if settings.rate_url:
            life.tell(f"raters reach it at {settings.rate_url}")

        def ready(address: str) -> None:
            life.tell(f"Running on {address}")

        host = settings.host_of("rate")
        try:
            asyncio.run(serve(make_app(page), host, port, ready, lambda number: life.stops(number, SHUTDOWN_SECONDS)))
        except OSError as error:
            raise SettingsError("FVQ_RATE_HOST, --port", cannot_listen(host, port, error)) from error


def check_some(exported: Exported, out: Path, waiting: int, queue: QueuePlace, store: RatingStore) -> None:
    """Raise ValueError that says what there is, and where, where an export has no clip. waiting: clips on the queue."""
    if not exported.clips:
        there = f"{counted(waiting, 'clip waits', 'clips wait')} in {queue.shown}"
        rated = f"{counted(len(store.ratings()), 'rating')} in {store.path}"
        raise ValueError(f"{out}: no rated clip is on the queue; the file has only its header. {there}; {rated}")


def lines_of(exported: Exported) -> list[str]:
    """What an export tells people: how each rater voted, what was left out and why, and the number of clips."""
    lines = []
    for rater in exported.raters:
        own = "" if rater.self_difference is None else f", repeats differ by {rater.self_difference:.1f}"
        verdict = f"LEFT OUT: {rater.above} votes far above and {rater.below} far below the others'" if rater.rejected else "kept"
        own += f", {ALL_ALIKE}" if rater.all_alike else ""
        mean = f"{rater.bias:+.1f} against the mean"
        lines.append(f"{printable(rater.rater)}: {counted(rater.clips, 'clip')}, {mean}{own}; {verdict}")
    lines += [f"left out {printable(example_id[:12])}: {printable(reason)}" for example_id, reason in exported.left_out]
    if exported.gone:
        gone = counted(exported.gone, "rated clip that is", "rated clips that are")
        lines.append(f"left out {gone} not on the queue any more")
    return [*lines, f"{counted(exported.clips, 'clip')} exported"]
