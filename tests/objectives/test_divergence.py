"""Divergences from a teacher: hand numbers, plain-Python versions, end points, tails, and students that learn."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from random_batches import descend, random_rows
from strop.errors import RecipeError
from strop.objectives import CrossEntropy, PolicyGradient, Total
from strop.objectives.divergence import (
    MIN_LOGPROB,
    Divergence,
    forward_kl,
    generalized_jsd,
    gkd,
    knowledge_distillation,
    minillm,
    reverse_kl,
    with_tail,
)
from strop.types import Objective, Sample

thorough = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)
INF = math.inf


def logs(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities], dtype=torch.float64).log()


def distributions(seed: int, vocabulary: int = 5) -> tuple[list[float], list[float]]:
    p = torch.distributions.Dirichlet(torch.ones(vocabulary, dtype=torch.float64))
    with torch.random.fork_rng():
        torch.manual_seed(seed % 2**31)
        return p.sample().tolist(), p.sample().tolist()


def slow_kl(p: Sequence[float], q: Sequence[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


# ------------------------------------------------------------------------------------------------------- the formulas


@pytest.mark.capability("DS-02")
@pytest.mark.capability("A1-9")
def test_the_golden_divergences_of_a_teacher_at_90_percent() -> None:
    teacher = logs(0.9, 0.1)
    assert forward_kl(logs(0.6, 0.4), teacher).item() == pytest.approx(0.22629, abs=5e-6)
    assert forward_kl(logs(0.85, 0.15), teacher).item() == pytest.approx(0.01090, abs=5e-6)


def test_the_reverse_divergence_swaps_the_two() -> None:
    student, teacher = logs(0.6, 0.4), logs(0.9, 0.1)
    assert reverse_kl(student, teacher).item() == pytest.approx(0.6 * math.log(2 / 3) + 0.4 * math.log(4))
    assert reverse_kl(student, teacher).item() == pytest.approx(forward_kl(teacher, student).item())


def test_a_quarter_of_the_teacher_in_the_mixture_by_hand() -> None:
    # M = 1/4 [.9, .1] + 3/4 [.5, .5] = [.6, .4]
    from_teacher = 0.9 * math.log(1.5) + 0.1 * math.log(0.25)
    from_student = 0.5 * math.log(5 / 6) + 0.5 * math.log(1.25)
    found = generalized_jsd(logs(0.5, 0.5), logs(0.9, 0.1), 0.25).item()
    assert found == pytest.approx(0.25 * from_teacher + 0.75 * from_student)


@thorough
@given(seed=seeds, beta=st.floats(0.01, 0.99))
def test_the_formulas_equal_plain_python(seed: int, beta: float) -> None:
    p, q = distributions(seed)
    student, teacher = logs(*q), logs(*p)
    mixture = [beta * a + (1 - beta) * b for a, b in zip(p, q, strict=True)]
    jsd = beta * slow_kl(p, mixture) + (1 - beta) * slow_kl(q, mixture)
    assert forward_kl(student, teacher).item() == pytest.approx(slow_kl(p, q), abs=1e-12)
    assert reverse_kl(student, teacher).item() == pytest.approx(slow_kl(q, p), abs=1e-12)
    assert generalized_jsd(student, teacher, beta).item() == pytest.approx(jsd, abs=1e-12)


@thorough
@given(seed=seeds, beta=st.floats(0.01, 0.99))
def test_swapping_student_and_teacher_swaps_beta(seed: int, beta: float) -> None:
    p, q = distributions(seed)
    one = generalized_jsd(logs(*q), logs(*p), beta).item()
    assert one == pytest.approx(generalized_jsd(logs(*p), logs(*q), 1 - beta).item(), abs=1e-12)
    assert 0 <= one <= math.log(2) + 1e-9


def test_distributions_without_a_common_token_are_ln_2_apart_in_the_even_mixture() -> None:
    assert generalized_jsd(logs(1.0, 0.0), logs(0.0, 1.0), 0.5).item() == pytest.approx(math.log(2), abs=1e-9)


@thorough
@given(seed=seeds)
def test_the_gradients_in_the_students_logits_are_the_closed_forms(seed: int) -> None:
    p, q = distributions(seed)
    logits = logs(*q).requires_grad_()
    p_teacher, p_student = torch.tensor([p]), torch.tensor([q])
    (forward,) = torch.autograd.grad(forward_kl(logits.log_softmax(-1), logs(*p)).sum(), logits)
    torch.testing.assert_close(forward, p_student - p_teacher, check_dtype=False)
    (reverse,) = torch.autograd.grad(reverse_kl(logits.log_softmax(-1), logs(*p)).sum(), logits)
    expected = p_student * (p_student.log() - p_teacher.log() - slow_kl(q, p))
    torch.testing.assert_close(reverse, expected, check_dtype=False, atol=1e-5, rtol=1e-5)


@pytest.mark.capability("AB-detached-teacher")
@pytest.mark.parametrize("formula", [forward_kl, reverse_kl, lambda s, t: generalized_jsd(s, t, 0.3)])
def test_the_teacher_gets_no_gradient(formula) -> None:  # type: ignore[no-untyped-def]
    student, teacher = logs(0.6, 0.4).requires_grad_(), logs(0.9, 0.1).requires_grad_()
    formula(student, teacher).sum().backward()
    assert teacher.grad is None
    assert student.grad is not None


ALL = {"forward": forward_kl, "reverse": reverse_kl, "jsd": lambda s, t: generalized_jsd(s, t, 0.3)}
every_formula = pytest.mark.parametrize("formula", ALL.values(), ids=ALL)


@every_formula
def test_a_token_that_both_have_masked_out_changes_nothing(formula) -> None:  # type: ignore[no-untyped-def]
    narrow, wide = logs(0.6, 0.4).requires_grad_(), logs(0.6, 0.4, 0.0).requires_grad_()
    expected = formula(narrow, logs(0.9, 0.1)).sum()
    found = formula(wide, logs(0.9, 0.1, 0.0)).sum()
    assert found.item() == pytest.approx(expected.item(), abs=1e-12)
    (one,) = torch.autograd.grad(expected, narrow)
    (other,) = torch.autograd.grad(found, wide)
    torch.testing.assert_close(other, torch.cat([one, torch.zeros(1, 1)], 1), check_dtype=False)


@every_formula
@pytest.mark.parametrize("hopeless", [-1e3, -1e30])
def test_teachers_that_rule_tokens_out_and_hopeless_students_stay_finite(formula, hopeless: float) -> None:  # type: ignore[no-untyped-def]
    logits = torch.tensor([[0.0, hopeless, 1.0]], requires_grad=True)
    value = formula(logits.log_softmax(-1), logs(0.5, 0.5, 0.0).float()).sum()
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_a_token_that_the_teacher_rules_out_costs_a_hundred_nats() -> None:
    assert MIN_LOGPROB == -100
    found = reverse_kl(logs(0.75, 0.25), logs(1.0, 0.0)).item()
    assert found == pytest.approx(0.75 * math.log(0.75) + 0.25 * (math.log(0.25) + 100))


def test_a_student_that_cannot_say_what_the_teacher_says_pays_a_hundred_nats_too() -> None:
    assert forward_kl(logs(1.0, 0.0), logs(0.75, 0.25)).item() == pytest.approx(
        0.75 * math.log(0.75) + 0.25 * (math.log(0.25) + 100)
    )


def test_a_student_below_a_hundred_nats_is_still_pulled_up() -> None:
    logits = torch.tensor([[0.0, -500.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(forward_kl(logits.log_softmax(-1), logs(0.5, 0.5)).sum(), logits)
    assert gradient.tolist()[0] == pytest.approx([0.5, -0.5])


@every_formula
def test_half_precision_is_widened_before_anything_is_computed(formula) -> None:  # type: ignore[no-untyped-def]
    student, teacher = logs(0.6, 0.4).bfloat16(), logs(0.9, 0.1).bfloat16()
    found = formula(student, teacher)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(formula(student.double(), teacher.double()).item(), abs=1e-6)


# ----------------------------------------------------------------------------------------------------------- the tail


def test_what_the_teacher_does_not_list_is_one_bucket_of_both() -> None:
    student, teacher = with_tail(logs(0.4, 0.3, 0.2, 0.1), torch.tensor([[2, 0]]), logs(0.5, 0.3))
    assert student.exp().tolist()[0] == pytest.approx([0.2, 0.4, 0.4])
    assert teacher.exp().tolist()[0] == pytest.approx([0.5, 0.3, 0.2])


def test_a_teacher_that_lists_every_token_has_no_bucket_and_is_exact() -> None:
    ids = torch.tensor([[2, 0, 1]])
    student, teacher = with_tail(logs(0.5, 0.3, 0.2), ids, logs(0.7, 0.2, 0.1))
    assert student.exp().tolist()[0] == pytest.approx([0.2, 0.5, 0.3])
    assert teacher.exp().tolist()[0] == pytest.approx([0.7, 0.2, 0.1])
    full = forward_kl(logs(0.5, 0.3, 0.2), logs(0.2, 0.1, 0.7))
    assert forward_kl(student, teacher).item() == pytest.approx(full.item())


@thorough
@given(seed=seeds, listed=st.integers(1, 4))
def test_bucketing_never_raises_a_divergence(seed: int, listed: int) -> None:
    p, q = distributions(seed)
    top = logs(*p).topk(listed)
    student, teacher = with_tail(logs(*q), top.indices, top.values)
    assert student.exp().sum().item() == pytest.approx(1.0)
    assert teacher.exp().sum().item() == pytest.approx(1.0)
    for formula in ALL.values():
        assert -1e-12 <= formula(student, teacher).item() <= formula(logs(*q), logs(*p)).item() + 1e-12


def test_a_students_mass_outside_the_list_is_not_renormalised_away() -> None:
    # Conditioned on the two listed tokens, student and teacher agree; in truth the student is elsewhere.
    student, teacher = with_tail(logs(0.1, 0.1, 0.8), torch.tensor([[0, 1]]), logs(0.45, 0.45))
    assert forward_kl(student, teacher).item() == pytest.approx(0.9 * math.log(4.5) + 0.1 * math.log(1 / 8))


def test_the_gradient_reaches_the_unlisted_tokens_through_their_bucket_and_not_the_teacher() -> None:
    logits, top = torch.tensor([[1.0, 0.5, 0.0, -0.5]], requires_grad=True), logs(0.6).requires_grad_()
    student, teacher = with_tail(logits.log_softmax(-1), torch.tensor([[1]]), top)
    assert not teacher.requires_grad
    (gradient,) = torch.autograd.grad(forward_kl(student, teacher).sum(), logits)
    p = logits.detach().softmax(-1)[0]
    outside = 1 - p[1]
    expected = [p[v] - 0.4 * p[v] / outside for v in range(4)]
    expected[1] = p[1] - 0.6
    assert gradient.tolist()[0] == pytest.approx([float(x) for x in expected], abs=1e-6)


def test_a_list_that_sums_to_one_or_to_a_rounding_more_leaves_an_empty_bucket() -> None:
    for first in (0.7, 0.7 + 1e-7):
        student, teacher = with_tail(logs(0.5, 0.3, 0.1, 0.1), torch.tensor([[0, 1]]), logs(first, 0.3))
        assert teacher[0, 2].exp() < 1e-12
        assert forward_kl(student, teacher).item() == pytest.approx(0.7 * math.log(1.4), abs=1e-6)
        assert generalized_jsd(student, teacher, 0.5).isfinite()


@pytest.mark.parametrize("kind", ["reverse", "jsd"])
@pytest.mark.parametrize("lead", [16.0, 18.0, 20.0, 25.0])
def test_a_sure_teacher_whose_list_sums_to_one_in_float32_is_not_taken_to_rule_the_rest_out(
    kind: str, lead: float
) -> None:
    teacher, student = torch.zeros(1, 50), torch.zeros(1, 50)
    teacher[0, 0], student[0, 0] = lead, 4.0
    formula = reverse_kl if kind == "reverse" else lambda s, t: generalized_jsd(s, t, 0.5)
    exact = formula(student.double().log_softmax(1), teacher.double().log_softmax(1)).item()
    top = teacher.log_softmax(1).topk(4)
    bucketed = formula(*with_tail(student.log_softmax(1), top.indices, top.values)).item()
    assert 0 < bucketed <= exact * 1.02  # a bucket can only lower it; 2 % is float32's rounding of the small bucket


def test_a_masked_token_outside_the_list_leaves_the_bucket_as_it_is() -> None:
    logits = torch.tensor([[1.0, 0.0, -INF]], requires_grad=True)
    student, teacher = with_tail(logits.log_softmax(-1), torch.tensor([[0]]), logs(0.6))
    assert student.exp().tolist()[0] == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e)])
    (gradient,) = torch.autograd.grad(reverse_kl(student, teacher).sum(), logits)
    assert gradient.isfinite().all()
    assert gradient[0, 2] == 0


# ------------------------------------------------------------------------------------------------------ the objective


def sample(
    logits: Sequence[Sequence[float]],
    ids: Sequence[Sequence[int]],
    probabilities: Sequence[Sequence[float]],
    name: str = "row",
    **streams: Sequence[float],
) -> Sample:
    """A prompt token and then one trained token for each row of ``logits``."""
    length = len(logits) + 1
    return Sample(
        name=name,
        token_ids=tuple(range(length)),
        loss_mask=(False, *[True] * (length - 1)),
        streams={
            "logprobs": [0.0] * length,
            "logits": [[0.0] * len(logits[0]), *map(list, logits)],
            "teacher_top_ids": [[0] * len(ids[0]), *map(list, ids)],
            "teacher_top_logprobs": [[0.0] * len(ids[0]), *([math.log(p) for p in row] for row in probabilities)],
            **{key: [0.0, *values] for key, values in streams.items()},
        },
    )


def full(student: Sequence[float], teacher: Sequence[float]) -> Sample:
    return sample([[math.log(p) for p in student]], [list(range(len(teacher)))], [teacher])


@pytest.mark.capability("DS-02")
@pytest.mark.capability("A1-9")
def test_one_token_has_the_golden_value_and_metrics() -> None:
    result = descend(Divergence(), [full([0.6, 0.4], [0.9, 0.1])])
    assert result.value == pytest.approx(0.22629, abs=5e-6)
    assert result.metrics == pytest.approx({"divergence": 0.22629, "teacher_tail": 0.0, "agreement": 1.0}, abs=5e-6)
    assert result.by_output["logits"]["row"].tolist()[1] == pytest.approx([-0.3, 0.3])


def test_metrics_tell_the_tail_and_whether_both_say_the_same() -> None:
    rows = [
        sample([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]], [[1, 2], [1, 0]], [[0.3, 0.5], [0.6, 0.2]]),
    ]
    result = descend(Divergence(kind="reverse"), rows)
    assert result.metrics["teacher_tail"] == pytest.approx(0.2)
    assert result.metrics["agreement"] == 0.5  # the first token's likeliest is 2 for both, the second's 0 against 1


def slow_terms(row: Sample, kind: str, beta: float | None, tau: float) -> list[float]:
    found = []
    for t, trained in enumerate(row.loss_mask):
        if not trained:
            continue
        scaled = [math.exp(z / tau) for z in row.streams["logits"][t]]
        ids = [int(v) for v in row.streams["teacher_top_ids"][t]]
        student = [scaled[v] / sum(scaled) for v in ids]
        teacher = [math.exp(x) for x in row.streams["teacher_top_logprobs"][t]]
        student, teacher = [*student, 1 - sum(student)], [*teacher, 1 - sum(teacher)]
        if kind == "jsd":
            assert beta is not None
            mixture = [beta * a + (1 - beta) * b for a, b in zip(teacher, student, strict=True)]
            found.append(beta * slow_kl(teacher, mixture) + (1 - beta) * slow_kl(student, mixture))
        else:
            found.append(slow_kl(teacher, student) if kind == "forward" else slow_kl(student, teacher))
    return found


@thorough
@given(seed=seeds, tau=st.floats(0.5, 4.0))
@pytest.mark.parametrize(("kind", "beta"), [("forward", None), ("reverse", None), ("jsd", 0.3)])
def test_the_value_is_tau_squared_times_the_token_mean(seed: int, tau: float, kind, beta: float | None) -> None:  # type: ignore[no-untyped-def]
    rows = random_rows(seed)
    terms = [term for row in rows for term in slow_terms(row, kind, beta, tau)]
    result = descend(Divergence(kind=kind, beta=beta, tau=tau), rows)
    assert result.metrics["divergence"] == pytest.approx(sum(terms) / len(terms), rel=1e-4, abs=1e-6)
    assert result.value == pytest.approx(tau**2 * sum(terms) / len(terms), rel=1e-4, abs=1e-6)


@pytest.mark.capability("DS-02")
@pytest.mark.capability("AB-KD-tau2")
def test_at_high_tau_the_gradient_keeps_the_size_of_the_difference_of_logits() -> None:
    # Hinton et al., section 2.1: for centred logits it tends to (z_S - z_T) / V; without tau² it falls as 1 / tau².
    student, teacher, tau = torch.tensor([1.0, -0.5, -0.5]), torch.tensor([-1.0, 0.0, 1.0]), 1e3
    softened = (teacher.double() / tau).softmax(-1).tolist()
    result = descend(Divergence(tau=tau), [sample([student.tolist()], [[0, 1, 2]], [softened])])
    assert result.by_output["logits"]["row"][1].tolist() == pytest.approx(((student - teacher) / 3).tolist(), abs=2e-3)


def test_the_defaults_are_the_plain_forward_divergence() -> None:
    assert Divergence() == Divergence(kind="forward", beta=None, tau=1.0)
    assert Divergence().needs == {"logits"}
    assert Divergence().temperature == 1.0
    with pytest.raises(TypeError, match="temperature"):
        Divergence(temperature=2.0)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "backward"},
        {"kind": "jsd"},
        {"kind": "jsd", "beta": 0.0},
        {"kind": "jsd", "beta": 1.0},
        {"kind": "jsd", "beta": math.nan},
        {"beta": 0.5},
        {"kind": "reverse", "beta": 0.5},
        {"tau": 0.0},
        {"tau": -1.0},
        {"tau": math.inf},
        {"tau": math.nan},
    ],
)
def test_settings_without_a_meaning_are_refused(settings: dict) -> None:
    with pytest.raises(RecipeError, match="divergence"):
        Divergence(**settings)


def test_a_policy_that_was_not_asked_for_logits_is_told() -> None:
    row = full([0.6, 0.4], [0.9, 0.1])
    bare = Sample(
        name="row",
        token_ids=row.token_ids,
        loss_mask=row.loss_mask,
        streams={key: value for key, value in row.streams.items() if key != "logits"},
    )
    with pytest.raises(AssertionError, match="not asked for logits"):
        descend(Divergence(), [bare])


# ---------------------------------------------------------------------------------------------------- the compositions


@pytest.mark.capability("DS-06")
@pytest.mark.capability("AB-GKD-endpoints")
def test_gkds_end_points_are_the_two_divergences_and_not_limits_of_the_mixture() -> None:
    assert gkd(beta=0, tau=2.0) == Divergence(kind="forward", tau=2.0)
    assert gkd(beta=1, tau=2.0) == Divergence(kind="reverse", tau=2.0)
    assert gkd() == Divergence(kind="jsd", beta=0.5, tau=1.0)
    assert gkd(beta=0.3, tau=2.0) == Divergence(kind="jsd", beta=0.3, tau=2.0)
    rows = random_rows(1)
    forward, near_forward = descend(gkd(beta=0), rows).value, descend(gkd(beta=0.001), rows).value
    reverse, near_reverse = descend(gkd(beta=1), rows).value, descend(gkd(beta=0.999), rows).value
    assert near_forward / 0.001 == pytest.approx(forward, rel=0.02)
    assert near_reverse / 0.001 == pytest.approx(reverse, rel=0.02)


@pytest.mark.parametrize("beta", [-0.1, 1.1, math.nan])
def test_a_gkd_outside_the_unit_interval_is_refused(beta: float) -> None:
    with pytest.raises(RecipeError):
        gkd(beta=beta)


@pytest.mark.capability("DS-02")
def test_knowledge_distillation_mixes_the_labels_with_the_teacher() -> None:
    rows = random_rows(2)
    labels, teacher = descend(CrossEntropy(), rows), descend(Divergence(tau=3.0), rows)
    both = descend(knowledge_distillation(alpha=0.2, tau=3.0), rows)
    assert both.value == pytest.approx(0.2 * labels.value + 0.8 * teacher.value)
    assert knowledge_distillation() == Total(((0.5, CrossEntropy()), (0.5, Divergence(tau=2.0))))
    assert knowledge_distillation(alpha=0).terms[0][0] == 0
    assert knowledge_distillation(alpha=1).terms[1][0] == 0
    assert both.metrics.keys() == {"nll", "divergence", "teacher_tail", "agreement"}


@pytest.mark.parametrize("alpha", [-0.01, 1.01, math.nan])
def test_a_share_of_labels_outside_the_unit_interval_is_refused(alpha: float) -> None:
    with pytest.raises(RecipeError, match="alpha"):
        knowledge_distillation(alpha=alpha)


# -------------------------------------------------------------------------------------------- students that can be seen

ANSWERS = list(itertools.product(range(3), repeat=2))


class Student:
    """p(a, b) = softmax(first)[a] · softmax(second[a])[b], a table of logits."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = torch.randn(4, 3, generator=generator, dtype=torch.float64).requires_grad_()

    def logits(self, answer: tuple[int, int]) -> Tensor:
        """Those of both tokens, [2, 3]."""
        return self.table[[0, 1 + answer[0]]]

    def logprobs(self, answer: tuple[int, int]) -> Tensor:
        return self.logits(answer).log_softmax(-1)[[0, 1], list(answer)]

    def row(self, answer: tuple[int, int], teacher: Student, name: str = "row") -> Sample:
        log_ratio = (self.logprobs(answer) - teacher.logprobs(answer)).tolist()
        return sample(
            self.logits(answer).tolist(),
            [[0, 1, 2]] * 2,
            teacher.logits(answer).softmax(-1).tolist(),
            name,
            logprobs=self.logprobs(answer).tolist(),
            advantages=[-log_ratio[1], 0.0],
        )

    def gradient(self, objective: Objective, answer: tuple[int, int], teacher: Student) -> Tensor:
        """d objective / d table for this one answer."""
        found = descend(objective, [self.row(answer, teacher)])
        outputs = [self.logits(answer), self.logprobs(answer)]
        upstream = [found.by_output["logits"]["row"][1:], found.gradients["row"][1:]]
        return torch.autograd.grad(outputs, self.table, upstream)[0]


