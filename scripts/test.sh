#!/usr/bin/env bash
# Runs all tests against a real ComfyUI, which it brings first.
#
#   bash scripts/test.sh                       everything, on ComfyUI 0.30.0
#   bash scripts/test.sh --host 0.24.1         on another pinned version (0.27.0, 0.24.1, 0.18.2)
#   bash scripts/test.sh unit                  one tier: unit (the pack without ComfyUI), evaluation, training, small_world, host or e2e
#   bash scripts/test.sh host -k controlnet    further arguments go to pytest
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$repo"

if [ "${1:-}" = --host ]; then
  export COMFYUI_VERSION=$2
  shift 2
fi
tiers="unit evaluation training small_world host e2e"
case ${1:-} in unit | evaluation | training | small_world | host | e2e)
  tiers=$1
  shift
  ;;
esac

lines=$(bash scripts/host.sh | tail -n 2)
COMFYUI=$(sed -n 's/^COMFYUI=//p' <<<"$lines")
PYTHON=$(sed -n 's/^PYTHON=//p' <<<"$lines")
export COMFYUI PYTHON

# The browser of the tiers e2e and evaluation; where none can be had, its tests are skipped and say so.
case $tiers in *e2e* | *evaluation*)
  if ! command -v chromium chromium-browser google-chrome google-chrome-stable >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      echo "test.sh: installing chromium" >&2
      { apt-get -qq update && apt-get -qq install -y chromium; } >/dev/null || echo "test.sh: chromium could not be installed" >&2
    fi
  fi
  ;;
esac

for tier in $tiers; do
  echo "== $tier tests" >&2
  folders=tests/$tier
  if [ "$tier" = unit ]; then folders="tests/unit tests/old_workflows"; fi
  "$PYTHON" -m pytest -q $folders "$@"
done
