"""The files that are made from the model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
import yaml
from pydantic import Field
from support.configuration import SMALLEST, headlines, loaded

from relay.config import describe
from relay.config.describe import Several, Table, keys, section_at, written
from relay.config.emit import block, inline, scalar
from relay.config.flows import SessionTables
from relay.config.leaves import Leaf, WordOr
from relay.config.model import ServiceNowSettings, Settings
from relay.config.reference import reference
from relay.config.sample import HEADER, example_of, sample
from relay.config.schema import schema
from relay.config.section import Section
from relay.config.show import show

from .test_model import EVERYTHING

ROOT = Path(__file__).parents[2]


def test_the_sample_is_current() -> None:
    """`config/relay.yaml` is what the model makes; 'bseries-relay config reference --sample' writes it."""
    assert (ROOT / "config" / "relay.yaml").read_text() == sample()


def test_the_reference_is_current() -> None:
    """`docs/configuration.md` is what the model makes; 'bseries-relay config reference' writes it."""
    assert (ROOT / "docs" / "configuration.md").read_text() == reference()


def test_the_sample_is_a_good_configuration(tmp_path: Path) -> None:
    """Somebody who only fills in the sample's values has a configuration that loads without a warning."""
    found = loaded(tmp_path, sample())
    assert found.warnings == ()
    assert found.settings.policy.allow == ("session-integration",)


def test_every_key_of_the_sample_can_be_switched_on(tmp_path: Path) -> None:
    """With every '#' of a key taken away, only the ways to sign in contradict each other."""
    body = sample().removeprefix(HEADER)
    text = re.sub(r"^(\s*)#(?! )", r"\1", body, flags=re.MULTILINE)
    found = headlines(tmp_path, text)
    assert found[0].endswith("found basic and oauth_client and oauth_password and oauth_jwt and certificate")
    assert found[1:] == []
    alone = re.sub(r"    oauth_client:.*?(?=  # Certificates, pins)", "", text, count=1, flags=re.DOTALL)
    assert loaded(tmp_path, alone).settings.policy.operations.keys() == {"vault_report"}


def all_keys(section: type[Section], seen: set[type[Section]]) -> list[tuple[type[Section], describe.Key]]:
    """Every key of a section and of those below it."""
    seen.add(section)
    found = [(section, key) for key in keys(section)]
    for key in keys(section):
        shape = key.shape
        while isinstance(shape, Table | Several):
            shape = shape.value if isinstance(shape, Table) else shape.item
        if isinstance(shape, type) and shape not in seen:
            found += all_keys(shape, seen)
    return found


def test_every_key_has_a_description_and_a_good_example() -> None:
    """No key is left unexplained, and its example is one that the model accepts and the reference shows."""
    page = reference()
    for section, key in all_keys(Settings, set()):
        assert key.description.endswith("."), (section, key.name)
        assert f".{key.name}`" in page or f"`{key.name}`" in page or section is Settings
        if isinstance(key.shape, Leaf) and not isinstance(key.shape, WordOr):
            assert key.shape.parse(yaml.safe_load(inline(example_of(key)))) is not None


def test_the_schema_is_valid_and_accepts_what_the_reader_accepts() -> None:
    """The schema is draft-07, and takes the sample and the documented configuration as other YAML readers see them."""
    jsonschema.Draft7Validator.check_schema(schema())
    validator = jsonschema.Draft7Validator(schema())
    for text in (sample(), EVERYTHING, SMALLEST):
        assert list(validator.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("servicenow", "url"), "http://example.com"),
        (("servicenow", "pol"), {}),
        (("servicenow", "timeout"), 30),
        (("servicenow", "timeout"), "30"),
        (("servicenow", "answer_bytes"), "5MB"),
        (("servicenow", "auth", "basic", "password"), "hunter2"),
        (("servicenow", "auth", "basic", "password"), {"credential": "a", "file": "/b"}),
        (("servicenow", "auth", "basic", "password"), {"file": "relative"}),
        (("servicenow", "register"), "yes"),
        (("servicenow", "poll", "batch"), 0),
        (("servicenow", "tls", "pins"), ["sha256/BASE64="]),
        (("appliances",), {}),
        (("appliances", "a b"), {}),
        (("appliances", "default", "product"), "prs"),
        (("sessions", "tables"), "no"),
        (("sessions", "events"), "some"),
        (("relay",), None),
        (("storage", "engine"), "postgresql"),
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(path: tuple[str, ...], value: object) -> None:
    """An editor with the schema marks the usual mistakes."""
    configuration: Any = yaml.safe_load(EVERYTHING)
    place = configuration
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert list(jsonschema.Draft7Validator(schema()).iter_errors(configuration))


