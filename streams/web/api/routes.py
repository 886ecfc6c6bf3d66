"""The table of the API's routes."""

from __future__ import annotations

from streams.events import SegmentScore
from streams.web.api import alerts, clips, fleet, rating, session, streams
from streams.web.api import answers as a
from streams.web.api import queries as q
from streams.web.api.table import Route
from streams.web.summary import Summary

PREFIX = "/api/v1"

ROUTES = (
    Route("GET", "/summary", fleet.summary, "The fleet in numbers", query=q.LabelQuery, answer=Summary, errors=(400,)),
    Route("GET", "/health", fleet.health, "How the monitor itself is", answer=a.Health, errors=(400,), needs_state=False),
    Route(
        "GET", "/streams", fleet.streams, "Streams, the worst first", query=q.StreamsQuery, answer=a.StreamList, errors=(400,),
        csv=True,
    ),
    Route("GET", "/streams/{id}", streams.stream, "One stream as it is now", answer=a.StreamDetail, errors=(400, 404)),
    Route(
        "GET", "/streams/{id}/scores", streams.scores, "A stream's scores over time", query=q.CourseQuery, answer=a.CourseAnswer,
        errors=(400, 404), statuses=(200, 304), csv=True,
    ),
    Route(
        "GET", "/streams/{id}/segments", streams.segments, "A stream's segments, the newest first", query=q.SegmentsQuery,
        answer=a.SegmentList, errors=(400, 404),
    ),
    Route(
        "GET", "/streams/{id}/segments/{segment_id}", streams.segment, "One segment's whole score", query=q.SegmentQuery,
        answer=SegmentScore, errors=(400, 404), statuses=(200, 304),
    ),
    Route(
        "GET", "/streams/{id}/pictures", streams.pictures, "Which pictures are kept", "media", answer=a.PictureList,
        errors=(400, 404),
    ),
    Route(
        "GET", "/streams/{id}/picture.jpg", streams.picture, "A picture: the last one, or a segment's", "media",
        query=q.PictureQuery, errors=(400, 404), statuses=(200, 304), media="image/jpeg", client="pictures",
    ),
    Route(
        "GET", "/streams/{id}/compare", streams.compare, "The last good picture and the first bad one", "media",
        query=q.CompareQuery, answer=a.Comparison, errors=(400, 404),
    ),
    Route(
        "POST", "/streams/{id}/segments/{segment_id}/rating", rating.rate, "Rate a segment: its clip is kept to be learned from",
        "rate", query=q.SegmentQuery, body=q.RatingBody, answer=a.RatingAnswer, errors=(400, 404, 409, 413, 415), statuses=(201,),
    ),
    Route(
        "GET", "/alerts", alerts.alerts, "Alerts, the latest first", query=q.AlertsQuery, answer=a.AlertList, errors=(400,),
        csv=True,
    ),
    Route("GET", "/alerts/{id}", alerts.alert, "One alert", answer=a.AlertItem, errors=(400, 404)),
    Route(
        "PUT", "/alerts/{id}/ack", alerts.acknowledge, "Acknowledge an alert", "ack", body=q.AckBody, answer=a.AlertItem,
        errors=(400, 404, 409, 412, 413, 415), statuses=(200, 201),
    ),
    Route(
        "DELETE", "/alerts/{id}/ack", alerts.take_back, "Take an acknowledgement back", "ack", errors=(400, 404, 412),
        statuses=(204,),
    ),
    Route(
        "GET", "/groups", fleet.groups, "Alerts that most likely have one cause", query=q.GroupsQuery, answer=a.GroupList,
        errors=(400,),
    ),
    Route(
        "GET", "/clips", clips.clips, "Clips that wait to be rated", "media", query=q.ClipsQuery, answer=a.ClipList,
        errors=(400,),
    ),
    Route(
        "GET", "/clips/{id}.mp4", clips.clip, "A clip, in ranges too", "media", errors=(400, 404), statuses=(200, 206, 304, 416),
        media="video/mp4", client="pictures", needs_state=False,
    ),
    Route("GET", "/session", session.show, "Who is signed in", answer=a.SessionAnswer, errors=(400,), needs_state=False),
    Route(
        "POST", "/session", session.sign_in, "Sign in: a session for a token", None, body=q.SessionBody, answer=a.SessionAnswer,
        errors=(400, 413, 415), needs_state=False,
    ),
    Route(
        "DELETE", "/session", session.sign_out, "Sign out", None, errors=(400,), statuses=(204,), needs_state=False,
    ),
)  # fmt: skip
