"""What errors suggest: what is close, and all there is where that is little."""

from autoprune._hints import SHORT, did_you_mean

FEW = ["budgeted", "cmaes", "random", "tpe"]
LIST = " Known: budgeted, cmaes, random, tpe."


def test_few_names_are_listed_beside_a_suggestion() -> None:
    assert did_you_mean("randm", FEW) == f" Did you mean 'random'?{LIST}"
    assert did_you_mean("rand", FEW) == f" Did you mean 'random'?{LIST}"


def test_what_is_not_close_is_not_suggested() -> None:
    assert did_you_mean("bayes", FEW) == LIST


def test_many_names_are_listed_only_where_none_is_close() -> None:
    many = [f"layer{at}" for at in range(SHORT + 10)]
    assert did_you_mean("layre7", many) == " Did you mean 'layer7'?"
    assert did_you_mean("stem", many).endswith(" and 6 more.")


def test_a_message_that_lists_them_itself_gets_no_list() -> None:
    assert did_you_mean("randm", FEW, listed=True) == " Did you mean 'random'?"
    assert did_you_mean("bayes", FEW, listed=True) == ""
