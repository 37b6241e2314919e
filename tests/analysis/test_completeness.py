import pytest

from lawsweep.analysis.completeness import completeness
from lawsweep.core.errors import InvalidValueError


def test_counts_stand_in_a_fixed_order_and_zeros_are_left_out():
    counts = {"missing": 1, "oom": 1, "infeasible": 2, "failed": 0, "ok": 866}
    assert completeness(counts, 870) == "870 planned: 866 ok, 2 infeasible, 1 oom, 1 missing"


def test_runs_without_a_row_are_missing():
    assert completeness({"ok": 3, "timeout": 1}, 6) == "6 planned: 3 ok, 1 timeout, 2 missing"
    assert completeness({}, 4) == "4 planned: 0 ok, 4 missing"


def test_an_unheard_of_status_is_shown():
    assert completeness({"ok": 1, "lost": 1}, 2) == "2 planned: 1 ok, 1 lost"


@pytest.mark.parametrize("counts", [{"ok": 5}, {"ok": -1}])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(InvalidValueError, match="at most 4 planned runs"):
        completeness(counts, 4)
