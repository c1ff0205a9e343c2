#!/usr/bin/env bash
# Takes docs/graph.png and the wirings of the help pages again, in a real ComfyUI, which it brings first, and a browser.
#
#   bash scripts/graph_pictures.sh             all of them
#   bash scripts/graph_pictures.sh LoadELLA    the wirings of these nodes
#
# It needs chromium (or Chrome) and a font with Chinese signs, fonts-noto-cjk for example.
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
lines=$(bash "$scripts/host.sh" | tail -n 2)
COMFYUI=$(sed -n 's/^COMFYUI=//p' <<<"$lines")
export COMFYUI
exec "$(sed -n 's/^PYTHON=//p' <<<"$lines")" "$scripts/graph_pictures.py" "$@"
