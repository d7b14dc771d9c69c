# What the studies share: dev/papers/NAME/run.sh reads this file, says which runs it wants, and calls `go`.
#
#     sh dev/papers/NAME/run.sh [quick=1] [jobs=2] [out=DIR] [program=./train_rl]
#
# From the repository root, after `make`. A study can be stopped at any time: the same command takes what is finished
# as it is and goes on with what was cut off. Runs use one thread each, `jobs` of them at a time.
#
# What a run.sh may call:
#     warm SETTING WORDS...              one warm-up a seed with these key=value words; all methods begin from it.
#                                        Studies with the same words share it: out/papers/warm/SETTING-HASH-SEED
#     run SETTING LINE POINT RECIPE WORDS...  one run a seed; RECIPE as in rewards/recipes, or a file beside the run.sh.
#                                        LINE and POINT name it in table and figure; no comma or space in them
#     go                                 do all of them
#     table SETTING WORDS..., curves SETTING WORDS...   table and figure of the runs of a setting, see
#                                        `train_rl help compare` and `train_rl help plot`
set -eu
here=dev/papers/$study
quick=0 jobs=2 program=./train_rl out=
for word; do
    case $word in
    quick=[01] | jobs=* | program=* | out=*) eval "${word%%=*}=\${word#*=}" ;;
    *) echo "$here/run.sh: '$word' is none of quick=1 jobs=N out=DIR program=FILE" >&2 && exit 2 ;;
    esac
done
[ -x "$program" ] || { echo "$program is missing: run make first, in the repository root" >&2 && exit 1; }
if [ "$quick" = 1 ]; then
    seeds="1 2 3" marked="quick: 3 seeds, short runs" results=$here/quick out=${out:-out/papers/$study-quick}
else
    seeds="1 2 3 4 5" marked="5 seeds" results=$here/full out=${out:-out/papers/$study}
fi
mkdir -p "$out/recipes" "$results"
: >"$out/warm.list"
: >"$out/run.list"

# A line of a list: directory, then the words of rl, a tab between. What is in the warm-up file counts for the hash, too.
warm() {
    setting=$1 && shift
    hash=$({ echo "$*" && cat dev/papers/warmup.ini; } | cksum | cut -d ' ' -f 1)
    eval "warm_$setting=\${out%/*}/warm/$setting-\$hash"
    for seed in $seeds; do
        { printf '%s' "${out%/*}/warm/$setting-$hash-$seed" && printf '\t%s' dev/papers/warmup.ini "seed=$seed" "$@" &&
            echo; } >>"$out/warm.list"
    done
}

# The method's recipe without its warm-up, which the weights have behind them.
recipe() {
    from=rewards/recipes/$1.ini
    [ -f "$here/$1.ini" ] && from=$here/$1.ini
    awk '/^\[/ { skip = /^\[phase (warmup|control)\]/ } !skip' "$from" >"$out/recipes/$1.ini"
}

run() {
    setting=$1 line=$2 point=$3 name=$4 && shift 4
    recipe "$name"
    eval "start=\$warm_$setting"
    for seed in $seeds; do
        { printf '%s' "$out/$setting/runs/$line,$point,$seed" && printf '\t%s' "$out/recipes/$name.ini" "seed=$seed" \
            "model.path=$start-$seed/checkpoint" "$@" && echo; } >>"$out/run.list"
    done
}

# All lines of a list, `jobs` at a time.
each() {
    [ -s "$1" ] || return 0
    tr '\n' '\0' <"$1" | program=$program xargs -0 -n 1 -P "$jobs" sh dev/papers/one.sh
}

go() {
    each "$out/warm.list"
    each "$out/run.list"
}

table() {
    setting=$1 && shift
    "$program" compare "$out/$setting/runs" "title=$title ($marked)" "table=$results/$setting.md" "$@"
}

curves() {
    setting=$1 && shift
    "$program" plot "$out/$setting/runs" group=name band=t "title=$title ($marked)" "$@"
}
