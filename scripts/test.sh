#!/usr/bin/env bash
# Runs all tests against a real ComfyUI, which it brings first.
#
#   bash scripts/test.sh                       everything, on ComfyUI 0.30.0
#   bash scripts/test.sh --host 0.24.1         on another pinned version (0.27.0, 0.24.1, 0.18.2)
#   bash scripts/test.sh unit                  one tier: unit or host
#   bash scripts/test.sh host -k controlnet    further arguments go to pytest
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$repo"

if [ "${1:-}" = --host ]; then
  export COMFYUI_VERSION=$2
  shift 2
fi
tiers="unit host"
case ${1:-} in unit | host)
  tiers=$1
  shift
  ;;
esac

lines=$(bash scripts/host.sh | tail -n 2)
COMFYUI=$(sed -n 's/^COMFYUI=//p' <<<"$lines")
PYTHON=$(sed -n 's/^PYTHON=//p' <<<"$lines")
export COMFYUI PYTHON

for tier in $tiers; do
  echo "== $tier tests" >&2
  "$PYTHON" -m pytest -q "tests/$tier" "$@"
done
