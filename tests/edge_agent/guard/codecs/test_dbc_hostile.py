"""Files that are wrong or mean harm: refused with their place, or read without running anything of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbc as own
from edge_agent.guard.codecs import dbc
from shared.errors import ConfigError, WireError

if TYPE_CHECKING:
    from collections.abc import Callable

    Write = Callable[[str | bytes], Path]

HEAD = 'VERSION ""\nNS_ :\nBS_:\nBU_: A\n'
ONE = 'BO_ 257 M: 8 A\n SG_ a : 0|8@1+ (1,0) [0|0] "" A\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(content: str | bytes) -> Path:
        path = tmp_path / "some.dbc"
        path.write_bytes(content if isinstance(content, bytes) else (HEAD + content).encode("utf-8"))
        return path

    return to_file


def test_a_file_that_is_no_utf_8_is_read_as_cp1252(write: Write) -> None:
    text = HEAD + ONE.replace('""', '"°C"') + 'CM_ "gemessen in °C – nicht geprüft";\n'
    db = dbc.load(write(text.encode("cp1252")))
    assert db.messages[257].spec.signals[0].unit == "°C"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf_8_is_read_with_and_without_a_mark(write: Write, encoding: str) -> None:
    db = dbc.load(write((HEAD + ONE.replace('""', '"°C"')).replace("\n", "\r\n").encode(encoding)))
    assert db.messages[257].spec.signals[0].unit == "°C"


def test_a_byte_that_neither_encoding_knows_does_not_stop_a_rig(write: Write) -> None:
    db = dbc.load(write((HEAD + ONE + 'CM_ "').encode() + b'\x81\xb0C";\n'))
    assert list(db.messages) == [257]


ORPHANS = (
    'BO_ 3221225472 VECTOR__INDEPENDENT_SIG_MSG: 0 Vector__XXX\n SG_ lost : 0|32@1- (1,0) [0|0] "" A\n'
    ' SG_ named : 0|8@1+ (1,0) [0|0] "" A\n\n'
)
LEFT_OVER = 'VAL_ 3221225472 named 0 "off; VAL_" 1 "on" ;\nSIG_VALTYPE_ 3221225472 lost : 1;\n'


@pytest.mark.parametrize("text", [ORPHANS + ONE, ORPHANS + ONE + LEFT_OVER, ONE + LEFT_OVER])
def test_orphans_are_ignored_with_all_that_belongs_to_them(write: Write, text: str) -> None:
    db = dbc.load(write(text))
    assert [decoder.spec.name for decoder in db.messages.values()] == ["M"]


@pytest.mark.parametrize(
    ("text", "line", "given"),
    [
        (ONE + "BO_ 258 N 8 A\n", 7, "BO_ 258 N 8 A"),
        (ONE + " SG_ b : 8|8@1+ (1,0) [0|0] A\n", 7, "SG_ b : 8|8@1+"),
        (ONE + "what is this\n", 7, "what is this"),
        (ONE + ' SG_ b : 4|8@1+ (1,0) [0|0] "" A\n', 5, "overlapping"),
        (ONE + ' SG_ b : 60|8@1+ (1,0) [0|0] "" A\n', 5, "does not fit"),
        (ONE + ' SG_ b : 8|0@1+ (1,0) [0|0] "" A\n', 5, "length 0"),
        (ONE + ' SG_ a : 8|8@1+ (1,0) [0|0] "" A\n', 5, "signals a and a"),
        (ONE + ' SG_ b : 8|8@1+ (1e999,0) [0|0] "" A\n', 5, "scale inf"),
        (ONE + "SIG_VALTYPE_ 257 a : 1;\n", 5, "float M.a of 8 bits"),
        (ONE + "\n\nBO_ 257 N: 8 A\n", 9, "message id 257 again (N, first on line 5)"),
        (ONE + "BO_ 0257 N: 8 A\n", 7, "message id 257 again"),
        ("BO_ 257 M: 9999999999 A\n", 5, "length 9999999999 of message M"),
        (ONE + ' SG_ b : 8|9999999999@1+ (1,0) [0|0] "" A\n', 7, "signal b at 8|9999999999"),
        (ONE + ' SG_ b m0 : 9999999999|8@1+ (1,0) [0|0] "" A\n', 7, "signal b at 9999999999|8"),
        (ONE + "SG_MUL_VAL_ 257 a a 0-4294967295;\n", 7, "multiplexer ids 0-4294967295"),
        (ONE + 'CM_ "never ends;\n', 7, 'CM_ "never ends;'),
    ],
)
def test_a_wrong_file_is_refused_with_its_line_and_what_was_given(
    write: Write, text: str, line: int, given: str
) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        dbc.load(path)
    assert caught.value.where == f"{path} line {line}"
    assert given in caught.value.given
    assert caught.value.allowed


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("", "no message"),
        (ORPHANS, "no message"),
        ("BO_ 2048 M: 8 A\n", "11 bits"),
        ("BO_ 4294967295 M: 8 A\n", "29 bits"),
        (ONE + 'VAL_ 257 nobody 0 "off" ;\n', "VAL_ 257 nobody"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(write: Write, text: str, given: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        dbc.load(path)
    assert caught.value.where.startswith(str(path))
    assert given in caught.value.given


def test_a_file_that_is_absent_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "absent.dbc", "No such file"), (tmp_path, "directory")):
        with pytest.raises(ConfigError, match=reason) as caught:
            dbc.load(path)
        assert caught.value.where == str(path)


HARM = '__import__("pathlib").Path("{here}/harmed").touch()'
HOSTILE = [
    HARM,
    "x]) or " + HARM + " #",
    'a"""\n    ' + HARM + "\n",
    '\\\\"; ' + HARM,
    '\n\nBO_ 300 Smuggled: 8 A\n SG_ a : 0|8@1+ (1,0) [0|0] \\"\\" A\n',
    "k0",
    "class",
    "{0}{self}%s%n",
    "\u202e\u0000é",
]


