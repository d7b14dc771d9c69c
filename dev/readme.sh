#!/bin/sh
# Put the table of methods that the program prints into README.md, between its two marks. Run from the repository root
# after a recipe was added or its first lines changed: sh dev/readme.sh [PROGRAM]
set -eu
program=${1:-./train_rl}
new=README.md.new
trap 'rm -f "$new" "$new.table"' EXIT
"$program" list methods format=markdown >"$new.table"
awk -v table="$new.table" '
    /^<!-- methods:/ { print; while ((getline line < table) > 0) print line; skip = 1 }
    /^<!-- end of methods -->/ { skip = 0 }
    !skip' README.md >"$new"
mv "$new" README.md
