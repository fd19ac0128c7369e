import pytest

from constraint_corpora import judge, maskbench, official_suite, random_texts
from constraint_texts import big_vocabulary, tiny_vocabulary

SAMPLE = slice(0, 300, 8)


def check_texts(cases, vocabulary, *, seeds: int, num_expected: int) -> None:
    outcomes = list(random_texts(cases, vocabulary, budget=256, seeds=seeds))
    assert len(outcomes) >= num_expected
    assert [(name, errors) for name, finished, errors, _ in outcomes if finished and errors] == []
    small = [finished for _, finished, _, is_small in outcomes if is_small]
    assert sum(small) >= 0.95 * len(small)


@pytest.mark.capability("CD-01")
def test_a_sample_of_schemas_from_the_wild_is_judged_without_an_error(shared_data) -> None:
    found = judge(maskbench(shared_data)[SAMPLE])
    assert found.wrong == []
    assert found.num_accepted >= 0.9 * found.num_schemas


@pytest.mark.capability("CD-01", "CD-03")
def test_random_logits_finish_valid_texts_for_a_sample_of_schemas(shared_data) -> None:
    check_texts(maskbench(shared_data)[SAMPLE][::2], tiny_vocabulary(), seeds=1, num_expected=16)


@pytest.mark.slow
@pytest.mark.capability("CD-01", "CD-07")
def test_all_300_schemas_from_the_wild_are_judged_without_an_error(shared_data) -> None:
    found = judge(maskbench(shared_data))
    assert found.wrong == []
    assert found.num_accepted >= 0.9 * 300
    assert found.num_instances > 800
    assert all("why:" in reason for reason in found.refused.values())


@pytest.mark.slow
@pytest.mark.capability("CD-01")
def test_the_official_suite_is_judged_without_an_error(shared_data) -> None:
    found = judge(official_suite(shared_data))
    assert found.wrong == []
    assert found.num_accepted > 250
    assert found.num_instances > 1300
    assert found.excluded["formats are annotations by default"] < 20


@pytest.mark.slow
@pytest.mark.capability("CD-01", "CD-03")
@pytest.mark.parametrize(("vocabulary", "seeds"), [(tiny_vocabulary, 2), (big_vocabulary, 1)])
def test_random_logits_finish_valid_texts_for_every_schema(shared_data, vocabulary, seeds) -> None:
    check_texts(maskbench(shared_data), vocabulary(), seeds=seeds, num_expected=270 * seeds)
