"""The generated decoder beside cantools: every kind of signal, wrong frames, modules, memory of what was sent."""

from __future__ import annotations

import io
import json
import keyword
import struct
import tokenize
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dbc as own
from edge_agent.guard.codecs import dbc, dbc_generate, dbc_text
from shared.errors import ConfigError, WireError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Load = Callable[[str], dbc.Database]

HEAD = 'VERSION ""\nNS_ :\nBS_:\nBU_: A\n'


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a DBC given as text."""

    def write_and_load(text: str) -> dbc.Database:
        path = tmp_path / "some.dbc"
        path.write_bytes((HEAD + text).encode("utf-8"))
        return dbc.load(path)

    return write_and_load


@pytest.fixture(scope="module")
def bms() -> dbc.Database:
    return dbc.load(own.path())


def message(*signals: str, length: int = 8, can_id: int = 257, name: str = "M") -> str:
    return f"BO_ {can_id} {name}: {length} A\n" + "".join(f" SG_ {signal} A\n" for signal in signals)


KINDS = {
    "bytes": message('a : 0|8@1+ (0.01,2.2) [0|0] ""', 'b : 8|8@1- (1,0) [0|0] ""', 'c : 16|8@1- (0.1,-7) [0|0] ""'),
    "words": message('a : 0|16@1- (0.1,0) [0|0] "A"', 'b : 16|16@1+ (0.01,0) [0|0] "V"', 'c : 32|32@1- (2,1) [0|0] ""'),
    "wide and scaled": message('a : 0|32@1+ (0.01,0) [0|0] ""', 'b : 32|32@1- (1e-07,3) [0|0] ""'),
    "64 bits": message('a : 0|64@1- (0.1,0) [0|0] ""'),
    "64 bits as they are": message('a : 0|64@1+ (1,0) [0|0] ""'),
    "bits inside a byte": message(
        'a : 1|3@1- (0.5,1) [0|0] ""', 'b : 4|1@1+ (1,0) [0|0] ""', 'c : 5|3@1+ (3,0) [0|0] ""'
    ),
    "across bytes": message('a : 3|11@1- (0.125,0) [0|0] ""', 'b : 20|19@1+ (1,-4) [0|0] ""'),
    "big-endian": message('a : 23|16@0+ (1,0) [0|0] "V"', 'b : 47|16@0- (0.1,0) [0|0] "V"'),
    "big-endian across": message(
        'a : 5|11@0- (0.01,0) [0|0] ""', 'b : 18|3@0+ (1,0) [0|0] ""', 'c : 39|9@0+ (1,0) [0|0] ""'
    ),
    "both orders": message('a : 0|12@1+ (1,0) [0|0] ""', 'b : 23|12@0- (0.5,0) [0|0] ""'),
    "29 bits": message('a : 7|16@0+ (0.1,0) [0|0] ""', can_id=2**31 + 0x0A100100),
    "floats": message('a : 0|32@1- (1,0) [0|0] ""', 'b : 39|32@0- (0.1,2) [0|0] ""')
    + "SIG_VALTYPE_ 257 a : 1;\nSIG_VALTYPE_ 257 b : 1;\n",
    "a double": message('a : 0|64@1- (1,0) [0|0] ""') + "SIG_VALTYPE_ 257 a : 2;\n",
    "half a float": message('a : 8|16@1- (1,0) [0|0] ""') + "SIG_VALTYPE_ 257 a : 1;\n",
    "a float off its byte": message('a : 3|32@1- (0.5,0) [0|0] ""') + "SIG_VALTYPE_ 257 a : 1;\n",
    "a value table": message('a : 0|8@1+ (0.5,0) [0|0] ""') + 'VAL_ 257 a 0 "off" 255 "not \'available" ;\n',
    "nothing": message(length=0),
    "padding only": message(length=5),
    "can fd": message('a : 0|16@1+ (0.1,0) [0|0] ""', 'b : 500|12@1+ (1,0) [0|0] ""', length=64),
    "a scale of nothing": message('a : 0|8@1+ (0,5) [0|0] ""', 'b : 8|16@1+ (0,0.5) [0|0] ""'),
    "a scale with no short fraction": message('a : 0|16@1+ (0.3333333333333333,0.1) [0|0] ""'),
    "multiplexed": message(
        'm M : 0|8@1+ (1,0) [0|0] ""',
        'a m0 : 8|16@1- (0.1,0) [0|0] ""',
        'b m1 : 8|8@1+ (0.01,2.2) [0|0] ""',
        'c m1 : 23|16@0+ (1,0) [0|0] ""',
        'd : 56|8@1+ (1,0) [0|0] ""',
    ),
    "multiplexed twice": message(
        'm M : 0|4@1+ (1,0) [0|0] ""',
        'n m1M : 8|8@1+ (1,0) [0|0] ""',
        'a m0 : 8|16@1- (0.1,0) [0|0] ""',
        'b m3 : 16|16@1+ (0.5,0) [0|0] ""',
        'c m5 : 32|8@1- (1,0) [0|0] ""',
    )
    + "SG_MUL_VAL_ 257 n m 1-2;\nSG_MUL_VAL_ 257 a m 0-0;\nSG_MUL_VAL_ 257 b n 3-4, 9-9;\nSG_MUL_VAL_ 257 c n 5-5;\n",
    "a named multiplexer id without signals": message('m M : 0|8@1+ (1,0) [0|0] ""', 'a m1 : 8|8@1+ (1,0) [0|0] ""')
    + 'VAL_ 257 m 7 "nothing" 1 "something" ;\n',
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_signal_is_compiled_and_equal_to_cantools(kind: str, load: Load) -> None:
    db = load(KINDS[kind])
    assert db.fallback == ()
    assert dbc.compare(db, 200, seed=7) == []


def test_the_projects_own_dbc_is_compiled_whole_and_equal(bms: dbc.Database) -> None:
    assert len(bms.messages) == 156
    assert bms.fallback == ()
    assert dbc.compare(bms, 40, seed=1) == []


FALLBACKS = {
    "a multiplexer with a scale": message('m M : 0|8@1+ (2,0) [0|0] ""', 'a m4 : 8|8@1+ (0.5,0) [0|0] ""'),
    "too many branches": message(
        'm M : 0|8@1+ (1,0) [0|0] ""', *(f'a{n} m{n} : 8|{8 + n % 8}@1+ (0.5,0) [0|0] ""' for n in range(80))
    ),
    "more than 64 bits": message('a : 0|72@1+ (1,0) [0|0] ""', length=12),
}


@pytest.mark.parametrize("kind", FALLBACKS)
def test_what_is_not_compiled_is_decoded_by_cantools_and_named(kind: str, load: Load) -> None:
    db = load(FALLBACKS[kind] + message('x : 0|8@1+ (1,0) [0|0] ""', can_id=258, name="Other"))
    assert db.fallback == ("M",)
    assert [decoder.compiled for decoder in db.messages.values()] == [False, True]
    assert dbc.compare(db, 100, seed=3) == []
    with pytest.raises(WireError, match=r"^M: 3 bytes, expected \d+$"):
        db.messages[257].values(b"abc")


SCALES = st.sampled_from(["1", "2", "-1", "0.1", "0.01", "0.5", "-0.25", "0.0048828125", "1e-05", "3.7", "1000000"])
OFFSETS = st.sampled_from(["0", "2.2", "-40", "-273.15", "0.5", "12345.678"])


@st.composite
def regions(draw: st.DrawFn, name: str, first_byte: int, size: int) -> list[tuple[str, bool]]:
    """Signals side by side in `size` bytes, all in one byte order: (text, is a float)."""
    little, at = draw(st.booleans()), 0
    signals: list[tuple[str, bool]] = []
    while at < size * 8:
        at += draw(st.integers(0, 5))
        bits = min(draw(st.one_of(st.sampled_from([1, 8, 16, 32, 64]), st.integers(1, 64))), size * 8 - at)
        if bits < 1:
            break
        bit = first_byte * 8 + at
        start = bit if little else bit // 8 * 8 + 7 - bit % 8
        is_float = bits in (16, 32, 64) and draw(st.booleans())
        sign = draw(st.sampled_from("+-"))
        scaling = f"({draw(SCALES)},{draw(OFFSETS)})"
        text = f'{name}{len(signals)} : {start}|{bits}@{int(little)}{sign} {scaling} [0|0] ""'
        signals.append((text, is_float))
        at += bits
    return signals


@st.composite
def layouts(draw: st.DrawFn) -> str:
    """A message of regions, some of them present under one multiplexer id only."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=4))
    multiplexed, at, signals = draw(st.booleans()), 0, []
    if multiplexed:
        signals.append(('mux M : 0|8@1+ (1,0) [0|0] ""', False))
        at = 1
    for number, size in enumerate(sizes):
        region = draw(regions(f"s{number}_", at, size))
        if multiplexed and draw(st.booleans()):
            region = [(text.replace(" :", f" m{number} :", 1), is_float) for text, is_float in region]
        signals += region
        at += size
    types = [f"SIG_VALTYPE_ 257 {text.split(' ')[0]} : 1;\n" for text, is_float in signals if is_float]
    return message(*(text for text, _ in draw(st.permutations(signals))), length=at) + "".join(types)


