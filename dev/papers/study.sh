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
#     go_on SETTING EARLIER WORDS...     a warm-up that begins from that of an earlier setting
#     learn SETTING EARLIER RECIPE WORDS...  the same by the phase `rl` of a recipe, so that methods begin from its policy
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
    seeds="1 2 3" band=range marked="quick: 3 seeds, short runs" results=$here/quick out=${out:-out/papers/$study-quick}
else
    seeds="1 2 3 4 5" band=t marked="5 seeds" results=$here/full out=${out:-out/papers/$study}
fi
mkdir -p "$out/recipes" "${out%/*}/warm" "$results"
for list in warm on run; do : >"$out/$list.list"; done

# add LIST STEM RECIPE START WORDS...: a line of the list for every seed, directory and words with tabs between.
add() {
    list=$out/$1.list stem=$2 recipe=$3 start=$4 && shift 4
    for seed in $seeds; do
        { printf '%s' "$stem$seed" && printf '\t%s' "$recipe" "seed=$seed" \
            ${start:+"model.path=$start$seed/checkpoint"} "$@" && echo; } >>"$list"
    done
}

# Where the warm-ups of a setting are, less the seed; what stands in warmup.ini counts as well.
name_warm() {
    name=$1 && shift
    hash=$({ echo "$*" && cat dev/papers/warmup.ini; } | cksum | cut -d ' ' -f 1)
    eval "warm_$name=\${out%/*}/warm/$name-$hash-"
}

warm() {
    name_warm "$@"
    eval "stem=\$warm_$1"
    shift
    add warm "$stem" dev/papers/warmup.ini "" "$@"
}

go_on() {
    eval "start=\$warm_$2"
    setting=$1 && shift 2
    name_warm "$setting" "$@" "after ${start##*/}"
    eval "stem=\$warm_$setting"
    add on "$stem" dev/papers/warmup.ini "$start" "$@"
}

# A method's recipe without its warm-up, which the weights have behind them: into a directory.
method() {
    from=rewards/recipes/$1.ini
    [ -f "$here/$1.ini" ] && from=$here/$1.ini
    awk '/^\[/ { skip = /^\[phase (warmup|control)\]/ } !skip' "$from" >"$2/$1.ini"
}

learn() {
    eval "start=\$warm_$2"
    method "$3" "${out%/*}/warm"
    setting=$1 by=${out%/*}/warm/$3.ini && shift 3
    name_warm "$setting" "$@" "after ${start##*/}" "$(cat "$by")"
    eval "stem=\$warm_$setting"
    add on "$stem" "$by" "$start" "$@"
}

run() {
    setting=$1 line=$2 point=$3 name=$4 && shift 4
    method "$name" "$out/recipes"
    eval "start=\$warm_$setting"
    add run "$out/$setting/runs/$line,$point," "$out/recipes/$name.ini" "$start" "$@"
}

# All lines of a list, `jobs` at a time.
each() {
    [ -s "$1" ] || return 0
    tr '\n' '\0' <"$1" | program=$program xargs -0 -n 1 -P "$jobs" sh dev/papers/one.sh
}

go() {
    each "$out/warm.list"
    each "$out/on.list"
    each "$out/run.list"
}

table() {
    setting=$1 && shift
    "$program" compare "$out/$setting/runs" "title=$title ($marked)" "table=$results/$setting.md" "$@"
}

# paired SETTING METHOD COLUMNS WORDS...: the same as differences from METHOD, seed by seed.
paired() {
    setting=$1 method=$2 columns=$3 && shift 3
    "$program" compare "$out/$setting/runs" "title=$title ($marked)" "against=$method" "columns=$columns" \
        "table=$results/$setting-paired.md" "$@"
}

curves() {
    setting=$1 && shift
    "$program" plot "$out/$setting/runs" group=name phase=rl band=$band "title=$title ($marked)" "$@"
}
