#!/bin/sh
# What training takes away and what that costs: sh gone.sh RUNS.csv NEED. A row for each method and strength: samples of
# unseen prompts before and after, seed by seed; of the tokens above NEED the share that is gone, and the points of accuracy
# won. Mean over the seeds ± half of its 95 % interval by Student's t. RUNS.csv: columns method, strength, run,
# before.sampled, before.sampled_length, sampled and sampled_length of `train_rl compare`.
set -eu
awk -F ',' -v need="$2" '
    function cell(sum, squares, n, form, v) {
        v = n > 1 ? (squares - sum * sum / n) / (n - 1) : 0
        return sprintf(n > 1 ? form " ± " form : form, sum / n, t[n - 1] * sqrt((v > 0 ? v : 0) / n))
    }
    NR > 1 {
        row = $1 " | " $2
        gsub(/"/, "", row)
        if (!(row in runs)) order[++rows] = row
        runs[row]++
        share = 100 * ($(NF - 2) - $NF) / ($(NF - 2) - need)
        points = 100 * ($(NF - 1) - $(NF - 3))
        gone[row] += share; gone2[row] += share * share
        won[row] += points; won2[row] += points * points
        tokens[row] += $NF
    }
    END {
        split("12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262", t, " ")
        print "| method | strength | runs | tokens | of what can go is gone, % | points of sampled accuracy |"
        print "|---|---|---:|---:|---:|---:|"
        for (i = 1; i <= rows; i++) {
            r = order[i]; n = runs[r]
            printf "| %s | %d | %.1f | %s | %s |\n", r, n, tokens[r] / n, cell(gone[r], gone2[r], n, "%.0f"), cell(won[r], won2[r], n, "%.1f")
        }
    }' "$1"
