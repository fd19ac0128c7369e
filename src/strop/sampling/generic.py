"""The decoder for every architecture: the model's own ``transformers`` forward with its own kind of cache.

Rows under one adapter that were added together run together, left-padded to one width; where the cache holds keys and
values only, all rows of an adapter are joined into one batch. Models with a running state (convolutions, recurrences)
are never padded: rows of equal length run together. Models that take no cache at all compute every prefix anew.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from strop.sampling import cache as caches
from strop.sampling.adapters import AdapterHooks
from strop.sampling.decoding import Adapter

if TYPE_CHECKING:
    from strop.models import Policy

_PREFILL_TOKENS = 2**14
_COMPACT_SHARE = 8  # removed rows leave the cache once they are an eighth of it: each time costs a copy


@dataclass
class _Cohort:
    """Rows that run together, under one adapter, left-padded to one width; all lists have one entry a row."""

    slots: list[int | None]
    """None where the row was removed and its memory not yet given back."""
    lengths: list[int]
    """Tokens fed so far; also the position id of the next one."""
    ends: list[int]
    """The most that ``lengths`` may become."""
    adapter: int
    width: int
    cache: Any
    """None for models that take no cache."""
    mask: Tensor
    """[B, capacity] int64, 0 at left padding and 1 from the prompt's first token on."""
    token_ids: list[list[int]] = field(default_factory=list)
    """Of models that take no cache."""

    @property
    def live(self) -> list[int]:
        return [i for i, slot in enumerate(self.slots) if slot is not None]

    def keep(self, rows: Sequence[int], device: torch.device) -> None:
        """Keep these rows, in this order; a row may be named several times."""
        chosen = torch.tensor(rows, device=device)
        for name in ("slots", "lengths", "ends", "token_ids"):
            values = getattr(self, name)
            setattr(self, name, [copy.copy(values[i]) for i in rows] if values else values)
        self.mask = self.mask[chosen]
        if self.cache is not None:
            caches.select(self.cache, chosen)


