"""What strop adds to a saved policy: ``strop.json``, which names the base, the identities and the LoRA settings."""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strop import files
from strop.errors import MismatchError, ModelError
from strop.models import names

if TYPE_CHECKING:
    from strop.models.policy import Policy

CARD = "strop.json"
INNER_BASE = "base"


@dataclass(frozen=True)
class Base:
    """The model under an adapter, as it can be found again."""

    name: str
    """As it was asked for: ``strop:tiny``, a folder, or a hub id."""
    folder: Path | None
    """None when the base exists in memory only, after an adapter was folded into it."""

    @property
    def is_carried(self) -> bool:
        """Whether an adapter's folder must bring the base along, since it lies nowhere that lasts."""
        return self.folder is None or (self.folder.name == INNER_BASE and names.is_adapter(self.folder.parent))


def is_own(folder: Path) -> bool:
    """Whether ``folder`` may be replaced: it is empty, or strop wrote it."""
    return folder.is_dir() and ((folder / CARD).is_file() or not any(folder.iterdir()))


def read_card(folder: Path) -> dict[str, Any]:
    """What strop noted about a saved policy; empty for folders of other origin."""
    path = folder / CARD
    if not path.is_file():
        return {}
    try:
        card: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise ModelError(f"{path} is broken", where=str(path), why=str(error), do="save the model again") from error
    return card


def write_card(policy: Policy, folder: Path) -> None:
    """Note the identities of ``policy`` in the folder that is being written."""
    card: dict[str, Any] = {
        "kind": "model" if policy.lora is None else "adapter",
        "digest": policy.digest(),
        "template": policy.template.digest,
    }
    if policy.lora is not None:
        card["lora"] = asdict(policy.lora)
        card["base"] = {"name": policy.base.name, "digest": policy.base_digest(), "inside": policy.base.is_carried}
    files.write_json(folder / CARD, card)


def write_merged_card(policy: Policy, folder: Path) -> None:
    """Note in a merged folder which adapter and base went into it."""
    card = {
        "kind": "model",
        "template": policy.template.digest,
        "merged_from": {"digest": policy.digest(), "base": {"name": policy.base.name, "digest": policy.base_digest()}},
    }
    files.write_json(folder / CARD, card)


def write_adapter(policy: Policy, folder: Path, final: Path) -> None:
    """Write the PEFT files of ``policy``; a base that exists nowhere else is written beside them, below ``base``."""
    base = final / INNER_BASE
    if policy.base.is_carried:
        copy.deepcopy(policy.model).unload().save_pretrained(folder / INNER_BASE)
        policy.template.save(folder / INNER_BASE)
    elif policy.base.folder is not None:
        base = policy.base.folder
    config = policy.model.peft_config["default"]
    config.base_model_name_or_path = str(base.absolute())
    policy.model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def find_base(folder: Path, config: dict[str, Any]) -> Base:
    """The base of an adapter folder: inside it, by strop's name, or by PEFT's path. Raises: ModelError."""
    if (folder / INNER_BASE / "config.json").is_file():
        return Base(str(folder / INNER_BASE), folder / INNER_BASE)
    told = str(config.get("base_model_name_or_path") or "")
    noted = str(read_card(folder).get("base", {}).get("name", ""))
    wanted = noted if noted.startswith(names.EMBEDDED) or not told else told
    try:
        return Base(noted or wanted, names.local_folder(wanted))
    except ModelError as error:
        raise ModelError(
            f"the base of the adapter {folder} is not there",
            where=str(folder / "adapter_config.json"),
            why=f"it names {wanted or 'nothing'}: {error.what}",
            do="bring the base back to that place, or correct base_model_name_or_path",
        ) from error


def check_base(folder: Path, base: Path, digest: str) -> None:
    """Refuse a base whose content is not the one that the adapter was trained on. Raises: MismatchError."""
    expected = read_card(folder).get("base", {}).get("digest", digest)
    if expected != digest:
        raise MismatchError(
            f"the base of the adapter {folder} has changed",
            where=str(base),
            why=f"its digest is {digest[:12]}, the adapter was trained on {expected[:12]}",
            do="restore the base, or train the adapter again",
        )
