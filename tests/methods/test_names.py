"""The names of the package."""

import importlib
import subprocess
import sys

import pytest

from strop import methods


@pytest.mark.parametrize("name", methods.__all__)
def test_a_name_means_the_function_even_after_its_module_was_imported(name: str) -> None:
    function = getattr(methods, name)
    importlib.import_module(function.__module__)
    assert getattr(methods, name) is function
    assert function.__name__ == name
    # The trap: a module of the same name would replace the function in the package.
    assert not function.__module__.endswith(f".{name}")


def test_importing_the_package_imports_no_torch() -> None:
    code = "import strop.methods, strop.sampling, strop.rollouts, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_unknown_method_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="grop"):
        _ = methods.grop
