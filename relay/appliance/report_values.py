"""The elements of the appliance's session reports as values."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from relay.appliance.elements import Parts
from relay.core.session_report import (
    Actor,
    Category,
    CustomAttribute,
    Event,
    File,
    Listed,
    Moment,
    Named,
    Pairs,
    Participant,
    Question,
    SessionReport,
    ShellRecording,
    Survey,
    decoded,
    read_moment,
)


def session_of(parts: Parts, events: tuple[Event, ...], extra: Pairs) -> SessionReport:
    """A `session`, whose events and further details were read before, as they came by."""
    for details in parts.children("session_details"):
        details.ended(None)
    return SessionReport(
        lsid=parts.attribute("lsid"),
        type=parts.leaf("session_type"),
        sequence=parts.leaf("lseq"),
        started=parts.moment("start_time"),
        ended=parts.moment("end_time"),
        duration=parts.leaf("duration"),
        external_key=parts.leaf("external_key"),
        attributes=_attributes(parts),
        jumpoint=_named(parts.child("jumpoint")),
        jump_group=_named(parts.child("jump_group")),
        public_site=_named(parts.child("public_site")),
        teams=_teams(parts),
        chat_view_url=parts.leaf("session_chat_view_url"),
        chat_download_url=parts.leaf("session_chat_download_url"),
        recording_view_url=parts.leaf("session_recording_view_url"),
        recording_download_url=parts.leaf("session_recording_download_url"),
        shell_recordings=_shell_recordings(parts),
        file_transfer_count=parts.number("file_transfer_count"),
        file_move_count=parts.number("file_move_count"),
        file_delete_count=parts.number("file_delete_count"),
        primary_customer=_actor(parts.child("primary_customer")),
        primary_rep=_actor(parts.child("primary_rep")),
        customers=_participants(parts, "customer_list", "customer", "primary_cust"),
        representatives=_participants(parts, "rep_list", "representative", "primary_rep"),
        surveys=(
            *_surveys(parts, "cust_survey_list", "cust_exit_survey", "customer"),
            *_surveys(parts, "rep_survey_list", "rep_exit_survey", "representative"),
        ),
        events=events,
        extra=(*parts.rest(), *extra),
    )


def event_of(parts: Parts) -> Event:
    """An `event` of any type."""
    encoded, body = _raw_leaf(parts, "encoded_body").strip(), _raw_leaf(parts, "body")
    data = tuple(_values(parts))
    return Event(
        at=read_moment(parts.attribute("timestamp"), "") or Moment(None),
        type=parts.attribute("event_type"),
        performed_by=_actor(parts.child("performed_by")),
        destination=_actor(parts.child("destination")),
        body=body or decoded(encoded),
        encoded_body=encoded,
        files=(*_files(parts), *_files_of(data)),
        data=data,
        system_information=tuple(_categories(parts)),
        extra=parts.rest(),
    )


def survey_of(parts: Parts, by: str) -> Survey:
    """An `exit_survey` of a survey report, or what a session's report says of one."""
    questions = tuple(
        _question(question) for one in parts.children("question_list") for question in one.ended(one.own("question"))
    )
    return Survey(
        by=by,
        number=parts.attribute("gsnumber"),
        lsid=parts.attribute("lsid"),
        at=read_moment(parts.attribute("ts"), ""),
        submitter=_actor(parts.child("submitted_by")),
        questions=questions,
        extra=parts.rest(),
    )


def listed_of(parts: Parts) -> Listed:
    """A `session_summary` of a listing."""
    return Listed(parts.attribute("lsid"), parts.attribute("has_recording") not in {"", "0"})


def _raw_leaf(parts: Parts, name: str) -> str:
    found = parts.child(name)
    return "" if found is None else found.ended(found.raw_text())


def _actor(parts: Parts | None) -> Actor | None:
    if parts is None:
        return None
    return parts.ended(
        Actor(parts.text(), parts.attribute("type"), parts.attribute("gsnumber"), parts.attribute("id")),
    )


def _named(parts: Parts | None) -> Named | None:
    if parts is None:
        return None
    return parts.ended(Named(parts.text(), parts.attribute("id"), parts.attribute("type")))


