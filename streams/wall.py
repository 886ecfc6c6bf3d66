"""Runs the wall: `fvq web`, a process of its own."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from scorer.sampling import SamplerPool, VideoFacts
from scorer.spec import SamplerSpec
from streams import parts
from streams.addresses import cannot_listen
from streams.alerts.policy import AlertPolicy, load_policy
from streams.alerts.watch import PolicyWatch
from streams.data_folder import make_data_folder
from streams.errors import SettingsError
from streams.events import AlertAcknowledgement
from streams.kafka.agent import STOP_SECONDS, Agent
from streams.kafka.allowed import check_rights
from streams.kafka.clients import check_broker
from streams.kafka.connection import Connection
from streams.kafka.rights import NEEDS, rights_of
from streams.life import Life
from streams.privacy.sweep import sweep_agent
from streams.queue.operator import OperatorRatings
from streams.queue.topic import QueueTopic
from streams.rating.playable import PlayableClips
from streams.settings import Settings
from streams.web.access.gate import Gate
from streams.web.api.table import Wall
from streams.web.clips import Clips
from streams.web.follow import Follower, LoopApply, write_acks
from streams.web.live import Live
from streams.web.run import serve_wall
from streams.web.server import make_app

log = logging.getLogger(__name__)

END_SECONDS = 10.0
"""Time in which the process ends when it is told to, whatever its threads wait for: a broker or a store that hangs."""


def run_wall(settings: Settings, life: Life, quiet: bool) -> None:
    """Serve the wall until SIGTERM or SIGINT. quiet: do not tell the address when it listens.

    Raises `SettingsError` or `BrokerError` where it cannot start.
    """
    life.starts()
    gate = Gate(parts.access(settings))
    make_data_folder(settings.data_dir)
    connection = parts.connection(settings)
    check_broker(connection)
    check_rights(connection, "fvq web", rights_of(NEEDS["fvq web"], settings.group, named=connection.named))
    with ExitStack() as stack:
        clips = _clips(settings, stack)
        asyncio.run(_serve(settings, connection, gate, clips, life, quiet))


async def _serve(settings: Settings, connection: Connection, gate: Gate, clips: Clips, life: Life, quiet: bool) -> None:
    live = Live(settings.wall_picture_hours * 3600)
    follower = Follower(connection, live, LoopApply(live, asyncio.get_running_loop()))

    def ready(address: str) -> None:
        if not quiet:
            life.tell(f"Running on {address}")

    def stopping(number: int) -> None:
        life.stops(number, END_SECONDS)
        _end_soon()

    async def write_ack(alert_id: str, ack: AlertAcknowledgement | None) -> None:
        await asyncio.to_thread(write_acks, connection, [(alert_id, ack)])

    history = parts.history(settings)
    ratings = OperatorRatings(
        lambda: QueueTopic(connection), parts.clip_store(settings), parts.fetch_limits(settings), settings.data_dir / "wall-inbox"
    )
    wall = Wall(live, gate, time.time, follower.reading, write_ack, history, clips, ratings.keep)
    agents = [follower.agent(), clips.agent(), sweep_agent(parts.folder_limits(settings))]
    if settings.alert_policy is not None:
        agents.append(maintenance_watch(settings.alert_policy, live, asyncio.get_running_loop()).agent())
    for agent in agents:
        agent.start()
    try:
        await serve_wall(make_app(wall), settings.host_of("wall"), settings.wall_port, ready, stopping)
    except OSError as error:
        reason = cannot_listen(settings.host_of("wall"), settings.wall_port, error)
        raise SettingsError("FVQ_WALL_HOST, FVQ_WALL_PORT", reason) from error
    finally:
        await _stop(agents)
        await history.close()


def maintenance_watch(path: Path, live: Live, loop: asyncio.AbstractEventLoop) -> PolicyWatch:
    """Follows the maintenance of an alert policy. loop: the one that the live state belongs to.

    A policy that is wrong, or is not on this machine, keeps nobody from the wall: the log says so.
    """

    def use(policy: AlertPolicy) -> str:
        loop.call_soon_threadsafe(live.works.use, policy.maintenance)
        return "the wall shows its maintenance"

    try:
        policy = load_policy(path)
    except SettingsError as error:
        log.error("no maintenance is shown until the alert policy is right: %s", error)
        policy = AlertPolicy()
    use(policy)
    # The wall tells no receiver, so their secrets may not be on this machine.
    return PolicyWatch(path, policy, use, load_policy)


async def _stop(agents: Sequence[Agent]) -> None:
    """Stop the agents. Not in this thread: an agent may be waiting for it to take a batch."""
    for agent in agents:
        agent.stop()
    for agent in agents:
        await asyncio.to_thread(agent.join, STOP_SECONDS / len(agents))


def _end_soon() -> None:
    """End this process within `END_SECONDS`."""
    timer = threading.Timer(END_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()


def _clips(settings: Settings, stack: ExitStack) -> Clips:
    """The queue's clips. The child process that looks into clips from outside starts with the first one that is shown."""
    queue = parts.queue(settings)
    pools: list[SamplerPool] = []
    turn = threading.Lock()

    def probed(path: Path) -> VideoFacts:
        with turn:
            if not pools:
                pools.append(SamplerPool(SamplerSpec(), 1, settings.sample_timeout, settings.sample_memory_mb))
                stack.callback(pools[0].close)
        return pools[0].probe(path).result()

    playable = PlayableClips(
        settings.data_dir / "wall-clips",
        queue.store.read,
        probed,
        memory_mb=settings.sample_memory_mb,
        max_mb=settings.fetch_max_mb,
    )
    return Clips(queue.read, playable.when_made, playable.keep_only)
