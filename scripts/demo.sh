#!/usr/bin/env bash
# Draws a picture of your words with ELLA in a real ComfyUI, which it brings first.
#
#   bash scripts/demo.sh "a long prompt"                  the last line on stdout is the path of the picture
#   bash scripts/demo.sh --models ~/ComfyUI/models "..."  with your models; without any, small random ones are made
#   bash scripts/demo.sh --serve                          ComfyUI in the browser with the pack in it, until Ctrl-C
#
# COMFYUI_PATH and COMFYUI_VERSION choose the ComfyUI, see host.sh.
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)

case ${1:-} in -h | --help)
  sed -n '2,/^set/{/^set/d; s/^# \{0,1\}//; p;}' "${BASH_SOURCE[0]}"
  exit
  ;;
esac

lines=$(bash "$scripts/host.sh" | tail -n 2)
COMFYUI=$(sed -n 's/^COMFYUI=//p' <<<"$lines")
export COMFYUI
exec "$(sed -n 's/^PYTHON=//p' <<<"$lines")" "$scripts/demo.py" "$@"
