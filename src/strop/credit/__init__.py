"""From rewards to advantages: which samples of a step were better than what was expected of them."""

from strop.credit.groups import group_advantages, is_informative

__all__ = ["group_advantages", "is_informative"]