def _teams(parts: Parts) -> tuple[Named, ...]:
    found: list[Named] = []
    for listing in parts.children("team_list"):
        for team in listing.ended(listing.children("team")):
            name = team.leaf("name")
            found.append(team.ended(Named(name or team.text(), team.attribute("id"), team.attribute("type"))))
    return tuple(found)


def _attributes(parts: Parts) -> tuple[CustomAttribute, ...]:
    return tuple(
        one.ended(CustomAttribute(one.attribute("code_name"), one.raw_text(), one.attribute("display_name")))
        for listing in parts.children("custom_attributes")
        for one in listing.ended(listing.children("custom_attribute"))
    )


def _shell_recordings(parts: Parts) -> tuple[ShellRecording, ...]:
    found: list[ShellRecording] = []
    for listing in parts.children("command_shell_recordings"):
        for one in listing.ended(listing.own("command_shell_recording")):
            instance = one.attribute("instance")
            found.append(ShellRecording(instance, one.leaf("view_url"), one.leaf("download_url"), one.rest()))
    return tuple(found)


def _participants(parts: Parts, listing: str, name: str, primary: str) -> tuple[Participant, ...]:
    return tuple(
        _participant(one, primary) for found in parts.children(listing) for one in found.ended(found.own(name))
    )


def _participant(parts: Parts, primary: str) -> Participant:
    return Participant(
        number=parts.attribute("gsnumber"),
        id=parts.attribute("id"),
        username=parts.leaf("username"),
        display_name=parts.leaf("display_name"),
        public_display_name=parts.leaf("public_display_name"),
        private_display_name=parts.leaf("private_display_name"),
        public_ip=parts.leaf("public_ip"),
        private_ip=parts.leaf("private_ip"),
        hostname=parts.leaf("hostname"),
        os=parts.leaf("os"),
        owner=parts.flag("session_owner"),
        primary=parts.flag(primary),
        invited=parts.flag("invited"),
        seconds_involved=parts.number("seconds_involved"),
        info=tuple(
            (name, one.ended(one.text()))
            for info in parts.children("info")
            for name, one in info.ended(info.anything())
        ),
        extra=parts.rest(),
    )


def _surveys(parts: Parts, listing: str, name: str, by: str) -> Iterable[Survey]:
    return [survey_of(one, by) for found in parts.children(listing) for one in found.ended(found.own(name))]


def _question(parts: Parts) -> Question:
    answers = tuple(
        answer.ended(answer.text())
        for found in parts.children("answer_list")
        for answer in found.ended(found.children("answer"))
    )
    return Question(
        id=parts.attribute("id"),
        kind=parts.leaf("type"),
        name=parts.leaf("name"),
        label=parts.leaf("label"),
        header=parts.leaf("report_header"),
        answers=answers,
        extra=parts.rest(),
    )


def _values(parts: Parts) -> Iterable[tuple[str, str]]:
    for data in parts.children("data"):
        for value in data.ended(data.children("value")):
            yield value.ended((value.attribute("name"), value.raw_attribute("value") or value.raw_text()))


def _files(parts: Parts) -> Iterable[File]:
    """Files given as children, which older releases do."""
    for one in (parts, *(file for group in parts.children("files") for file in group.ended(group.children("file")))):
        name, size = one.leaf("filename"), one.leaf("filesize")
        if one is not parts:
            one.ended(None)
        if name or size:
            yield File(name, size)


def _files_of(data: Pairs) -> Iterable[File]:
    """Files given as data values."""
    names = [value for name, value in data if name == "filename"]
    sizes = [value for name, value in data if name == "filesize"]
    return [File(name, size) for name, size in zip_longest(names, sizes, fillvalue="")]


def _categories(parts: Parts) -> Iterable[Category]:
    for information in parts.children("system_information"):
        for one in information.ended(information.children("category")):
            columns = tuple(_fields(field) for field in one.children("description"))
            rows = tuple(_fields(row) for data in one.children("data") for row in data.ended(data.children("row")))
            yield one.ended(Category(one.attribute("name"), tuple(pair for each in columns for pair in each), rows))


def _fields(parts: Parts) -> Pairs:
    fields = parts.ended(parts.children("field"))
    return tuple(field.ended((field.attribute("name") or field.attribute("id"), field.text())) for field in fields)
