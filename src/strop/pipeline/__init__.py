"""From a recipe to a released model: plan, cached and resumable stages, evaluation, gate, report, registry.

Nothing here imports torch at import time: the command line validates recipes without it.
"""
