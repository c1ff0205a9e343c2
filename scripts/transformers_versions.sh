#!/usr/bin/env bash
# Tests that the text states are the same bit for bit in each supported version of transformers.
#
#   bash scripts/transformers_versions.sh                  the versions below
#   bash scripts/transformers_versions.sh 4.51.3 newest    these
#
# Each version goes into a folder of its own in .host/, with the tokenizers and huggingface_hub that it asks for, and
# stands before the virtual environment's own packages; that environment is not changed.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$repo"
versions=("$@")
if [ ${#versions[@]} = 0 ]; then versions=(4.50.3 4.57.6 5.14.0 5.15.0 5.23.0 newest); fi

PYTHON=$(bash scripts/host.sh | sed -n 's/^PYTHON=//p')
failed=()
for version in "${versions[@]}"; do
  folder=.host/transformers/$version
  if [ ! -e "$folder/complete" ] || [ "$version" = newest ]; then
    rm -rf "$folder"
    package=transformers==$version
    if [ "$version" = newest ]; then package=transformers; fi
    "$PYTHON" -m pip install --quiet --no-deps --target "$folder" "$package"
    mapfile -t needed < <(sed -nE 's/^Requires-Dist: ((tokenizers|huggingface[-_]hub)[^;]*)$/\1/p' "$folder"/transformers-*.dist-info/METADATA)
    "$PYTHON" -m pip install --quiet --no-deps --target "$folder" "${needed[@]}"
    touch "$folder/complete"
  fi
  echo "== transformers $version" >&2
  PYTHONPATH=$repo/$folder "$PYTHON" -c 'import sys, transformers; print(transformers.__version__, transformers.__file__, file=sys.stderr)'
  PYTHONPATH=$repo/$folder "$PYTHON" -m pytest -q tests/unit/language_models || failed+=("$version")
done
if [ ${#failed[@]} != 0 ]; then
  echo "other text states, or none, in: ${failed[*]}" >&2
  exit 1
fi
