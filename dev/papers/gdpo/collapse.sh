#!/bin/sh
# How many combinations of rewards a group keeps apart, from the samples that runs have logged: of all pairs of samples of
# one group whose rewards differ, the share that got the same advantage. A table, a row a method.
set -eu
for run; do
    name=${run##*/}
    awk -v method="${name%,*}" '
        function value(key) { return match($0, "\"" key "\":[-+.0-9eE]+") ? substr($0, RSTART, RLENGTH) : "" }
        function text(key) { return match($0, "\"" key "\":\"[^\"]*\"") ? substr($0, RSTART, RLENGTH) : "" }
        function close_group(i, k) {
            for (i = 0; i < n; i++)
                for (k = 0; k < i; k++)
                    if (rewards[i] != rewards[k]) {
                        pairs++
                        same += advantage[i] - advantage[k] < 1e-9 && advantage[k] - advantage[i] < 1e-9
                    }
            n = 0
        }
        {
            group = value("step") text("prompt")
            if (group != last) close_group()
            last = group
            match($0, /"rewards":\{[^}]*\}/)
            rewards[n] = substr($0, RSTART, RLENGTH)
            match($0, /"advantage":[-+.0-9eE]+/)
            advantage[n++] = substr($0, RSTART + 12, RLENGTH - 12) + 0
        }
        END {
            close_group()
            print method "\t" pairs + 0 "\t" same + 0
        }' "$run/samples.jsonl"
done | awk -F '\t' '
    { pairs[$1] += $2; same[$1] += $3; if (!($1 in runs)) order[++n] = $1; runs[$1]++ }
    END {
        print "| method | runs | pairs of a group with different rewards | of them with the same advantage |"
        print "|---|---:|---:|---:|"
        for (i = 1; i <= n; i++) {
            m = order[i]
            shown = m
            sub(/,$/, "", shown)
            sub(/,/, ", ", shown)
            printf "| %s | %d | %d | %.1f %% |\n", shown, runs[m], pairs[m], pairs[m] ? 100 * same[m] / pairs[m] : 0
        }
    }'
