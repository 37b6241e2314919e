"""The command in a launch record is the command: printed, split and parsed, it plans the same."""

from __future__ import annotations

import shlex

from hypothesis import given
from hypothesis import strategies as st

from lawsweep.config.overrides import apply_override, parse_override

FIELDS = ("n", "scale", "name", "widths")


def spell(value):
    """A value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        # In a quoted string of that grammar only a quote, and backslashes before one, are special.
        quoted = "".join("\\'" if c == "'" else c for c in value)
        tail = len(quoted) - len(quoted.rstrip("\\"))
        return f"'{quoted}{chr(92) * tail}'"
    if isinstance(value, list):
        return f"[{','.join(map(spell, value))}]"
    return repr(value)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\\", exclude_categories=("C", "Z"))),
)
values = st.one_of(scalars, st.lists(scalars, max_size=3))


@given(st.sampled_from(FIELDS), values)
def test_a_pinned_value_survives_printing(name, value):
    text = f"params.{name}={spell(value)}"
    (again,) = shlex.split(shlex.join([text]))
    parsed = parse_override(again)
    assert parsed.value == value
    assert type(parsed.value) is type(value)
    config = apply_override({"params": {}, "axes": {name: [1]}}, parsed, FIELDS)
    assert config == {"params": {name: value}, "axes": {}, "derive": {}}


@given(st.sampled_from(FIELDS), st.lists(scalars, min_size=2, max_size=5))
def test_a_sweep_survives_printing(name, options):
    text = f"params.{name}={','.join(map(spell, options))}"
    (again,) = shlex.split(shlex.join([text]))
    parsed = parse_override(again)
    assert parsed.is_sweep
    assert parsed.value == options
    config = apply_override({"params": {name: 3}, "axes": None}, parsed, FIELDS)
    assert config["axes"] == {name: options}
    assert config["params"] == {}
