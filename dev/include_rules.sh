#!/bin/sh
# Who may include whom. Run from the repository root; prints every include that breaks a rule and fails when there is one.
#
#   model/base/        nothing of ours but itself
#   model/             itself
#   data/              itself, model/base/
#   rewards/           itself, model/base/; data/task.h only in score/ and the recipe
#   train_rl.cu        model/
#   train_rl.c, dev/   everything but test/; nothing else includes dev/
#   test/              everything
#
# Only #include "..." counts: <...> is the system and the libraries, and a header of ours between < > is found nowhere.
set -u
files=$(find train_rl.c train_rl.cu model data rewards dev test \
    -name '*.[ch]' -o -name '*.cu' -o -name '*.cuh' -o -name '*.def' 2>/dev/null | LC_ALL=C sort)

# shellcheck disable=SC2086
awk '
function resolve(from, name,    path, n, part, i, out, k) { # the path from the root that the include means
    path = from
    if (!sub(/[^\/]*$/, "", path)) path = ""
    n = split(path name, part, "/")
    k = 0
    for (i = 1; i <= n; i++) {
        if (part[i] == "" || part[i] == ".") continue
        if (part[i] == ".." && k > 0 && out[k] != "..") k--
        else out[++k] = part[i]
    }
    path = out[1]
    for (i = 2; i <= k; i++) path = path "/" out[i]
    return path
}
function allowed(from, to) {
    if (from ~ /^model\/base\//) return to ~ /^model\/base\//
    if (from ~ /^model\//) return to ~ /^model\//
    if (from ~ /^data\//) return to ~ /^(data|model\/base)\//
    if (to == "data/task.h" && from ~ /^rewards\/(score\/|recipe)/) return 1
    if (from ~ /^rewards\//) return to ~ /^(rewards|model\/base)\//
    if (from == "train_rl.cu") return to ~ /^model\//
    if (from ~ /^test\//) return 1
    return to !~ /^test\// && to != "train_rl.c"
}
/^[ \t]*#[ \t]*include[ \t]*"/ {
    name = $0
    sub(/^[^"]*"/, "", name)
    sub(/".*$/, "", name)
    to = resolve(FILENAME, name)
    if (!((getline line < to) >= 0)) {
        print FILENAME ":" FNR ": includes \"" name "\", and there is no " to
        bad++
    } else if (!allowed(FILENAME, to)) {
        print FILENAME ":" FNR ": may not include " to
        bad++
    }
    close(to)
    seen++
}
END {
    if (!seen) { print "no include was found: run this from the repository root"; exit 1 }
    exit bad > 0
}' $files
