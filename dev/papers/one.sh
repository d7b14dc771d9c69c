#!/bin/sh
# One run of a study: a line of study.sh, directory and words separated by tabs. A run that is there is left as it is, one
# that was cut off goes on; one of other words is refused.
set -eu
IFS='	'
line=$1
# shellcheck disable=SC2086 # the tabs are to split
set -f && set -- $line
dir=$1 && shift
if [ -f "$dir/finished" ]; then
    [ "$(cat "$dir/finished")" = "$line" ] && exit 0
    echo "$dir is a run of other settings; move it away, or take another out=DIR" >&2
    exit 1
fi
if [ -f "$dir/recipe.ini" ] && [ -d "$dir/checkpoint" ]; then
    set -- rl "run.resume=$dir"
else
    rm -rf "$dir"
    mkdir -p "${dir%/*}"
    set -- rl "$@" "run.out=$dir"
fi
# shellcheck disable=SC2154 # study.sh hands it on
if "$program" "$@" run.threads=1 >"$dir.txt" 2>&1; then
    echo "$line" >"$dir/finished"
    rm "$dir.txt"
    echo "$dir"
else
    echo "$dir failed: $(tail -n 1 "$dir.txt")" >&2
    exit 1
fi
