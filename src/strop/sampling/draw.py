"""Drawing one token a row from logits, and randomness that belongs to the row alone.

The order is that of ``transformers``: bias, repetition penalty, constraint mask, temperature, top-k, top-p, min-p.
Every row has its own parameters; what no row asks for costs nothing, and what all rows share is one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from strop.sampling.params import check_params
from strop.types import SamplingParams

__all__ = ["Drawn", "Settings", "check_params", "draw", "draw_rows", "sampling_logprobs", "uniforms"]

_EXACT_COLUMNS = 256
"""Up to here everything is float64; beyond, exponentials are float32 (relative error 1e-6) and sums float64."""
_PLAIN_COLUMNS = 2048
"""Up to here the whole vocabulary is accumulated for a draw; beyond, blocks and then one block."""
_BLOCK = 256
_LIKELY = 512
"""Top-p looks among this many most likely tokens first, and sorts the vocabulary only where they do not reach p."""


@dataclass(frozen=True)
class Drawn:
    """One token a row, [B] each."""

    tokens: Tensor
    """int64."""
    logprobs: Tensor
    """float64, under the distribution that was drawn from; NaN where the logits were not finite."""
    full_logprobs: Tensor | None
    """float64, under the untouched logits at temperature 1; None unless a row asked."""
    log_mass: Tensor | None
    """float64, log of the tempered mass that the mask left; 0 for rows without; None if no row has a mask."""


def uniforms(seeds: Sequence[int], num_draws: int) -> Tensor:
    """The uniform numbers in [0, 1) of each row, [B, num_draws] float64: row i depends on ``seeds[i]`` only.

    Draw t of a row is the upper 53 bits of the t-th word of a Philox generator keyed by its seed (*Source*: Salmon et
    al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): neither its companions nor another NumPy can change it.
    """
    words = [np.random.Philox(key=int(seed) & (2**128 - 1)).random_raw(num_draws) for seed in seeds]
    return torch.from_numpy((np.stack(words) >> 11) * 2.0**-53)


class Settings:
    """The parameters of B rows as tensors; made when the rows change, used at every step."""

    def __init__(self, rows: Sequence[SamplingParams], device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        greedy = [p.temperature == 0 for p in rows]
        self.greedy: bool | Tensor = all(greedy)
        if any(greedy) and not all(greedy):
            self.greedy = torch.tensor(greedy, device=self.device)
        self.temperature = self._column([p.temperature or 1.0 for p in rows])
        sampled = [p.temperature > 0 for p in rows]
        self.top_k = self._some([p.top_k for p in rows], [s and p.top_k > 0 for s, p in zip(sampled, rows)])
        self.top_p = self._some([p.top_p for p in rows], [s and p.top_p < 1 for s, p in zip(sampled, rows)])
        self.min_p = self._some([p.min_p for p in rows], [s and p.min_p > 0 for s, p in zip(sampled, rows)])
        self.penalty = self._some([p.repetition_penalty for p in rows], [p.repetition_penalty != 1 for p in rows])
        self.penalised_rows = [i for i, p in enumerate(rows) if p.repetition_penalty != 1]
        self.bias = self._bias(rows)
        self.full = any(p.full_logprobs for p in rows)

    def _column(self, values: Sequence[float]) -> float | Tensor:
        """One number where all rows agree, else [B, 1]."""
        if len(set(values)) <= 1:
            return values[0] if values else 1.0
        return torch.tensor(values, dtype=torch.float64, device=self.device)[:, None]

    def _some(self, values: Sequence[float], have: Sequence[bool]) -> tuple[Tensor | None, Tensor] | None:
        """The rows that have the setting (None: all of them) and their values [n, 1]; None if no row has it."""
        rows = [i for i, has in enumerate(have) if has]
        if not rows:
            return None
        column = torch.tensor([values[i] for i in rows], dtype=torch.float64, device=self.device)[:, None]
        return (None if len(rows) == len(have) else torch.tensor(rows, device=self.device)), column

    def _bias(self, rows: Sequence[SamplingParams]) -> tuple[Tensor, Tensor, Tensor] | None:
        entries = [(i, token, bias) for i, p in enumerate(rows) for token, bias in p.logit_bias.items()]
        if not entries:
            return None
        places, ids, biases = zip(*entries, strict=True)
        return tuple(torch.tensor(column, device=self.device) for column in (places, ids, biases))  # type: ignore[return-value]


def draw_rows(
    logits: Tensor,
    settings: Settings,
    uniform: Tensor,
    *,
    seen: Tensor | None = None,
    mask: tuple[Tensor, Callable[[Tensor], Tensor]] | None = None,
) -> Drawn:
    """One token a row, with its log-probabilities.

    Inverse CDF in the order of the token ids: the first token whose cumulative probability exceeds ``uniform``; greedy
    takes the most likely token and reports the distribution at temperature 1, since a point mass would carry no
    information for a later ratio. Shapes: ``logits [B, V]`` float32, untouched; ``uniform [B]`` float64 in [0, 1);
    ``seen [n, V]`` bool, the tokens of prompt and completion, for the rows that have a penalty; ``mask``: the rows [m]
    under a constraint, and what puts -inf at the tokens forbidden there in [m, V] logits.
    """
    scores = logits.double() if logits.shape[-1] <= _EXACT_COLUMNS else logits
    scores = _tempered(_adjusted(scores, settings, seen), settings.temperature)
    log_mass = None
    if mask is not None:
        scores, log_mass = _masked(scores, *mask)
    scores = _cut(scores, settings)
    weights, top = _weights(scores)
    if settings.greedy is True:
        tokens, total = scores.argmax(-1), _total(weights)
    else:
        tokens, total = _inverse_cdf(weights, uniform)
        if isinstance(settings.greedy, Tensor):
            tokens = torch.where(settings.greedy, scores.argmax(-1), tokens)
    logprobs = (_pick(scores, tokens) - top).double() - total.log()
    full = _pick(logits, tokens).double() - logits.logsumexp(-1).double() if settings.full else None
    return Drawn(tokens, logprobs, full, log_mass)


def _pick(values: Tensor, tokens: Tensor) -> Tensor:
    return values.gather(-1, tokens[:, None])[:, 0]


def _adjusted(scores: Tensor, settings: Settings, seen: Tensor | None) -> Tensor:
    """Scores with the biases added, then penalised where the token was seen."""
    if settings.bias is not None:
        places, ids, biases = settings.bias
        scores = scores.index_put((places, ids), biases.to(scores.dtype), accumulate=True)
    if settings.penalty is not None:
        assert seen is not None, "a repetition penalty needs the tokens that were seen"
        scores = _replaced(scores, settings.penalty, lambda part, value: penalised(part, seen, value))
    return scores


def _tempered(scores: Tensor, temperature: float | Tensor) -> Tensor:
    if isinstance(temperature, Tensor):
        return scores / temperature.to(scores.dtype)
    return scores if temperature == 1 else scores / temperature


def _masked(scores: Tensor, rows: Tensor, forbid: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    part = scores[rows]
    before = part.logsumexp(-1).double()
    part = forbid(part)
    log_mass = torch.zeros(len(scores), dtype=torch.float64, device=scores.device)
    log_mass[rows] = (part.logsumexp(-1).double() - before).clamp(max=0.0)
    return scores.index_copy(0, rows, part), log_mass


def _cut(scores: Tensor, settings: Settings) -> Tensor:
    if settings.top_k is not None:
        scores = _replaced(scores, settings.top_k, _keep_top_k)
    if settings.top_p is not None:
        scores = _replaced(scores, settings.top_p, _keep_top_p)
    if settings.min_p is not None:
        scores = _replaced(scores, settings.min_p, _keep_min_p)
    return scores


def _replaced(scores: Tensor, some: tuple[Tensor | None, Tensor], change: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    rows, values = some
    if rows is None:
        return change(scores, values)
    return scores.index_copy(0, rows, change(scores[rows], values))


def penalised(scores: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """``scores [B, V]``: positive ones divided and negative ones multiplied by ``penalty [B, 1]`` where ``seen``.

    *Source*: Keskar et al. 2019, CTRL (1909.05858), section 4.1, as ``transformers`` corrects it for negative logits.
    """
    penalty = penalty.to(scores.dtype)
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def _keep_top_k(scores: Tensor, top_k: Tensor) -> Tensor:
    counts = top_k.long().clamp(max=scores.shape[-1])
    threshold = scores.topk(int(counts.max()), dim=-1).values.gather(-1, counts - 1)
    return scores.masked_fill(scores < threshold, -torch.inf)


def _keep_top_p(scores: Tensor, top_p: Tensor) -> Tensor:
    """See ``keep_top_p``; sorts only as much of the vocabulary as the mass needs."""
    weights, _ = _weights(scores)
    total = _total(weights)[:, None]
    if scores.shape[-1] <= 2 * _LIKELY:
        return scores.masked_fill(_beyond_mass(weights, top_p * total), -torch.inf)
    likely, ids = weights.topk(_LIKELY, dim=-1)
    # In the order of a stable sort of everything: descending, equal weights by id.
    ids, by_id = ids.sort(dim=-1)
    dropped_here = _beyond_mass(likely.gather(-1, by_id), top_p * total)
    dropped = torch.ones_like(scores, dtype=torch.bool).scatter(-1, ids, dropped_here)
    kept_least = likely.gather(-1, by_id).masked_fill(dropped_here, torch.inf).amin(-1)
    # Where the last token kept ties with the least likely candidate, more of its equals may lie outside.
    open_rows = (kept_least <= likely[:, -1]).nonzero()[:, 0]
    if len(open_rows):
        dropped[open_rows] = _beyond_mass(weights[open_rows], (top_p * total)[open_rows])
    return scores.masked_fill(dropped, -torch.inf)


def _beyond_mass(weights: Tensor, mass: Tensor) -> Tensor:
    """Where the tokens before it, most likely first, already have the ``mass``."""
    ordered, order = weights.sort(dim=-1, descending=True, stable=True)
    ordered = ordered.double()
    mass_before = ordered.cumsum(-1) - ordered
    return torch.zeros_like(weights, dtype=torch.bool).scatter(-1, order, mass_before >= mass)


def _keep_min_p(scores: Tensor, min_p: Tensor) -> Tensor:
    return scores.masked_fill(scores < scores.amax(-1, keepdim=True) + min_p.log().to(scores.dtype), -torch.inf)


def _weights(scores: Tensor) -> tuple[Tensor, Tensor]:
    """exp(score - the row's greatest), [B, V], and the greatest [B]."""
    top = scores.amax(-1, keepdim=True)
    return (scores - top).exp_(), top[:, 0]


def _blocks(weights: Tensor) -> Tensor:
    """[B, blocks, _BLOCK], the last one filled with zeros."""
    missing = -weights.shape[-1] % _BLOCK
    if missing:
        weights = torch.nn.functional.pad(weights, (0, missing))
    return weights.view(len(weights), -1, _BLOCK)


def _total(weights: Tensor) -> Tensor:
    """The sum of each row, [B] float64."""
    if weights.shape[-1] <= _PLAIN_COLUMNS:
        return weights.sum(-1, dtype=torch.float64)
    return _blocks(weights).sum(-1).double().sum(-1)


def _inverse_cdf(weights: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """The first token of each row whose cumulative share exceeds ``uniform``, and the row's total; [B] each."""
    if weights.shape[-1] <= _PLAIN_COLUMNS:
        return _search(weights, uniform)
    # A block is chosen by its sum, then a token inside it: the whole vocabulary is added up once, not accumulated.
    blocks = _blocks(weights)
    sums = blocks.sum(-1).double()
    block, total = _search(sums, uniform)
    cumulative = sums.cumsum(-1)
    share = (uniform * total - _pick(cumulative, block) + _pick(sums, block)) / _pick(sums, block)
    inside, _ = _search(blocks[torch.arange(len(blocks), device=weights.device), block], share.clamp(min=0.0))
    return (block * _BLOCK + inside).clamp(max=weights.shape[-1] - 1), total


def _search(weights: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    cumulative = weights.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1]
    # The product may round up to the total itself, which no token exceeds.
    target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    found = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
    return found.clamp(max=weights.shape[-1] - 1), total


def keep_top_k(logprobs: Tensor, top_k: int) -> Tensor:
    """``logprobs [B, V]`` with -inf where a token is less likely than the k-th; ties with the k-th stay."""
    return _keep_top_k(logprobs, torch.full((len(logprobs), 1), top_k, device=logprobs.device))


def keep_top_p(logprobs: Tensor, top_p: float) -> Tensor:
    """``logprobs [B, V]`` with -inf outside the smallest set of most likely tokens whose mass reaches ``top_p``.

    *Source*: Holtzman et al. 2020, "The curious case of neural text degeneration", equation 2.
    """
    return _keep_top_p(logprobs, torch.full((len(logprobs), 1), top_p, dtype=torch.float64, device=logprobs.device))


def sampling_logprobs(logits: Tensor, params: SamplingParams, seen: Tensor | None = None) -> Tensor:
    """The log-distribution that is drawn from, [B, V] float64, for rows of one setting without a constraint.

    For greedy decoding (``temperature == 0``) it is the whole distribution at temperature 1.
    """
    settings = Settings([params] * len(logits), logits.device)
    scores = _tempered(_adjusted(logits.double(), settings, seen), settings.temperature)
    scores = _cut(scores, settings)
    weights, top = _weights(scores)
    return scores - top[:, None] - weights.cumsum(-1)[:, -1:].log()


def draw(logits: Tensor, params: SamplingParams, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """One token a row and its log-probability, all rows under ``params``; see ``draw_rows``."""
    drawn = draw_rows(logits, Settings([params] * len(logits), logits.device), uniform)
    return drawn.tokens, drawn.logprobs
