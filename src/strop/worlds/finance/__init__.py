"""The finance worlds: the running assistant, month-end closes, writing, and the treasury."""

from strop.worlds.finance.month_end import MonthEndWorld
from strop.worlds.finance.treasury import TreasuryWorld
from strop.worlds.finance.world import FinanceWorld
from strop.worlds.finance.writing import FinanceWritingWorld

__all__ = ["FinanceWorld", "FinanceWritingWorld", "MonthEndWorld", "TreasuryWorld"]