def sequence_kl(student: Student, teacher: Student) -> Tensor:
    q = torch.stack([student.logprobs(answer).sum() for answer in ANSWERS])
    p = torch.stack([teacher.logprobs(answer).sum() for answer in ANSWERS]).detach()
    return (q.exp() * (q - p)).sum()


@pytest.mark.capability("DS-06")
@pytest.mark.parametrize("seed", [0, 2])
def test_minillm_on_average_is_the_exact_gradient_of_the_reverse_divergence_of_whole_answers(seed: int) -> None:
    student, teacher = Student(seed), Student(seed + 1)
    (expected,) = torch.autograd.grad(sequence_kl(student, teacher), student.table)
    mean = sum(
        student.logprobs(answer).sum().exp().detach() * student.gradient(minillm(), answer, teacher)
        for answer in ANSWERS
    )
    torch.testing.assert_close(2 * mean, expected, rtol=1e-5, atol=1e-6)  # a token mean over answers of two tokens


def test_minillm_is_a_clipped_policy_gradient_and_the_exact_single_step() -> None:
    gradient = PolicyGradient(aggregate="token_mean", clip_low=0.1, clip_high=0.1)
    assert minillm(clip=0.1) == Total(((1.0, gradient), (1.0, Divergence(kind="reverse"))))
    assert minillm().terms[0][1] == PolicyGradient(aggregate="token_mean", clip_low=0.2, clip_high=0.2)


