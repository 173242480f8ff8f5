"""Mutators: how a sound file comes to be another. All of them draw from a `random.Random`, and give the same again.

There are three floors: bytes of any file, lines of a text, values of a tree (JSON, TOML). `places.py` has what may
lie where a file is expected.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

# --- bytes ---

Mutator = Callable[[Random, bytes], bytes]
GARBAGE = bytes(range(256)) * 2


def _span(random: Random, data: bytes, most: int = 4096) -> tuple[int, int]:
    start = random.randrange(len(data) + 1)
    return start, min(len(data), start + random.randint(1, most))


def flip_bits(random: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 8, 64)) if changed else 0):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def truncate(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def zero_tail(random: Random, data: bytes) -> bytes:
    """What a power loss leaves."""
    start = random.randrange(len(data) + 1)
    return data[:start] + bytes(len(data) - start)


def zero_hole(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    return data[:start] + bytes(end - start) + data[end:]


def foreign_bytes(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data, 512)
    return data[:start] + random.randbytes(end - start) + data[end:]


def splice(random: Random, data: bytes) -> bytes:
    """One part over another."""
    start, end = _span(random, data)
    place = random.randrange(len(data) + 1)
    return data[:place] + data[start:end] + data[place + end - start :]


def cut_out(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    return data[:start] + data[end:]


def put_in(random: Random, data: bytes) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + random.choice((b"\0", b"\xff" * 8, GARBAGE, random.randbytes(64))) + data[place:]


def append(random: Random, data: bytes) -> bytes:
    return data + random.choice((b"\0", b"\n", GARBAGE, data))


def extreme_number(random: Random, data: bytes) -> bytes:
    """A field that says how large something is says a lot, or nothing, or less than nothing."""
    width = random.choice((1, 2, 4, 8))
    value = random.choice((0, 1, (1 << 8 * width) - 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1))
    place = random.randrange(len(data) + 1)
    return data[:place] + value.to_bytes(width, random.choice(("little", "big"))) + data[place + width :]


def empty(random: Random, data: bytes) -> bytes:
    return b""


BYTES: tuple[Mutator, ...] = (
    flip_bits, truncate, zero_tail, zero_hole, foreign_bytes, splice, cut_out, put_in, append, extreme_number, empty,
)  # fmt: skip

# --- lines of a text ---

SIGNS = (
    "\0", "\x1b[2J", "\x1b]0;title\x07", "\r", "\t", "\v", "\x7f", "\x85", "\u2028", "\u202e", "\ufeff", "\ud800", "é",
    "e\u0301", "\U0001f600", '"', "'", "\\", "{", "}", "[", "]", "=", ",", "#", "%", "::error::", "../", "~", "/",
)  # fmt: skip
"""What may stand anywhere in a text that people or programs wrote."""


def change_lines(random: Random, data: bytes) -> bytes:
    """Leave out, repeat or move a line: keys come twice, tables lack their head."""
    lines = data.split(b"\n")
    place, other = random.randrange(len(lines)), random.randrange(len(lines))
    how = random.randrange(3)
    if how == 0:
        del lines[place]
    elif how == 1:
        lines.insert(other, lines[place])
    else:
        lines[place], lines[other] = lines[other], lines[place]
    return b"\n".join(lines)


def put_signs(random: Random, data: bytes) -> bytes:
    place = random.randrange(len(data) + 1)
    return data[:place] + random.choice(SIGNS).encode(errors="surrogatepass") + data[place:]


def recode(random: Random, data: bytes) -> bytes:
    """As other editors save it."""
    text = data.decode(errors="replace")
    forms = (
        b"\xef\xbb\xbf" + data,
        text.encode("utf-16"),
        text.encode("utf-16-be"),
        text.replace("\n", "\r\n").encode(),
        text.replace("\n", "\r").encode(),
        text.replace("e", "ü").encode("latin-1", "replace"),
        text.strip().encode(),
        data * 50,
    )
    return random.choice(forms)


TEXTS: tuple[Mutator, ...] = (change_lines, change_lines, put_signs, put_signs, recode, *BYTES)


def changed(random: Random, data: bytes, ways: tuple[Mutator, ...] = BYTES) -> tuple[str, bytes]:
    """`data` after one of the ways, now and then after several; and their names."""
    names = []
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        way = random.choice(ways)
        names.append(way.__name__)
        data = way(random, data)
    return "+".join(names), data


# --- values of a tree ---


@dataclass(frozen=True)
class Raw:
    """A value by the text that stands for it in the file."""

    text: str


def _deep(depth: int, opening: str = "[", closing: str = "]") -> Raw:
    return Raw(opening * depth + closing * depth)


TEXT_VALUES = (
    "", " ", "x" * 5000, "\0", "a\0b", "\ud800", "\x1b[2J\x1b]0;x\x07", "a\n::error::b", "\u202eabc", "1e999", "nan",
    "../../canary/x", "../canary", "/", ".", "..", "~nosuchuser/x", "~/x", "/dev/zero", "/dev/full", "/proc/self/mem",
    "a/b", "a\\b", "C:\\x", "CON", "-x", "--help", "{id}", "{", "{0.__class__}", "{{ 7*7 }}", "%s", "$HOME", "`id`",
    "<script>", "é", "e\u0301", "http://[::1", "http://\x1b", "file:///etc/passwd", "0" * 64, "shapes", "val",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 255, 256, 65536, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**400, 0.0, -0.0,
    0.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
OTHERS = (
    None, True, False, [], {}, [[]], [{}], {"": ""}, {"\0": 1}, [0] * 5000, ["x"] * 300,
    Raw("9" * 5000), Raw("1e99999"), Raw("2024-01-01"), Raw("07:32:00"), _deep(300), _deep(3000), _deep(100_000),
    _deep(2000, '{"a":', "}"), _deep(2000, "{a=", "}"), Raw("0x" + "f" * 5000), Raw("'''\n'''"),
)  # fmt: skip


def any_value(random: Random) -> Any:
    """A value that nobody expects."""
    return random.choice(random.choice((TEXT_VALUES, NUMBERS, OTHERS)))


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every entry below the top, all but the insides of long lists."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree[:3]) if isinstance(tree, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


def copied(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    return [copied(value) for value in tree] if isinstance(tree, list) else tree


def at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def changed_tree(random: Random, tree: Any, below: tuple[Any, ...] = ()) -> tuple[str, Any]:
    """The tree with one to three entries changed, and what was done. `below` keeps to a part of the tree."""
    tree, done = copied(tree), []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        paths = [path for path in places(tree) if path[: len(below)] == below]
        if not paths:
            break
        path = random.choice(paths)
        done.append(_change(random, at(tree, path[:-1]), path[-1], at(tree, random.choice(paths))))
        done[-1] = f"{done[-1]} {'.'.join(map(str, path))[:80]}"
    return "+".join(done), tree


def _change(random: Random, holder: Any, key: Any, other: Any) -> str:
    """Change one entry of a dict or a list in place; returns how. `other` is the value of another place."""
    how = random.randrange(6)
    if how == 0:
        del holder[key]
        return "delete"
    if how == 1:
        holder[key] = copied(other)
        return "swap"
    if how == 2:
        holder[key] = random.choice(([holder[key]], {"x": holder[key]}, [holder[key]] * 300, str(holder[key])))
        return "wrap"
    if how == 3 and isinstance(holder, dict):
        name = random.choice((*TEXT_VALUES, str(key).upper(), str(key) + " "))
        holder[name] = holder.pop(key)
        return "rename"
    if how == 3:
        holder.append(holder[key])
        return "repeat"
    holder[key] = any_value(random)
    return f"set {holder[key]!r:.40}"


# --- writing a tree ---


def as_json(tree: Any) -> bytes:
    return _written(tree, _JSON).encode(errors="surrogatepass")


def as_toml(tree: dict[str, Any]) -> bytes:
    """Every table but the top one on one line."""
    lines = (f"{_quoted(key)} = {_written(value, _TOML)}\n" for key, value in tree.items())
    return "".join(lines).encode(errors="surrogatepass")


def _quoted(text: Any) -> str:
    return json.dumps(str(text), ensure_ascii=not any(0xD800 <= ord(sign) < 0xE000 for sign in str(text)))


@dataclass(frozen=True)
class _Form:
    equals: str
    between: str
    nan: str
    inf: str


_JSON = _Form(": ", ",\n", "NaN", "Infinity")
_TOML = _Form(" = ", ", ", "nan", "inf")


def _written(value: Any, form: _Form) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, dict):
        return "{" + form.between.join(f"{_quoted(k)}{form.equals}{_written(v, form)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + form.between.join(_written(item, form) for item in value) + "]"
    if isinstance(value, float) and value != value:
        return form.nan
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return ("-" if value < 0 else "") + form.inf
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    return _quoted(value)
