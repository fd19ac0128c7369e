"""Code judged by tests that it cannot see: the code in a sandbox, the tests and what they expect outside."""

from strop.verifiers.code.answer import CodeAnswer
from strop.verifiers.code.cheats import CODE_CHEATS, audit_cases, code_cases, code_cheats
from strop.verifiers.code.extraction import find_code

__all__ = ["CODE_CHEATS", "CodeAnswer", "audit_cases", "code_cases", "code_cheats", "find_code"]
