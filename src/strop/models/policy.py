"""The policy: a causal language model with its chat template, evaluated on the flat token axis."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from strop import batches, files
from strop.digests import digest_json, digest_tensors
from strop.errors import DataError, MismatchError, ModelError, RecipeError
from strop.fused import MAX_BYTES, logprobs_of, token_logprobs
from strop.models import adapters, attention, folders, hardware, loading, names, padded
from strop.models.adapters import LoRA
from strop.models.folders import Base
from strop.segments import scatter
from strop.types import Batch, Outputs

if TYPE_CHECKING:
    from strop.chat import ChatTemplate

KNOWN_NEEDS = frozenset({"logprobs", "entropy", "logits"})
_MAX_PADDED_TOKENS = 8192
_MAX_LOGIT_BYTES = {"cpu": MAX_BYTES}
"""What the logits of one bucket may take before they are computed in chunks of that size."""
_ACCELERATOR_MAX_LOGIT_BYTES = 16 * MAX_BYTES


class Policy:
    """A model that answers log-probabilities for batches; full or LoRA, on one device."""

    def __init__(
        self,
        model: Any,
        template: ChatTemplate,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        lora: LoRA | None = None,
        base: Base | None = None,
    ) -> None:
        self.model = model
        self.template = template
        self.device = torch.device(device)
        self.dtype = dtype
        self.lora = lora
        self.base = base or Base("", None)
        self.max_length = loading.context_length(model)
        self.max_padded_tokens = _MAX_PADDED_TOKENS
        self.max_logit_bytes = _MAX_LOGIT_BYTES.get(self.device.type, _ACCELERATOR_MAX_LOGIT_BYTES)
        self._through_head: bool | None = None
        self._plain_head: nn.Linear | None = None
        self._is_head_probed = False
        self._base_digest: str | None = None

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        lora: LoRA | None = None,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        seed: int = 0,
        adapter: Literal["continue", "merge", "fresh"] = "continue",
    ) -> Policy:
        """The policy that ``name`` means: ``strop:tiny``, a Hugging Face folder, a PEFT adapter folder, or a hub id.

        ``adapter`` says what becomes of the adapter in an adapter folder: ``continue`` trains it further, ``merge``
        folds it into the base (``lora`` then puts a new one on top), ``fresh`` drops it and starts a new one on the
        same base. Raises: ModelError, TemplateError, MismatchError, RecipeError.
        """
        hardware.keep_freed_memory()
        folder = names.local_folder(name)
        chosen = hardware.choose_device(device)
        if names.is_adapter(folder):
            return _load_adapter(folder, lora, chosen, dtype, seed, adapter)
        if adapter != "continue":
            raise RecipeError(
                f"adapter = {adapter!r} has no effect on {name}",
                where=str(folder),
                why="the folder holds a whole model, not an adapter",
                do="leave the setting out",
            )
        template = loading.load_template(folder)
        model = loading.load_model(folder, torch.float32, chosen)
        loading.check_vocabulary(model, template, folder)
        return _assembled(model, template, dtype, chosen, lora, seed, Base(str(name), folder))

    @property
    def execution(self) -> str:
        """How batches are executed, in words."""
        rows = "padded rows through the model's own forward"
        if self._head() is None:
            return f"{rows} and head"
        return (
            f"{rows}; logits beyond {self.max_logit_bytes // 2**20} MiB a bucket in chunks of rows, never all at once"
        )

    def autocast(self) -> AbstractContextManager[object]:
        """The precision in which the model is to be run."""
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    @contextmanager
    def _precision(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if self.dtype != torch.float32 and self.device.type == "cpu":
                stack.enter_context(attention.float32_attention(self.model))
            stack.enter_context(self.autocast())
            yield

    def forward(
        self, batch: Batch, needs: frozenset[str] = frozenset({"logprobs"}), *, temperature: float = 1.0
    ) -> Outputs:
        """Log-probabilities (and the entropy if needed) of the trained tokens: differentiable, [N] float32.

        ``logits``, if needed, are those of the trained tokens in flat order, undivided: [M, V] float32, all at once.
        Packing, order, padding and bucket sizes change nothing beyond rounding. Logits are divided by ``temperature``
        before the log-softmax, which runs in float32. Raises: DataError for a sequence beyond the model's context.
        """
        assert needs <= KNOWN_NEEDS, f"the policy cannot compute {sorted(needs - KNOWN_NEEDS)}"
        self._require_context(batch)
        batch = batches.to_device(batch, self.device)
        layouts = padded.layouts(batch, self.max_padded_tokens)
        if not layouts:
            return self._nothing(batch, needs)
        targets = torch.cat([layout.targets for layout in layouts])
        pieces = [self._bucket(batch, layout, needs, temperature) for layout in layouts]
        found = {name: torch.cat([piece[name] for piece in pieces]) for name in pieces[0]}
        by_token = {
            name: scatter(values, targets, batch.num_tokens) for name, values in found.items() if name != "logits"
        }
        return Outputs(**by_token, logits=found["logits"][targets.argsort()] if "logits" in found else None)

    def _nothing(self, batch: Batch, needs: frozenset[str]) -> Outputs:
        zeros = torch.zeros(batch.num_tokens, device=self.device)
        return Outputs(
            logprobs=zeros,
            entropy=zeros if "entropy" in needs else None,
            logits=torch.zeros(0, self._vocab_size, device=self.device) if "logits" in needs else None,
        )

    def _bucket(
        self, batch: Batch, layout: padded.Layout, needs: frozenset[str], temperature: float
    ) -> dict[str, Tensor]:
        """What is needed of the bucket's trained tokens, in its own order."""
        token_ids, entropy = batch.token_ids[layout.targets], "entropy" in needs
        head = None if "logits" in needs or self._fits(len(token_ids)) else self._head()
        if head is not None:
            return dict(zip(("logprobs", "entropy"), self._in_chunks(layout, head, token_ids, temperature, entropy)))
        with self._precision():
            logits = padded.kept_logits(self.model, layout, through_head=self._selects_positions()).float()
        values = logprobs_of(logits, token_ids, temperature=temperature, entropy=entropy)
        found = dict(zip(("logprobs", "entropy"), values))
        return found | {"logits": logits} if "logits" in needs else found

    def _in_chunks(
        self, layout: padded.Layout, head: nn.Linear, token_ids: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, ...]:
        with self._precision():
            hidden = padded.kept_hidden(self.model, layout, head, through_head=self._selects_positions())
            return token_logprobs(
                hidden,
                head.weight,
                token_ids,
                bias=head.bias,
                temperature=temperature,
                entropy=entropy,
                max_bytes=self.max_logit_bytes,
            )

    def _fits(self, num_rows: int) -> bool:
        """Whether that many rows of float32 logits stay within the bound."""
        return num_rows * self._vocab_size * 4 <= self.max_logit_bytes

    @property
    def _vocab_size(self) -> int:
        return int(self.model.config.get_text_config().vocab_size)

    def _head(self) -> nn.Linear | None:
        """The head, if the model's logits are plainly its product; probed once."""
        if not self._is_head_probed:
            with self._precision():
                self._plain_head = padded.plain_head(self.model, self._vocab_size, self.device)
            self._is_head_probed = True
        return self._plain_head

    def _selects_positions(self) -> bool:
        if self._through_head is None:
            with self._precision():
                self._through_head = padded.selects_positions(self.model, self._vocab_size, self.device)
        return self._through_head

    def _require_context(self, batch: Batch) -> None:
        longest = int(batch.position_ids.max()) + 1
        if longest > self.max_length:
            name = batch.names[int(batch.sequence_ids[batch.position_ids.argmax()])]
            raise DataError(
                f"the row {name} has {longest} tokens",
                where=name,
                why=f"the model's context holds {self.max_length}",
                do="lower max_length, so that rows are truncated from the prompt side",
            )

    @contextmanager
    def dropout(self, seed: int) -> Iterator[None]:
        """Within it, LoRA dropout is active and drawn from ``seed`` alone; without LoRA dropout nothing changes."""
        if self.lora is None or self.lora.dropout == 0.0:
            yield
            return
        self._selects_positions()  # a probe within would compare two different dropouts, and use up random numbers
        if not self._fits(max(self.max_padded_tokens, self.max_length)):
            self._head()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            torch.manual_seed(seed)
            adapters.set_dropout(self.model, True)
            try:
                yield
            finally:
                adapters.set_dropout(self.model, False)

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that training changes, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def state(self) -> dict[str, Tensor]:
        """A copy of the trainable tensors."""
        return {name: parameter.detach().clone() for name, parameter in self.trainable().items()}

    @torch.no_grad()
    def load_state(self, state: dict[str, Tensor]) -> None:
        """Set the trainable tensors. Raises: MismatchError if names or shapes differ."""
        mine = self.trainable()
        odd = sorted(mine.keys() ^ state.keys()) or [n for n in mine if mine[n].shape != state[n].shape]
        if odd:
            raise MismatchError(
                "the saved weights do not belong to this policy",
                why=f"{len(odd)} tensors differ in name or shape, the first is {odd[0]}",
                do="use the model and LoRA settings that the weights were saved with",
            )
        for name, parameter in mine.items():
            parameter.copy_(state[name])

    def digest(self) -> str:
        """The content identity of the effective weights: base, adapter and its scaling."""
        if self.lora is None:
            return loading.digest_model(self.model)
        return digest_json(
            [self.base_digest(), digest_tensors(self.state()), self.lora.scaling_alpha, self.lora.rslora]
        )

    def base_digest(self) -> str:
        """The digest of the model without the adapter; of the whole model if there is none."""
        if self.lora is None:
            return loading.digest_model(self.model)
        if self._base_digest is None:
            self._base_digest = loading.digest_model(self.model)
        return self._base_digest

    def merged(self) -> Any:
        """A plain ``transformers`` model with the adapter folded in: a copy, the policy stays as it is."""
        model = copy.deepcopy(self.model)
        return model if self.lora is None else model.merge_and_unload()

    def save(self, folder: Path | str) -> None:
        """Write a Hugging Face folder, or for LoRA a PEFT folder that names its base; with template and lock.

        It appears whole or not at all. A folder that strop wrote before is replaced; any other is refused.
        Raises: OutputError.
        """
        folder = Path(folder)
        with loading.quiet(), files.new_folder(folder, replace=folders.is_own(folder)) as temporary:
            self.write(temporary, folder)

    def write(self, folder: Path, final: Path) -> None:
        """Put the files of ``save`` into ``folder``, which will be renamed to ``final``."""
        if self.lora is None:
            self.model.save_pretrained(folder)
        else:
            folders.write_adapter(self, folder, final.absolute())
        self.template.save(folder)
        folders.write_card(self, folder)


