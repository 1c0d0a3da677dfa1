#!/usr/bin/env bash
# The tables and claims of the Splitwise paper beside the model and its simulation; takes some minutes.
set -euo pipefail
python "$(dirname "$0")/reproduce.py" "$@"