def step(
    student: Student, objective: Objective, answers: list[tuple[int, int]], teacher: Student, rate: float
) -> float:
    gradient = sum(student.gradient(objective, answer, teacher) for answer in answers) / len(answers)
    before = descend(objective, [student.row(answer, teacher, str(i)) for i, answer in enumerate(answers)])
    student.table = (student.table - rate * gradient).detach().requires_grad_()
    return before.metrics["divergence"]


@pytest.mark.capability("DS-02")
def test_the_divergence_of_a_tabular_student_falls_to_nothing_under_descent() -> None:
    student, teacher = Student(0), Student(7)
    found = [step(student, Divergence(tau=2.0), ANSWERS[::4], _soft(teacher, 2.0), 3.0) for _ in range(60)]
    assert all(later < earlier for earlier, later in itertools.pairwise(found))
    assert found[0] > 0.1
    assert found[-1] < 0.01 * found[0]


def _soft(teacher: Student, tau: float) -> Student:
    """The teacher as its log-probabilities at ``tau`` are recorded."""
    soft = Student(0)
    soft.table = (teacher.table / tau).detach()
    return soft


@pytest.mark.capability("DS-06")
@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_student_earns_what_its_teacher_earns_by_learning_on_its_own_samples(beta: float) -> None:
    rewarded, student, teacher = (2, 0), Student(3), Student(4)
    with torch.no_grad():
        teacher.table.zero_()
        teacher.table[0, rewarded[0]] = teacher.table[1 + rewarded[0], rewarded[1]] = 4.0
    generator = torch.Generator().manual_seed(0)
    before = student.logprobs(rewarded).sum().exp().item()
    for _ in range(40):
        probabilities = torch.stack([student.logprobs(answer).sum().exp() for answer in ANSWERS]).detach()
        drawn = torch.multinomial(probabilities, 4, replacement=True, generator=generator)
        step(student, gkd(beta=beta), [ANSWERS[i] for i in drawn], teacher, 3.0)
    after = student.logprobs(rewarded).sum().exp().item()
    assert before < 0.3
    assert after > 0.8
    assert teacher.logprobs(rewarded).sum().exp().item() == pytest.approx((math.e**4 / (math.e**4 + 2)) ** 2)


def test_listed_probabilities_that_round_to_more_than_one_leave_no_negative_tail() -> None:
    rows = [sample([[0.0] * 5], [[0, 1, 2]], [[0.6, 0.4, 1e-3]])]
    result = descend(Divergence(), rows)
    assert result.metrics["teacher_tail"] == 0.0
    assert math.isfinite(result.value)
