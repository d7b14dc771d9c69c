#!/bin/sh
# Accuracy at equal length: sh equal.sh RUNS.csv METHOD LENGTH... For each seed and method the points of its strengths, in
# order of length, are joined by straight lines, and read where these cross each LENGTH. Two tables: the accuracy there, and
# by how much METHOD's is above it, seed by seed. Mean over the seeds whose points enclose the length (their number in
# brackets, where some do not) ± half of its 95 % interval by Student's t. RUNS.csv: columns method, strength, run,
# sampled and sampled_length of `train_rl compare`.
set -eu
runs=$1 method=$2
shift 2
awk -F ',' -v method="$method" -v lengths="$*" '
    # methods and runs have no quotes; the run METHOD,STRENGTH,SEED has commas and stands in quotes
    NR > 1 {
        m = $1
        gsub(/"/, "", m)
        seed = $(NF - 2)
        gsub(/[^0-9]/, "", seed)
        if (!(m in known)) { known[m] = 1; name[++methods] = m }
        if (!(seed in seen)) { seen[seed] = 1; seeds[++n_seeds] = seed }
        k = ++points[m, seed]
        for (; k > 1 && x[m, seed, k - 1] > $NF + 0; k--) { x[m, seed, k] = x[m, seed, k - 1]; y[m, seed, k] = y[m, seed, k - 1] }
        x[m, seed, k] = $NF + 0
        y[m, seed, k] = 100 * $(NF - 1)
    }
    # accuracy of a method and seed at a length, -1: not enclosed
    function at(m, seed, length_, k, a, b) {
        for (k = 1; k < points[m, seed]; k++) {
            a = x[m, seed, k]; b = x[m, seed, k + 1]
            if (a <= length_ && length_ <= b)
                return y[m, seed, k] + (b > a ? (length_ - a) / (b - a) : 0) * (y[m, seed, k + 1] - y[m, seed, k])
        }
        return -1
    }
    function cell(m, length_, against, i, v, n, sum, squares, w) {
        n = sum = squares = 0
        for (i = 1; i <= n_seeds; i++) {
            v = at(m, seeds[i], length_)
            w = against == "" ? 0 : at(against, seeds[i], length_)
            if (v < 0 || w < 0) continue
            if (against != "") v = w - v
            n++; sum += v; squares += v * v
        }
        if (n == 0) return " |"
        if (n == 1) return sprintf(" %.1f (1) |", sum)
        v = (squares - sum * sum / n) / (n - 1)
        v = t[n - 1] * sqrt((v > 0 ? v : 0) / n)
        return sprintf(n < n_seeds ? " %.1f ± %.1f (%d) |" : " %.1f ± %.1f |", sum / n, v, n)
    }
    function rows(title, against, i, k) {
        printf "| %s |", title
        for (k = 1; k <= n_lengths; k++) printf " %s tokens |", want[k]
        printf "\n|---|"
        for (k = 1; k <= n_lengths; k++) printf "---:|"
        print ""
        for (i = 1; i <= methods; i++) {
            if (points[name[i], seeds[1]] < 2 || name[i] == against) continue
            printf "| %s |", name[i]
            for (k = 1; k <= n_lengths; k++) printf "%s", cell(name[i], want[k], against)
            print ""
        }
        print ""
    }
    END {
        split("12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262", t, " ")
        n_lengths = split(lengths, want, " ")
        rows("sampled accuracy, %, at", "")
        rows(method " above, points, at", method)
    }' "$runs"
