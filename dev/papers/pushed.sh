#!/bin/sh
# Right answers that training pushes down, from the samples that runs have logged: of all samples judged right, the share
# with a negative advantage. A table, a row a method and strength. DRPO has no advantages; its weights are above 0.
set -eu
for run; do
    name=${run##*/}
    awk -v method="${name%,*}" '
        /"verdict":1[,}]/ {
            right++
            match($0, /"advantage":[-+.0-9eE]+/)
            down += substr($0, RSTART + 12, RLENGTH - 12) + 0 < 0
        }
        END { print method "\t" right + 0 "\t" down + 0 }' "$run/samples.jsonl"
done | awk -F '\t' '
    { right[$1] += $2; down[$1] += $3; if (!($1 in runs)) order[++n] = $1; runs[$1]++ }
    END {
        print "| method | strength | runs | right samples | of them pushed down |"
        print "|---|---|---:|---:|---:|"
        for (i = 1; i <= n; i++) {
            m = order[i]
            split(m, part, ",")
            printf "| %s | %s | %d | %d | %.1f %% |\n", part[1], part[2], runs[m], right[m], right[m] ? 100 * down[m] / right[m] : 0
        }
    }'
