"""`fvq plan`: how many workers, scorers, partitions and how much traffic a number of streams needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, load_settings
from streams.errors import SettingsError

if TYPE_CHECKING:
    from streams.plan.costs import StageCosts
    from streams.settings import Settings

FULL_SHARE = 0.1
"""Of segments, with glances: steady streams have 4 %, those with an open alert all (docs/tiers.md)."""


def plan(
    streams: Annotated[int, typer.Option(min=1, max=10_000_000, help="Live streams.")],
    segment_seconds: Annotated[float, typer.Option(min=0.2, max=3600, help="Length of a segment, seconds.")] = 2.0,
    height: Annotated[int, typer.Option(min=16, max=8640, help="Height of the pictures.")] = 720,
    aligned: Annotated[
        bool, typer.Option("--aligned/--spread", help="Whether all streams' segments end together, as of one packager.")
    ] = True,
    served: Annotated[bool, typer.Option(help="The model is in scorers of its own, not in the workers.")] = False,
    deep_share: Annotated[float, typer.Option(min=0, max=1, help="Share of segments that the large model scores too.")] = 0.0,
    full_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of segments that get a full look; the others get a glance, as with FVQ_TIERS. "
            "[default: 1, or a tenth where FVQ_TIERS is on]",
        ),
    ] = None,
    measure: Annotated[bool, typer.Option(help="Measure the costs on this machine first; a minute or two.")] = False,
    source: Annotated[
        list[Path] | None, typer.Option(help="With --measure: a clip as your streams are; may be repeated, one for each height.")
    ] = None,
    costs: Annotated[Path | None, typer.Option(help="Take the costs from a file that --save wrote.")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the costs to a JSON file for --costs.")] = None,
    utilisation: Annotated[float, typer.Option(min=0.05, max=0.95, help="Target load of every part.")] = 0.8,
    worker_cores: Annotated[int, typer.Option(min=1, max=256, help="Cores of one worker.")] = 8,
    as_json: JsonFlag = False,
) -> None:
    """How many machines a number of streams needs, the lag that they get, and what breaks first."""
    from streams.plan.plan import Demand, Limits, plan
    from streams.plan.view import as_json as json_of
    from streams.plan.view import print_plan

    settings = load_settings()
    stage_costs, origin = _costs(settings, measure, source or [], costs)
    if save is not None:
        save.write_text(stage_costs.to_json())
    limits = Limits(
        utilisation=utilisation,
        worker_cores=worker_cores,
        batch_size=settings.batch_size,
        batch_wait=settings.batch_wait,
        live_window=settings.live_window,
        outage=settings.session_timeout + 5,
    )
    if full_share is None:
        full_share = FULL_SHARE if settings.tiers == "on" else 1.0
    result = plan(Demand(streams, segment_seconds, height, deep_share, aligned, served, full_share), stage_costs, limits)
    if as_json:
        print(json.dumps(json_of(result, stage_costs, origin)))
    else:
        print_plan(result, stage_costs, origin, sys.stdout)


def _costs(settings: Settings, measured: bool, sources: list[Path], file: Path | None) -> tuple[StageCosts, str]:
    """The costs of the stages, and where they are from."""
    from streams.plan.costs import SHIPPED, read_costs

    if measured and file is not None:
        raise SettingsError("--costs", "cannot be given with --measure: measure, or take the costs from a file")
    if sources and not measured:
        raise SettingsError("--source", "is only used with --measure")
    if not measured:
        costs = read_costs(file or SHIPPED)
        whose = f"of {file}" if file else "NOT OF YOUR MACHINE (--measure measures them), but shipped"
        return costs, f"{whose}; {costs.machine}, {costs.measured}"
    try:
        from streams.plan.measure import Measured, measure
    except ImportError as error:
        raise SettingsError("--measure", f"{error.name} is not installed: pip install 'fvq-monitor[serve]'") from error
    options = Measured(settings.model, parts.registry(settings), settings.sample_memory_mb)
    costs = measure(sources, options, lambda text: print(f"fvq: {text}", file=sys.stderr, flush=True))
    return costs, f"measured here and now; {costs.machine}"
