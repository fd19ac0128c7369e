"""The finance operations world."""

from strop.worlds.finance.world import FinanceWorld

__all__ = ["FinanceWorld"]