class GenericDecoder:
    """Implements ``strop.sampling.decoding.Decoder`` for any causal language model; weights are read where they lie."""

    name = "the model's own forward"
    can_extend = False

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.vocab_size = int(policy.model.config.get_text_config(decoder=True).vocab_size)
        self._config = policy.model.config
        self._hooks = AdapterHooks(policy)
        self._cohorts: list[_Cohort] = []
        self._num_slots = 0
        self._free: list[int] = []
        accepted = set(inspect.signature(_plain(policy.model).forward).parameters)
        self._takes_cache = "past_key_values" in accepted
        self._takes_positions = "position_ids" in accepted
        self._selects = "logits_to_keep" in accepted
        self._pads = self._takes_cache and caches.can_join(caches.make_cache(self._config, 1))

    @property
    def bytes_used(self) -> int:
        """What the caches of all rows take."""
        return sum(caches.size_bytes(cohort.cache) for cohort in self._cohorts if cohort.cache is not None)

    def bytes_for(self, lengths: Sequence[int]) -> int:
        """Keys and values at the longest row's length for each, as they are padded."""
        if not self._takes_cache or not lengths:
            return 0
        config = self._config.get_text_config(decoder=True)
        query_heads = getattr(config, "num_attention_heads", None) or 1
        heads = getattr(config, "num_key_value_heads", None) or query_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // query_heads
        bytes_per_token = 2 * config.num_hidden_layers * heads * head_dim * _element_size(self.policy)
        return int(bytes_per_token * max(lengths) * len(lengths))

    def refresh(self) -> float:
        """0: every forward reads the policy's own weights."""
        return 0.0

    def load(self, adapter: Adapter) -> int:
        """Its index. Raises: ModelError where it names a layer that the model has not."""
        return self._hooks.load(adapter)

    def add(
        self, prompts: Sequence[Sequence[int]], room: Sequence[int], adapters: Sequence[int]
    ) -> tuple[list[int], Tensor]:
        """See ``Decoder.add``; identical prompts under one adapter are computed once."""
        slots = [self._new_slot() for _ in prompts]
        logits: list[Tensor | None] = [None] * len(prompts)
        cohorts = list(self._cohorts)
        try:
            for rows in self._pieces(prompts, adapters):
                cohort, found = self._prefill([(prompts[i], room[i], slots[i]) for i in rows], adapters[rows[0]])
                cohorts.append(cohort)
                for row, values in zip(rows, found.unbind(0), strict=True):
                    logits[row] = values
            cohorts = self._joined_by_adapter(cohorts)
        except BaseException:
            self._free.extend(slots)
            raise
        self._cohorts = cohorts
        return slots, torch.stack([values for values in logits if values is not None])

    def _pieces(self, prompts: Sequence[Sequence[int]], adapters: Sequence[int]) -> list[list[int]]:
        """Which rows are prefilled in one forward: of one adapter, and a bounded padded area, or equal lengths."""
        order = sorted(range(len(prompts)), key=lambda i: (adapters[i], -len(prompts[i]), tuple(prompts[i])))
        pieces: list[list[int]] = []
        for index in order:
            first = pieces[-1][0] if pieces else index
            longest = len(prompts[first])
            fits = adapters[first] == adapters[index] and (self._pads or longest == len(prompts[index]))
            if pieces and fits and longest * (len(pieces[-1]) + 1) <= _PREFILL_TOKENS:
                pieces[-1].append(index)
            else:
                pieces.append([index])
        return pieces

    def _prefill(self, rows: list[tuple[Sequence[int], int, int]], adapter: int) -> tuple[_Cohort, Tensor]:
        """The cohort of rows (prompt, room, slot) and the next logits [n, V]."""
        keys = [tuple(prompt) for prompt, _, _ in rows]
        distinct = {key: i for i, key in enumerate(dict.fromkeys(keys))}
        lengths = [len(prompt) for prompt in distinct]
        width = max(lengths)
        ends = [len(prompt) + room for prompt, room, _ in rows]
        capacity = width + max(room for _, room, _ in rows)
        cohort = _Cohort(
            slots=[0] * len(distinct),
            lengths=[0] * len(distinct),
            ends=[max(ends)] * len(distinct),
            adapter=adapter,
            width=0,
            cache=caches.make_cache(self._config, capacity) if self._takes_cache else None,
            mask=_mask(lengths, width, capacity, self.policy.device),
            token_ids=[] if self._takes_cache else [[] for _ in distinct],
        )
        padded = [[prompt[0]] * (width - len(prompt)) + list(prompt) for prompt in distinct]
        positions = (cohort.mask[:, :width].cumsum(-1) - 1).clamp(min=0)
        logits = self._forward(cohort, torch.tensor(padded, device=self.policy.device), positions)
        cohort.lengths = lengths
        places = [distinct[key] for key in keys]
        if places != list(range(len(distinct))):
            cohort.keep(places, self.policy.device)
            logits = logits[torch.tensor(places, device=logits.device)]
        cohort.slots, cohort.ends = [slot for *_, slot in rows], ends
        return cohort, logits

    def _forward(self, cohort: _Cohort, token_ids: Tensor, positions: Tensor) -> Tensor:
        """Feed [B, T] tokens behind what the cohort has; the logits after the last, [B, V] float32."""
        cohort.width += token_ids.shape[1]
        arguments: dict[str, Any] = {"input_ids": token_ids}
        if self._takes_cache:
            mask = cohort.mask[:, : cohort.width]
            arguments |= {"past_key_values": cohort.cache, "use_cache": True, "attention_mask": mask}
        else:
            for row, new in zip(cohort.token_ids, token_ids.tolist(), strict=True):
                row.extend(new)
            arguments["input_ids"] = torch.tensor(cohort.token_ids, device=self.policy.device)
            positions = torch.arange(cohort.width, device=self.policy.device).expand(len(cohort.slots), -1)
        if self._takes_positions:
            arguments["position_ids"] = positions
        if self._selects:
            arguments["logits_to_keep"] = 1
        with self._hooks.active(cohort.adapter):
            logits: Tensor = self.policy.model(**arguments).logits[:, -1].float()
        return logits

    def advance(self, slots: Tensor, tokens: Tensor) -> Tensor:
        """See ``Decoder.advance``; a part of the rows is split off from the others, at the cost of a copy."""
        fed = dict(zip(slots.tolist(), tokens.tolist(), strict=True))
        found: dict[int, Tensor] = {}
        self._split(fed)
        for cohort in self._cohorts:
            if not any(slot in fed for slot in cohort.slots):
                continue
            column = [[0 if slot is None else fed[slot]] for slot in cohort.slots]
            # A removed row may run beyond its end, where there are no positions any more.
            positions = [[min(at, end - 1)] for at, end in zip(cohort.lengths, cohort.ends, strict=True)]
            device = self.policy.device
            logits = self._forward(cohort, torch.tensor(column, device=device), torch.tensor(positions, device=device))
            cohort.lengths = [length + 1 for length in cohort.lengths]
            if cohort.slots == list(fed):
                return logits
            found |= {slot: logits[i] for i, slot in enumerate(cohort.slots) if slot is not None}
        return torch.stack([found[slot] for slot in fed])

    def _split(self, fed: dict[int, int]) -> None:
        """Make every cohort either fed or not fed as a whole."""
        for cohort in list(self._cohorts):
            idle = [i for i in cohort.live if cohort.slots[i] not in fed]
            if not idle or len(idle) == len(cohort.live):
                continue
            busy = [i for i in cohort.live if cohort.slots[i] in fed]
            if not self._takes_cache:
                raise NotImplementedError("a model without a cache feeds all its rows")
            self._cohorts[self._cohorts.index(cohort)] = self._part(cohort, busy)
            self._cohorts.append(self._part(cohort, idle))

    def extend(self, slots: Sequence[int], tokens: Sequence[Sequence[int]]) -> Tensor:
        """Not offered: the rows of a padded batch grow at one pace."""
        raise NotImplementedError

    def remove(self, slots: Sequence[int]) -> None:
        """Take rows out; their memory goes at once, or in a batch of 16 and more when an eighth of it has left."""
        gone = set(slots)
        for cohort in list(self._cohorts):
            if not gone.intersection(slot for slot in cohort.slots if slot is not None):
                continue
            cohort.slots = [None if slot in gone else slot for slot in cohort.slots]
            live = cohort.live
            if not live:
                self._cohorts.remove(cohort)
            elif len(cohort.slots) - len(live) >= max(1, len(cohort.slots) // _COMPACT_SHARE):
                cohort.keep(live, self.policy.device)
        self._free.extend(gone)

    def fork(self, slot: int) -> int:
        """See ``Decoder.fork``; copies the batch that the row is in."""
        cohort = next(cohort for cohort in self._cohorts if slot in cohort.slots)
        cohort.keep([*range(len(cohort.slots)), cohort.slots.index(slot)], self.policy.device)
        cohort.slots[-1] = copied = self._new_slot()
        return copied

    def _new_slot(self) -> int:
        if self._free:
            return self._free.pop()
        self._num_slots += 1
        return self._num_slots - 1

    def _joined_by_adapter(self, cohorts: Sequence[_Cohort]) -> list[_Cohort]:
        """All rows of an adapter in one cohort, where padding may hide the difference in length."""
        if not self._pads:
            return list(cohorts)
        parts: dict[int, list[_Cohort]] = {}
        for cohort in cohorts:
            parts.setdefault(cohort.adapter, []).append(cohort)
        return [
            same[0] if len(same) == 1 else self._joined([(cohort, cohort.live) for cohort in same])
            for same in parts.values()
        ]

    def _part(self, cohort: _Cohort, rows: list[int]) -> _Cohort:
        if self._pads:
            return self._joined([(cohort, rows)])
        part = copy.copy(cohort)
        part.cache = copy.deepcopy(cohort.cache)
        part.keep(rows, self.policy.device)
        return part

    def _joined(self, parts: list[tuple[_Cohort, list[int]]]) -> _Cohort:
        rows = [(cohort, i) for cohort, chosen in parts for i in chosen]
        lengths = [cohort.lengths[i] for cohort, i in rows]
        ends = [cohort.ends[i] for cohort, i in rows]
        width = max(lengths)
        capacity = width + max(end - length for end, length in zip(ends, lengths, strict=True))
        device = self.policy.device
        return _Cohort(
            slots=[cohort.slots[i] for cohort, i in rows],
            lengths=lengths,
            ends=ends,
            adapter=parts[0][0].adapter,
            width=width,
            cache=caches.join(
                self._config,
                [cohort.cache for cohort, _ in parts],
                [torch.tensor(chosen, device=device) for _, chosen in parts],
                width,
                capacity,
            ),
            mask=_mask(lengths, width, capacity, device),
        )


def _mask(lengths: Sequence[int], width: int, capacity: int, device: torch.device) -> Tensor:
    starts = width - torch.tensor(lengths, device=device)
    return (torch.arange(capacity, device=device) >= starts[:, None]).long()


def _plain(model: Any) -> Any:
    """The model without PEFT's wrapper, whose forward takes anything."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _element_size(policy: Policy) -> int:
    return int(next(policy.model.parameters()).element_size())
