"""A seed determines the whole plan."""

from itertools import pairwise

from tools.chaos.faults import ENQUEUERS, FAULTS, MANAGER, POOLER, SERVER
from tools.chaos.injection import ACTIONS
from tools.chaos.plan import REST_SECONDS, PlannedFault, make_plan

SEEDS = range(200)


def test_same_seed_has_the_same_plan_and_others_have_others():
    plans = [str(make_plan(seed, 30.0)) for seed in SEEDS]

    assert plans == [str(make_plan(seed, 30.0)) for seed in SEEDS]
    assert len(set(plans)) == len(plans)


def test_every_kind_of_fault_can_be_carried_out_and_is_chosen_sometime():
    chosen = {fault.kind for seed in SEEDS for fault in make_plan(seed, 30.0).faults}

    assert chosen == FAULTS.keys() == ACTIONS.keys()


def test_faults_are_in_order_and_aimed_at_somebody():
    for seed in SEEDS:
        plan = make_plan(seed, 30.0)
        times = [fault.at for fault in plan.faults]

        assert times == sorted(times)
        assert all(0 <= at <= 30 for at in times)
        for fault in plan.faults:
            limit = {MANAGER: len(plan.managers), ENQUEUERS: plan.enqueuers, SERVER: 99, POOLER: 99}
            assert fault.number < limit[FAULTS[fault.kind].target]
            assert bool(fault.statement) == bool(FAULTS[fault.kind].statements)


def test_lasting_faults_of_one_target_do_not_meet():
    for seed in SEEDS:
        of_target: dict[object, list[PlannedFault]] = {}
        for fault in make_plan(seed, 60.0).faults:
            kind = FAULTS[fault.kind]
            if kind.target in (SERVER, POOLER):
                of_target.setdefault(SERVER, []).append(fault)
            elif fault.lasts and not kind.statements:
                of_target.setdefault((kind.target, fault.number), []).append(fault)

        for faults in of_target.values():
            for before, after in pairwise(faults):
                assert after.at >= before.at + before.lasts + REST_SECONDS


def test_only_the_kinds_that_are_asked_for_are_chosen():
    plan = make_plan(1, 60.0, only=["kill_host", "reset"])

    assert {fault.kind for fault in plan.faults} == {"kill_host", "reset"}


def test_rate_decides_how_many_faults_there_are():
    plan = make_plan(1, 60.0, only=["reset"], rate=0.1)

    assert len(plan.faults) == 6


def test_number_of_managers_is_the_seeds_unless_it_is_given():
    by_seed = {len(make_plan(seed, 30.0).managers) for seed in SEEDS}
    three = [make_plan(seed, 30.0, count=3) for seed in SEEDS]

    assert by_seed == {2, 3}
    assert all(len(plan.managers) == 3 for plan in three)
    assert all(len({one.host for one in plan.managers}) == 2 for plan in three)
    assert str(make_plan(7, 30.0)) in {str(make_plan(7, 30.0, count=count)) for count in (2, 3)}


def test_no_manager_is_behind_a_pooler_that_is_not_there():
    plans = [make_plan(seed, 30.0, has_pooler=False) for seed in SEEDS]

    assert not any(one.pooling for plan in plans for one in plan.managers)
    assert not any(FAULTS[fault.kind].target == POOLER for plan in plans for fault in plan.faults)
    assert any(one.pooling for seed in SEEDS for one in make_plan(seed, 30.0).managers)


def test_plan_is_printed_with_its_times_and_targets():
    [first, *_] = make_plan(1, 30.0, only=["lose_answer"]).faults

    assert f"{first.at:.2f} s  lose_answer of {first.number} of the next" in str(first)
