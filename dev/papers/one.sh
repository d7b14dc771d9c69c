#!/bin/sh
# One run of a study: a line of study.sh, directory and words separated by tabs. A run that is there is left as it is, one
# that was cut off goes on.
set -eu
IFS='	'
# shellcheck disable=SC2086 # the tabs are to split
set -f && set -- $1
dir=$1 && shift
[ -f "$dir/finished" ] && exit 0
if [ -f "$dir/recipe.ini" ] && [ -d "$dir/checkpoint" ]; then
    set -- rl "run.resume=$dir"
else
    rm -rf "$dir"
    mkdir -p "${dir%/*}"
    set -- rl "$@" "run.out=$dir"
fi
if "$program" "$@" run.threads=1 >"$dir.txt" 2>&1; then
    : >"$dir/finished"
    rm "$dir.txt"
    echo "$dir"
else
    echo "$dir failed: $(tail -n 1 "$dir.txt")" >&2
    exit 1
fi