def hostile_text(name: str, here: Path) -> str:
    """A DBC whose long names, units, value names and comments are all `name`, quotes escaped."""
    word = name.replace("{here}", str(here)).replace('\\"', '"').replace('"', '\\"')
    return (
        'BO_ 257 class: 8 A\n SG_ None M : 0|8@1+ (1,0) [0|0] "' + word + '" A\n'
        ' SG_ import m3 : 8|16@1- (0.1,0) [0|0] "' + word + '" A\n'
        'BO_ 258 lambda: 8 A\n SG_ exec : 0|8@1+ (0.5,0) [0|0] "" A\n'
        f'CM_ BO_ 257 "{word}";\n'
        'BA_DEF_ BO_ "SystemMessageLongSymbol" STRING ;\nBA_DEF_ SG_ "SystemSignalLongSymbol" STRING ;\n'
        'BA_DEF_DEF_ "SystemMessageLongSymbol" "";\nBA_DEF_DEF_ "SystemSignalLongSymbol" "";\n'
        f'BA_ "SystemMessageLongSymbol" BO_ 257 "{word}";\n'
        f'BA_ "SystemSignalLongSymbol" SG_ 258 exec "{word}";\n'
        f'VAL_ 257 import 0 "{word}" ;\n'
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_execute_nothing_and_are_only_names(write: Write, tmp_path: Path, name: str) -> None:
    db = dbc.load(write(hostile_text(name, tmp_path)))
    assert list(db.messages) == [257, 258]
    assert dbc.compare(db, 20, seed=2) == []
    assert dbc.decode(db, 257, bytes([3, 10, 0, 0, 0, 0, 0, 0])) == {"None": 3, "import": 1.0}
    with pytest.raises(WireError):
        db.messages[258].values(b"")
    assert not (tmp_path / "harmed").exists()


@settings(max_examples=60, deadline=None)
@given(name=st.text(alphabet=st.characters(blacklist_categories=["Cs"], blacklist_characters='\\"\r'), max_size=30))
def test_any_long_name_is_kept_as_it_is(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("names") / "any.dbc"
    path.write_bytes((HEAD + hostile_text(name, path.parent)).encode("utf-8"))
    db = dbc.load(path)
    assert db.messages[257].spec.name == name
    assert db.messages[258].spec.signals[0].name == name
    assert db.messages[257].spec.signals[0].unit == name


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    good = bytearray(own.path().read_bytes()[:3000])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(good) - 1))
        good[at : at + data.draw(st.integers(0, 5))] = data.draw(st.binary(max_size=5))
    path = tmp_path_factory.mktemp("damaged") / "any.dbc"
    path.write_bytes(bytes(good))
    refused: ConfigError | None = None
    try:
        assert dbc.load(path).messages
    except ConfigError as error:
        refused = error
    assert refused is None or (refused.where.startswith(str(path)) and refused.allowed)
