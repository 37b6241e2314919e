"""What a launch has to say besides its rows is said at its end, on stderr."""

from __future__ import annotations

import json


def test_notes_of_a_launch_are_told(lawsweep, write):
    write("tight", "experiment: engine_toys:hungry\nexecutor: serial\naxes: {i: range(4)}\n"
          "params: {how: python}\n")  # fmt: skip
    code, out, err = lawsweep("run", "tight")
    note = (
        "a run ran out of memory, and was tried again with a node to itself and 0.5 of the free "
        "memory to plan with"
    )
    assert code == 0, err
    assert f"note: {note}" in err
    assert "note:" not in out
    code, out, err = lawsweep("run", "tight", "axes.i=[2,5]", "seeds=[1]", "--json")
    assert json.loads(out)["notes"] == [note]
