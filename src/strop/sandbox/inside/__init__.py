"""What runs on the other side: the launcher, the zygote, a task's supervisor and the task itself.

Sent as text into a fresh interpreter without ``strop`` and without site packages, so these files use the standard
library and each other only. The order of ``MODULES`` is the order of their imports.
"""

MODULES = ("kernel", "syscalls", "seccomp", "landlock", "task", "tree", "folders", "supervisor", "zygote", "launcher")