def _assembled(
    model: Any,
    template: ChatTemplate,
    dtype: str | torch.dtype,
    device: torch.device,
    lora: LoRA | None,
    seed: int,
    base: Base,
) -> Policy:
    compute = hardware.choose_dtype(dtype, device, int(model.config.get_text_config().hidden_size))
    if lora is not None:
        model = adapters.attach(model, lora, seed=seed)
    return Policy(model, template, device=device, dtype=compute, lora=lora, base=base)


def _load_adapter(
    folder: Path, lora: LoRA | None, device: torch.device, dtype: str | torch.dtype, seed: int, adapter: str
) -> Policy:
    config = adapters.read_config(folder)
    found = adapters.described(config)
    base = folders.find_base(folder, config)
    assert base.folder is not None
    if names.is_adapter(base.folder):
        raise ModelError(
            f"the base of {folder} is itself an adapter", where=str(base.folder), do="merge that one first"
        )
    template = loading.load_template(folder if loading.has_tokenizer(folder) else base.folder)
    model: Any = loading.load_model(base.folder, torch.float32, device)
    loading.check_vocabulary(model, template, folder)
    folders.check_base(folder, base.folder, loading.digest_model(model))
    if adapter == "fresh":
        return _assembled(model, template, dtype, device, lora or found, seed, base)
    if adapter == "continue" and lora is not None:
        adapters.require_same(lora, found, model, folder)
    wrapped: Any = adapters.load(model, folder).to(device)
    if adapter == "merge":
        merged = wrapped.merge_and_unload()
        return _assembled(merged.requires_grad_(True), template, dtype, device, lora, seed, Base(str(folder), None))
    compute = hardware.choose_dtype(dtype, device, int(model.config.get_text_config().hidden_size))
    return Policy(wrapped, template, device=device, dtype=compute, lora=lora or found, base=base)
