"""A policy as lm-eval's model: ``lm_eval.simple_evaluate(model="strop", model_args="pretrained=FOLDER")``.

Importing this registers it. Texts are tokenized as lm-eval's own ``hf`` model does, so that numbers can be compared;
unlike in the chat template, control tokens inside a text become control tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from strop.digests import digest_bytes
from strop.errors import MissingDependencyError, RecipeError
from strop.evals.asking import row_seed
from strop.models import Policy
from strop.sampling import TorchSampler
from strop.types import SamplingParams

try:
    from lm_eval.api.model import TemplateLM
    from lm_eval.api.registry import register_model
    from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    raise MissingDependencyError(
        "lm-eval is not installed", why=str(error), do='install it with: pip install "strop[lm-eval]"'
    ) from error

_SAMPLING = {"top_p": "top_p", "top_k": "top_k", "min_p": "min_p", "repetition_penalty": "repetition_penalty"}
_MAX_GEN_TOKENS = 256


@register_model("strop")
class StropLM(TemplateLM):  # type: ignore[misc]
    """A policy under lm-eval's interface; ``policy`` in place of ``pretrained`` takes one that is loaded.

    ``generate_until`` is drawn by our engine, log-likelihoods are read off the model in float32.
    """

    def __init__(
        self,
        pretrained: str = "",
        *,
        policy: Policy | None = None,
        batch_size: int | str = 8,
        device: str | None = None,
        seed: int = 0,
        max_gen_toks: int = _MAX_GEN_TOKENS,
        **rest: Any,
    ) -> None:
        super().__init__()
        unknown = sorted(rest.keys() - {"max_batch_size", "trust_remote_code"})
        if unknown or (policy is None) == (not pretrained):
            what = f"`{unknown[0]}` is no argument of the strop model" if unknown else "give `pretrained` or `policy`"
            raise RecipeError(what, do="known: pretrained, policy, batch_size, device, seed, max_gen_toks")
        self.policy = policy if policy is not None else Policy.load(pretrained, device=device or "auto")
        self.sampler = TorchSampler(self.policy)
        self.seed = seed
        self.tokenizer = self.policy.template.tokenizer
        self.batch_size = int(batch_size) if str(batch_size).isdigit() else 8
        self.max_gen_toks = max_gen_toks
        self._device = self.policy.device

    # ------------------------------------------------------------------------------------------------------- tokenizing

    @property
    def eot_token_id(self) -> int:
        """The end of a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context: BOS, or EOS for want of it."""
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @property
    def max_length(self) -> int:
        """Tokens that the model reads at once."""
        return int(self.policy.max_length)

    @property
    def tokenizer_name(self) -> str:
        """Fingerprint of tokenizer and chat template, for lm-eval's request cache."""
        return f"strop-{self.policy.template.digest[:16]}"

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """The ids, with the tokenizer's own special tokens unless the text begins with BOS already."""
        bos = self.tokenizer.decode([self.prefix_token_id])
        if add_special_tokens is None and bos and string.startswith(bos):
            add_special_tokens = False
        how = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return list(self.tokenizer.encode(string, **how))

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The conversation as the model's own template writes it."""
        return str(
            self.tokenizer.apply_chat_template(
                chat_history,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                continue_final_message=not add_generation_prompt,
            )
        )

    # --------------------------------------------------------------------------------------------------- log-likelihood

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, Sequence[int], Sequence[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        """For each (context, continuation): log-probability in nats, and whether greedy decoding would write it."""
        order = sorted(range(len(requests)), key=lambda i: -len(requests[i][1]) - len(requests[i][2]))
        found: dict[int, tuple[float, bool]] = {}
        for start in range(0, len(order), self.batch_size):
            chunk = order[start : start + self.batch_size]
            for index, answer in zip(chunk, self._score([requests[i][1:] for i in chunk]), strict=True):
                found[index] = answer
                key = requests[index][0]
                if key is not None:
                    self.cache_hook.add_partial("loglikelihood", key, answer)
        return [found[index] for index in range(len(requests))]

    @torch.inference_mode()
    def _score(self, pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> list[tuple[float, bool]]:
        rows = [[*context, *continuation][-(self.max_length + 1) :] for context, continuation in pairs]
        width = max(len(row) - 1 for row in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, : len(row) - 1] = torch.tensor(row[:-1])
            mask[i, : len(row) - 1] = 1
        with self.policy.autocast():
            logits = self.policy.model(ids.to(self._device), attention_mask=mask.to(self._device)).logits
        answers = []
        for i, (row, (_, continuation)) in enumerate(zip(rows, pairs, strict=True)):
            own = logits[i, len(row) - 1 - len(continuation) : len(row) - 1].float().log_softmax(-1)
            wanted = torch.tensor(list(continuation), device=own.device)
            logprob = own.gather(1, wanted[:, None]).sum().item()
            answers.append((logprob, bool((own.argmax(-1) == wanted).all())))
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """The log-probability of whole texts in nats, in windows of the context where they are longer."""
        windows: list[tuple[None, list[int], list[int]]] = []
        sizes: list[int] = []
        for request in requests:
            own = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            made = [(None, *make_disjoint_window(window)) for window in own]
            windows += made
            sizes.append(len(made))
        scores = iter(self._loglikelihood_tokens(windows))
        totals = [sum(next(scores)[0] for _ in range(size)) for size in sizes]
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    # ------------------------------------------------------------------------------------------------------- generation

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """The answers up to the first stop sequence, which is cut off; greedy unless ``do_sample`` or a temperature.

        A sampled answer draws from a generator keyed by (seed, context, its place among equal contexts).
        """
        eos = self.tokenizer.decode([self.eot_token_id], skip_special_tokens=False)
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault(repr(request.args[1]), []).append(index)
        answers: dict[int, str] = {}
        for members in groups.values():
            until, params = self._how(requests[members[0]].args[1], eos)
            answers |= self._generate(members, requests, until, params)
        return [answers[index] for index in range(len(requests))]

    def _how(self, given: Mapping[str, Any], eos: str) -> tuple[list[str], SamplingParams]:
        """Stop sequences and sampling parameters. Raises: RecipeError for a setting that we do not have."""
        kwargs: dict[str, Any] = dict(normalize_gen_kwargs(dict(given), self.max_gen_toks))
        until = list(handle_stop_sequences(kwargs.pop("until", None), eos=eos))
        size, temperature = kwargs.pop("max_gen_toks"), kwargs.pop("temperature", 0.0)
        if kwargs.pop("do_sample", None) and temperature == 0:
            temperature = 1.0
        unknown = sorted(kwargs.keys() - _SAMPLING.keys())
        if unknown:
            raise RecipeError(
                f"generation setting `{unknown[0]}` = {kwargs[unknown[0]]!r} is not known",
                where="generation_kwargs",
                do=f"known: until, max_gen_toks, do_sample, temperature, {', '.join(_SAMPLING)}",
            )
        chosen = {name: kwargs[name] for name in kwargs if kwargs[name] is not None}
        if temperature == 0:
            chosen = {name: value for name, value in chosen.items() if name == "repetition_penalty"}
        stop = tuple(term for term in until if term and term != eos)
        return until, replace(
            SamplingParams(
                max_new_tokens=size, temperature=temperature, stop=stop, stop_token_ids=(self.eot_token_id,)
            ),
            **chosen,
        )

    def _generate(
        self, members: Sequence[int], requests: Sequence[Any], until: list[str], params: SamplingParams
    ) -> dict[int, str]:
        room = self.max_length - params.max_new_tokens
        if room < 1:
            raise RecipeError(
                f"max_gen_toks = {params.max_new_tokens} leaves no room for a prompt of {self.max_length}"
            )
        seen: dict[str, int] = {}
        prompts, seeds = [], []
        for index in members:
            context = requests[index].args[0]
            number = seen[context] = seen.get(context, -1) + 1
            prompts.append(self.tok_encode(context)[-room:])
            seeds.append(row_seed(self.seed, digest_bytes(context.encode()), number))
        answers = {}
        for index, completion in zip(members, self.sampler.sample(prompts, params, seeds=seeds), strict=True):
            text = self.tokenizer.decode(list(completion.token_ids), skip_special_tokens=True)
            text = postprocess_generated_text(text, stop=until, think_end_token=None)
            answers[index] = text
            self.cache_hook.add_partial("generate_until", requests[index].args, text)
        return answers
