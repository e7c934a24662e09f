"""The story of a race, told in rounds: a session, its commands held, a function and a teardown.

Nothing else runs on the target, and it is deployed anew for each round: the machine is not restored
in between, so that a round costs a second, and finds what the rounds before it left.
"""

from __future__ import annotations

from fixtures.stage import Stage
from fixtures.stimulus import Stimulus
from fixtures.story import break_device, end_loads
from suites.abort.story import prepare


def story(stage: Stage) -> None:
    """Tell it, as often as the plan says; then deploy once more, and see that it works."""
    stage.resources.baseline()
    stage.armed()
    for number in range(1, stage.plan.rounds + 1):
        stage.note("round", number=number)
        tell_round(stage)
    stage.recover(traced=True)


def tell_round(stage: Stage) -> None:
    """Tell it once."""
    deployment = stage.export()
    beside = prepare(stage, deployment, None)
    stimulus = Stimulus(stage, deployment, None, issue=beside.issue)
    stimulus.arm()
    try:
        beside.before()
        break_device(stage, deployment, [], beside.meanwhile)
    finally:
        stimulus.somebody_fetches()
        beside.settle()
        ended = end_loads([*stimulus.commands], stage.ladder.step)
    stage.must(ended, "the session's keeper does not end")
    with stage.operation("remove"):
        deployment.remove()