@settings(max_examples=150, deadline=None)
@given(text=layouts())
def test_any_layout_decodes_as_cantools_decodes_it(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("layout") / "any.dbc"
    path.write_text(HEAD + text, encoding="utf-8")
    db = dbc.load(path)
    assert db.fallback == ()
    assert dbc.compare(db, 24, seed=5) == []


def test_a_comparison_notices_a_decoder_that_is_wrong(load: Load) -> None:
    db = load(message('a : 0|8@1+ (1,0) [0|0] ""'))
    right = db.messages[257]
    wrong = dbc.Decoder(right.spec, right.raw, lambda data: (data[0] + 1e-6,), compiled=True)
    lines = dbc.compare(dbc.Database(db.path, db.sha, {257: wrong}, ()), 3, seed=1)
    assert len(lines) == 3
    assert lines[0].startswith("M 0000000000000000: a is 1e-06, expected 0")


def test_a_comparison_says_when_the_file_has_changed(load: Load) -> None:
    db = load(message('a : 0|8@1+ (1,0) [0|0] ""'))
    db.path.write_text(HEAD + message('a : 0|8@1- (1,0) [0|0] ""'), encoding="utf-8")
    assert "when it was loaded" in dbc.compare(db, 3, seed=1)[0]


def test_mistake_04_the_count_of_2_80_v_is_2_80_v(bms: dbc.Database) -> None:
    decoder = bms.messages[0x381]
    assert decoder.values(bytes([60] * 8)) == (2.8,) * 8
    assert decoder.raw(bytes([60] * 8)) == (60,) * 8


def test_every_cell_voltage_is_short_in_json(bms: dbc.Database) -> None:
    values = [bms.messages[0x381].values(bytes([count] * 8))[0] for count in range(256)]
    assert max(len(json.dumps(value)) for value in values) <= 4
    assert json.dumps(values[172]) == "3.92"


def test_every_module_voltage_is_short_in_json(bms: dbc.Database) -> None:
    values = bms.messages[0x181].values
    texts = [json.dumps(values(bytes(2) + struct.pack("<H", count) + bytes(4))[1]) for count in range(65536)]
    assert max(map(len, texts)) <= len("655.35")


def test_mistake_22_a_frame_of_all_ones_shows_as_such_in_counts(bms: dbc.Database) -> None:
    assert bms.messages[0x181].raw(b"\xff" * 8) == (-1, 65535, 255, 255, -1, -1)


@pytest.mark.parametrize("length", [0, 7, 9, 64])
def test_a_wrong_length_is_refused_with_what_was_given_and_expected(bms: dbc.Database, length: int) -> None:
    for can_id in (0x181, 0x381, 0x581, 0x0A100100 | dbc.EXTENDED):
        decoder = bms.messages[can_id]
        for decode in (decoder.raw, decoder.values):
            with pytest.raises(WireError) as caught:
                decode(bytes(length))
            assert str(caught.value) == f"{decoder.spec.name}: {length} bytes, expected 8"


def test_an_unknown_multiplexer_id_is_refused_by_name(load: Load) -> None:
    decoder = load(KINDS["multiplexed"]).messages[257]
    with pytest.raises(WireError, match=r"^M: m is 9, which no multiplexed signal of it has$"):
        decoder.values(bytes([9] + [0] * 7))


def test_a_signal_that_is_multiplexed_out_is_none_and_left_out_of_a_decoded_frame(load: Load) -> None:
    db = load(KINDS["multiplexed"])
    names = [signal.name for signal in db.messages[257].spec.signals]
    row = dict(zip(names, db.messages[257].values(bytes([0, 10, 0, 0, 0, 0, 0, 3])), strict=True))
    assert row == {"m": 0, "a": 1.0, "b": None, "c": None, "d": 3}
    assert dbc.decode(db, 257, bytes([0, 10, 0, 0, 0, 0, 0, 3])) == {"m": 0, "a": 1.0, "d": 3}


def test_an_unknown_identifier_is_refused(bms: dbc.Database) -> None:
    with pytest.raises(WireError, match="no message with id 0x7FE"):
        dbc.decode(bms, 0x7FE, b"")


def test_extended_and_standard_messages_of_one_number_are_two(load: Load) -> None:
    one = message('a : 0|8@1+ (1,0) [0|0] ""', name="Standard")
    db = load(one + message('b : 0|8@1+ (1,0) [0|0] ""', name="Extended", can_id=2**31 + 257))
    assert {key: decoder.spec.name for key, decoder in db.messages.items()} == {
        257: "Standard",
        257 | dbc.EXTENDED: "Extended",
    }
    assert db.messages[257 | dbc.EXTENDED].spec.can_id == 257


def test_a_spec_says_what_the_dbc_says(bms: dbc.Database, load: Load) -> None:
    current = bms.messages[0x181].spec.signals[0]
    assert current == dbc.SignalSpec(
        name="CMA_Current",
        unit="A",
        scale=0.1,
        offset=0.0,
        minimum=-3276.8,
        maximum=3276.7,
        length=16,
        signed=True,
        is_float=False,
        choices=None,
    )
    named = load(KINDS["a value table"]).messages[257].spec.signals[0]
    assert named.choices == {0: "off", 255: "not 'available"}
    assert (named.minimum, named.maximum) == (None, None)


def test_messages_are_grouped_by_module_without_sdo(bms: dbc.Database) -> None:
    found = dbc.groups(bms, r"BMU(?P<module>\d\d)_")
    assert list(found) == list(range(1, 16))
    assert {frozenset(members) for members in found.values()} == {frozenset(f"pdo{n}" for n in range(1, 9))}
    assert found[13]["pdo3"] is bms.messages[0x38D]


def test_mistake_24_module_1_does_not_take_the_frames_of_13_and_14(bms: dbc.Database) -> None:
    found = dbc.groups(bms, r"BMU(?P<module>\d\d)_")
    assert {decoder.spec.can_id & 0x0F for decoder in found[1].values()} == {1}


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("BMU(", "a regular expression"),
        (r"BMU(\d\d)_", "named group"),
        (r"CMU(?P<module>\d\d)_", "matches messages"),
        (r"(?P<module>BMU)\d\d_", "a group `module` of digits"),
        (r"BMU(?P<module>\d\d)_pdo\d", "fall together"),
        (r"(?P<module>\d\d)?SYNC", "a group `module` of digits"),
    ],
)
def test_a_wrong_group_pattern_is_refused_with_its_place(bms: dbc.Database, pattern: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        dbc.groups(bms, pattern)
    assert caught.value.where == "[can] group"
    assert caught.value.given == repr(pattern)
    assert reason in caught.value.allowed


WORDS = {*keyword.kwlist} - {"import", "lambda", "global", "exec"}
WORDS |= {"make", "wrong", "unknown", "size", "whole", "bad", "unpack", "k", "raw", "values", "data", "little", "big"}


def test_generated_source_holds_integers_and_its_own_words_only(tmp_path: Path) -> None:
    for kind, text in KINDS.items():
        path = tmp_path / "kind.dbc"
        path.write_text(HEAD + text, encoding="utf-8")
        parsed = dbc._parsed(dbc_text.read(path))
        source, _ = dbc_generate.source(dbc._layout(parsed[0]))
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type == tokenize.NAME:
                numbered = token.string[0] in "vk" and token.string[1:].isdigit()
                assert token.string in WORDS or numbered, f"{kind}: {token.string}"
            if token.type == tokenize.NUMBER:
                assert token.string.isdigit(), f"{kind}: {token.string}"
            if token.type == tokenize.STRING:
                assert token.string in ('"little"', '"big"'), f"{kind}: {token.string}"


def test_no_cantools_object_is_kept_by_a_compiled_database(load: Load) -> None:
    (decoder,) = load(KINDS["multiplexed"]).messages.values()
    reachable, todo = set(), [decoder.raw, decoder.values]
    while todo:
        one = todo.pop()
        if id(one) not in reachable and not isinstance(one, ModuleType | type | dict):
            reachable.add(id(one))
            todo += [cell.cell_contents for cell in getattr(one, "__closure__", None) or ()]
            assert type(one).__module__.split(".")[0] not in ("cantools", "bitstruct")
    assert len(reachable) > 4
