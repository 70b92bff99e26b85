#!/usr/bin/env python3
"""toml_compare.py - a second opinion on TOML: python's tomllib (3.11).

    toml_compare.py TIDEPOOL FOLDER...

Gives every file of the folders to both, and compares what they take and the
values.  Exits with status 1 when they differ.
"""
import datetime
import json
import math
import os
import subprocess
import sys
import tomllib

INT64 = 1 << 63


class TooLarge(Exception):
    """An integer of more than 64 bits, which tomllib takes and TOML need not."""


def convert(value):
    if isinstance(value, bool):
        return ["boolean", "true" if value else "false"]
    if isinstance(value, int):
        if not -INT64 <= value < INT64:
            raise TooLarge
        return ["integer", str(value)]
    if isinstance(value, float):
        return ["float", value]
    if isinstance(value, str):
        return ["string", value]
    if isinstance(value, list):
        return ["array", [convert(item) for item in value]]
    if isinstance(value, dict):
        return ["table", {name: convert(item) for name, item in value.items()}]
    return ["date", value]


def same_date(kind, text, value):
    """tomllib keeps six digits of a second's fraction."""
    if kind == "time-local":
        return isinstance(value, datetime.time) and same_time(text, value)
    if kind == "date-local":
        return type(value) is datetime.date and text == value.isoformat()
    if not isinstance(value, datetime.datetime):
        return False
    date, rest = text.split("T")
    if date != value.date().isoformat() or not same_time(rest, value):
        return False
    if kind == "datetime-local":
        return value.tzinfo is None
    offset = 0
    if not rest.endswith("Z"):
        sign = -1 if rest[-6] == "-" else 1
        offset = sign * (int(rest[-5:-3]) * 60 + int(rest[-2:]))
    return value.utcoffset() == datetime.timedelta(minutes=offset)


def same_time(text, value):
    fraction = ""
    if len(text) > 8 and text[8] == ".":
        for digit in text[9:]:
            if not digit.isdigit():
                break
            fraction += digit
    return (text[:8] == value.strftime("%H:%M:%S")
            and int(fraction[:6].ljust(6, "0") or 0) == value.microsecond)


def same(ours, theirs):
    kind, value = ours
    if kind == "table":
        members = value or {}
        return (theirs[0] == "table" and members.keys() == theirs[1].keys()
                and all(same(members[name], theirs[1][name]) for name in members))
    if kind == "array":
        items = value or []
        return (theirs[0] == "array" and len(items) == len(theirs[1])
                and all(map(same, items, theirs[1])))
    if kind == "float":
        number = float(value)
        return theirs[0] == "float" and (
            number == theirs[1] or (math.isnan(number) and math.isnan(theirs[1])))
    if theirs[0] == "date":
        return same_date(kind, value, theirs[1])
    return [kind, value] == theirs


def second_opinion(data):
    """The value, or None: refused; raises TooLarge."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if text.startswith("\ufeff"):
        text = text[1:]
    try:
        return convert(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValueError, RecursionError):
        return None


def is_leap_second(data):
    """Which RFC 3339 has, and python has not."""
    return b":60" in data


def check(path, told):
    with open(path, "rb") as file:
        data = file.read()
    try:
        theirs = second_opinion(data)
    except TooLarge:
        return None
    ours = told.get("value")
    if ours is None and theirs is not None:
        return f"refused, which tomllib takes: {told['wrong']}"
    if ours is not None and theirs is None:
        return None if is_leap_second(data) or b"0000-" in data else "taken, which tomllib refuses"
    if ours is not None and not same(ours, theirs):
        return f"{ours} is not {theirs}"
    return None


def main():
    tidepool, *folders = sys.argv[1:]
    paths = [os.path.join(folder, name) for folder in folders
             for name in sorted(os.listdir(folder))]
    differences = taken = 0
    for first in range(0, len(paths), 200):
        some = paths[first:first + 200]
        told = subprocess.run(
            [tidepool, "run", "--trusted", "tests/fuzz/toml_values.lua", "--", *some],
            check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        for path, line in zip(some, told, strict=True):
            wrong = check(path, json.loads(line))
            taken += "value" in json.loads(line)
            if wrong:
                differences += 1
                print(f"{path}: {wrong}")
    print(f"{len(paths)} texts, {taken} taken, {differences} differences")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
