"""The route by which a person rates a segment."""

from __future__ import annotations

from datetime import UTC, datetime

from aiohttp import web

from streams.errors import BrokerError, MediaError
from streams.events import OperatorRating
from streams.web.api.answers import RatingAnswer
from streams.web.api.problems import ApiError
from streams.web.api.queries import RatingBody
from streams.web.api.streams import whole_score
from streams.web.api.table import Call, json_answer


async def rate(call: Call) -> web.Response:
    """Keep a segment's clip with a person's rating; the answer says what the model's score was."""
    assert isinstance(call.body, RatingBody)
    if call.wall.rate is None:
        raise ApiError(503, "this wall keeps no clips", Retry_After="60")
    score = await whole_score(call)
    by = call.who.name if call.who is not None else "nobody"
    rating = OperatorRating(level=call.body.level, by=by, at=datetime.fromtimestamp(round(call.now, 3), UTC))
    try:
        example = await call.wall.rate(score, rating)
    except MediaError as error:
        if error.kind == "refused":
            raise ApiError(409, f"the segment cannot be rated: {error.reason}") from error
        raise ApiError(404, f"the segment's media cannot be fetched any more: {error.reason}") from error
    except (BrokerError, OSError) as error:
        raise ApiError(503, f"the clip could not be kept: {error}", Retry_After="5") from error
    return json_answer(RatingAnswer(clip=example.example_id, score=example.score), 201)
