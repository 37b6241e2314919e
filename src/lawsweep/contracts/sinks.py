"""What every sink owes a launch: to hear it through, whatever its runs come to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

import lawsweep
from lawsweep.contracts.toys import faulty, spectrum
from lawsweep.core.errors import UnknownNameError
from lawsweep.core.protocols import Sink
from lawsweep.launch.sinks import delivery
from lawsweep.launch.sinks.make import make_sinks

PATIENCE_S = 120.0


class SinkContract:
    """Inherit it, and say in ``config`` what stands in the list ``sinks`` of a sweep.

    Each test has a working folder of its own, and results in it.
    """

    config: ClassVar[str | Mapping[str, Any]]

    @pytest.fixture(autouse=True)
    def own_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The working folder; and time enough, since a busy machine is no failure."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(delivery, "CALL_S", PATIENCE_S)
        monkeypatch.setattr(delivery, "END_S", PATIENCE_S)

    def sweep(self, name: str = "heard", experiment: Any = faulty, **given: Any) -> lawsweep.Sweep:
        """A sweep whose runs are executed in this process."""
        given = {"axes": {"i": "range(8)"}, "params": {"fault": "raise"}, **given}
        return lawsweep.Sweep(
            name=name, experiment=experiment, executor={"kind": "serial"}, **given
        )

    def test_it_is_made_of_its_options_and_of_no_others(self) -> None:
        (made,) = make_sinks([self.config])
        assert isinstance(made, Sink)
        given = {"kind": self.config} if isinstance(self.config, str) else self.config
        with pytest.raises(UnknownNameError, match="Unknown option 'no_such_option' in sink"):
            make_sinks([{**given, "no_such_option": 1}])

    @pytest.mark.parametrize("fault", ["none", "raise", "infeasible", "memory", "surrogate"])
    def test_it_hears_a_launch_through(self, fault: str) -> None:
        heard: list[Any] = []
        sweep = self.sweep(params={"fault": fault})
        report = lawsweep.run(sweep, sinks=[self.config, heard.append])
        assert not dropped(report)
        assert len(heard) == 8
        assert lawsweep.status(sweep).missing == 0

    def test_it_hears_of_runs_with_arrays(self) -> None:
        sweep = self.sweep(experiment=spectrum, axes={"n": [3, 5]}, params={})
        assert not dropped(lawsweep.run(sweep, sinks=[self.config]))
        assert len(lawsweep.load_arrays(sweep, "eigenvalues")) == 2

    def test_one_launch_after_the_other_and_two_at_a_time(self) -> None:
        sweeps = [self.sweep(f"heard_{i}", params={"at": i + 3}) for i in range(3)]
        assert not dropped(lawsweep.run(sweeps[0], sinks=[self.config]))
        started = [lawsweep.open(s).start(sinks=[self.config]) for s in sweeps[1:]]
        reports = [launch.wait() for launch in started]
        assert [dropped(report) for report in reports] == [[], []]

    def test_a_launch_that_is_cancelled_has_an_end_too(self) -> None:
        class Stop:
            def started(self, launch: Any) -> None:
                launch.cancel()

        sweep = self.sweep(axes={"i": "range(400)"}, params={"pause_s": 0.01})
        report = lawsweep.run(sweep, sinks=[self.config, Stop()])
        assert report.stopped == "interrupted"
        assert not dropped(report)

    def test_a_launch_that_has_nothing_to_do_is_no_trouble(self) -> None:
        sweep = self.sweep()
        lawsweep.run(sweep)
        assert not dropped(lawsweep.run(sweep, sinks=[self.config]))


def dropped(report: Any) -> list[str]:
    """What the report says of sinks that were told no more."""
    return [note for note in report.notes if note.startswith("the sink ")]
