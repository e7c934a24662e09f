# SPDX-License-Identifier: GPL-2.0-or-later
"""The past of a run's scenarios, read from the index once, and the remarks that follow from it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from results import index, queries
from results.comparison.sample import Sample
from results.comparison.slow import PastTimes
from results.errors import MachineLostError
from results.index import FIGURES
from results.judge import Judgement

NO_PAST = PastTimes({}, {})


def past_times(
    results: Path, run: str, releases: Sequence[str], scenarios: Sequence[str],
) -> PastTimes:
    """Return the past of scenarios on a run's target and kind of host; NO_PAST without an index.

    ``releases``: of the run's kernels.
    """
    with suppress(OSError, SQLAlchemyError, MachineLostError), index.opened(results) as connection:
        return PastTimes.of(queries.past(connection, run, releases, scenarios))
    return NO_PAST


def remarked(judgement: Judgement, past: PastTimes) -> Judgement:
    """Return a judgement with its times far outside the past. The verdict stays the same."""
    measured = judgement.figures
    figures = {name: figure.value for name in FIGURES if (figure := measured.get(name))}
    sample = Sample("", judgement.scenario, judgement.outcome, figures=figures)
    return replace(judgement, slow=past.slow(sample))