@pytest.mark.parametrize("text", [SMALLEST, EVERYTHING, sample()])
def test_what_is_shown_means_the_same(tmp_path: Path, text: str) -> None:
    """The effective settings, written as YAML, load to the same settings, with the origin of each value beside it."""
    first = loaded(tmp_path, text)
    shown = show(first)
    assert loaded(tmp_path, shown).settings == first.settings
    assert re.search(rf"^  name: relay01 +# {re.escape(first.origins['relay.name'])}$", shown, re.MULTILINE)
    assert "poll:\n    interval: 5s" in shown


def test_lists_of_sections_are_shown(tmp_path: Path) -> None:
    """Overrides, tables, events and operations are written so that they read back."""
    text = SMALLEST + (
        "approvals: {overrides: [{field: state, comparator: less, value: '3', message: 'It is #1: \"x\"'}]}\n"
        "sessions: {tables: {session: {table: u_s, fields: {lsid: u_lsid}}}, events: all}\n"
        "policy: {operations: {x: {method: GET, path: '/x/{no}', arguments: {no: {in: path}, x: {default: 'off'}}}}}\n"
    )
    first = loaded(tmp_path, text)
    assert loaded(tmp_path, show(first)).settings == first.settings


ODD = "off NO true null ~ 5 5s 1e3 0x1F 2026-01-01 12:30 [a https://a.b:8443 \" \\ ' *a &a !a %a @a a,b 10.1.2.3 <<"


@pytest.mark.parametrize("text", [*ODD.split(), "", "a: b", "a #b", "- a", "a b", " a", "a "])
def test_written_text_is_read_as_the_same_text(text: str) -> None:
    """Our own reader and YAML 1.1 agree on every text that is written, alone and in a list."""
    assert yaml.safe_load(scalar(text)) == text
    assert yaml.safe_load(inline([{text: text}])) == [{text: text}]
    assert yaml.safe_load("\n".join(block("k", {"a": {"b": text}, "c": [{"d": text}]}))) == {
        "k": {"a": {"b": text}, "c": [{"d": text}]}
    }


def test_sections_are_found_by_their_path() -> None:
    """A path leads through names, lists and alternatives to its section."""
    assert section_at(Settings, ("servicenow",)) is ServiceNowSettings
    assert section_at(Settings, ("sessions", "tables")) is SessionTables
    assert section_at(Settings, ("appliances", "x", "sessions", "tables", "event")) is not None
    assert section_at(Settings, ("approvals", "overrides", 0)) is not None
    assert section_at(Settings, ("sessions", "events")) is None
    assert section_at(Settings, ("servicenow", "url", "x")) is None
    assert section_at(Settings, ("nothing",)) is None
    assert written(Settings.model_fields["version"].metadata[0], None) is None


def test_a_key_of_an_unknown_kind_is_a_fault() -> None:
    """A model with a type that nobody can describe does not pass unnoticed."""

    class Odd(Section):
        odd: Annotated[complex, "x"] = Field(default=1j, description="Odd.")

    with pytest.raises(TypeError, match="no kind of value is known"):
        keys(Odd)


def test_a_kind_must_say_how_it_is_read() -> None:
    """The base of all kinds reads nothing, so that a kind without a reading of its own cannot be made."""
    with pytest.raises(TypeError, match="parse"):
        Leaf()  # type: ignore[abstract]

    class Odd(Leaf):
        def parse(self, value: object) -> object:
            return value

    assert (Odd().schema(), Odd().write(5)) == ({"type": "string"}, "5")
