#!/bin/sh
# DRPO against length penalties: accuracy against length in three settings, and what DRPO cannot do. See study.sh for the
# options.
study=drpo title="Accuracy against length"
. dev/papers/study.sh

# The settings were fixed before any method was compared in them.
# trade: 60 % of the texts give the bare answer, which is as good as the working for one operation and worse for more; lines
# of working are repeated up to twice. Prompts of 1 to 5 operations.
trade="task.ops_min=1 task.ops_max=5 task.bare=0.6 task.recheck=2 task.wrong_facts=0.15 task.wrong_rate=0.6"
# recheck: two operations modulo 6, every line is repeated as a check up to 8 times: 80 % of the text can go at no cost. The
# teacher knows all facts.
facts="task.mod=6 task.ops_min=2 task.ops_max=2 task.bare=0 task.wrong_facts=0"
recheck="$facts task.recheck=8"
# solved: modulo 3, so that there are 27 facts and nearly all groups are all right from the start; up to 4 re-checks.
solved="task.mod=3 task.ops_min=2 task.ops_max=2 task.bare=0 task.wrong_facts=0 task.recheck=4"
# late: as trade, from policies that solve it, as in the paper: plain GRPO first, without noise or price, for 300 steps (one
# seed of it was looked at, and nothing else: 89 % sampled around step 190, 97 % after 300). Not in a quick study.

if [ "$quick" = 1 ]; then
    small="rollout.prompts=8 rl.steps=40" size="rollout.prompts=16 rl.steps=40"
    common="eval.prompts=200 eval.samples=4 eval.every=0 run.log_samples=65536"
    few=1 settings="trade recheck" lengths="20 22 24 26 28"
else
    small="rollout.prompts=16 rl.steps=60" size="rollout.prompts=32 rl.steps=60"
    common="eval.prompts=1000 eval.samples=4 eval.every=0 run.log_samples=65536"
    few=0 settings="trade late recheck" lengths="20 22 24 26 28 30 32 34"
fi

# Of five strengths a quick study, `late` and `recheck` take three.
strengths() {
    if [ "$few" = 1 ]; then echo "$1 $3 $5"; else echo "$*"; fi
}

# methods SETTING BUDGET SHORT WORDS...: the budget of tokens, and how many a short right answer needs. A quarter of the
# right answers counts as wrong, which keeps groups mixed; evaluations are without it.
methods() {
    where=$1 budget=$2 short=$3 judged="noise(share = 0.25)" && shift 3
    set -- "$@" "rollout.max_new=$budget"
    run "$where" GRPO "" grpo "$@" beta=0 "rl.score=$judged, outcome"
    # DRPO without its length reward: what the other half of it does alone.
    run "$where" DisCO "" drpo "$@" lambda=off "C=$budget" "rl.score=$judged"
    # What SAR owes to its loss, which is not divided by deviations.
    run "$where" SAR 0 sar "$@" alpha=0 "l_max=$budget" "rl.score=$judged, outcome, $sar"
    for s in $(strengths 0.05 0.1 0.2 0.5 1); do
        run "$where" DRPO "$s" drpo "$@" "lambda=$s" "C=$budget" "rl.score=$judged"
    done
    for s in $(strengths 0.1 0.2 0.4 0.7 1); do
        run "$where" RLOO-LP "$s" rloo_lp "$@" "alpha=$s" "rl.score=$judged"
        run "$where" linear "$s" linear "$@" "budget=$(awk "BEGIN { print $budget / $s }")" "rl.score=$judged"
        run "$where" GRPO-lambda "$s" grpo_lambda "$@" "lambda=$s" "rl.score=$judged"
        run "$where" SAR "$s" sar "$@" "alpha=$s" "l_max=$budget" "rl.score=$judged, outcome, $sar"
    done
    for s in $(strengths 0.1 0.25 0.5 1 2); do
        run "$where" ALP "$s" alp "$@" "beta_len=$s" "n_norm=$budget" "rl.score=$judged"
    done
    for s in $(strengths 0.5 1 1.5 2 4); do
        run "$where" L1 "$s" l1 "$@" "target=-$(awk "BEGIN { print $short * $s }")" "rl.score=$judged"
    done
}

# As the recipe has it.
sar='sar(form = $form, clip_ppl = $clip_ppl, gate_on_correct = $gate_on_correct)'

# shellcheck disable=SC2086 # the settings are words
{
    warm trade $trade warmup.steps=1500
    methods trade 104 20 $trade $size $common
    if [ "$quick" = 0 ]; then
        learn late trade grpo $trade rollout.max_new=104 rollout.prompts=32 rl.steps=300 beta=0 eval.prompts=20 eval.every=0
        few=1
        methods late 104 20 $trade rollout.prompts=32 rl.steps=100 $common
        few=0
    fi
    # What DRPO needs the noise for: where all is right it has nothing to compare.
    warm solved $solved warmup.steps=1500
    for share in 0 0.25; do
        run solved DRPO "noise=$share" drpo $solved $small $common rollout.max_new=71 lambda=0.2 C=71 "rl.score=noise(share = $share)"
        run solved linear "noise=$share" linear $solved $small $common rollout.max_new=71 budget=177.5 "rl.score=noise(share = $share)"
    done
    # First the facts on texts without re-checks, in which they are a larger share of the tokens.
    warm facts $facts warmup.steps=1000 model.context=144
    go_on recheck facts $recheck warmup.steps=250 warmup.lr=2e-3
    few=1
    methods recheck 127 15 $recheck $small $common
}
go
for setting in $settings; do
    table "$setting" "columns=before.sampled%,before.sampled_length,accuracy%,length,sampled%,sampled_length,log.zero_variance%" \
        out="$results/$setting.png" x=sampled_length y=sampled% cross=none
    paired "$setting" GRPO accuracy%,length,sampled%,sampled_length \
        out="$results/$setting-paired.png" x=sampled_length y=sampled%
    sh dev/papers/pushed.sh "$out/$setting"/runs/* >"$results/$setting-pushed.md"
    [ "$setting" = recheck ] && continue # its points lie at few lengths
    "$program" compare "$out/$setting/runs" columns=sampled,sampled_length "csv=$out/$setting.csv" >"$out/$setting.txt"
    # shellcheck disable=SC2086 # lengths are words
    sh dev/papers/drpo/equal.sh "$out/$setting.csv" DRPO $lengths >"$results/$setting-equal.md"
done
# What goes, and what that costs.
for setting in late recheck solved; do
    [ -d "$out/$setting" ] || continue # a quick study has no late
    need=15
    [ $setting = late ] && need=21
    "$program" compare "$out/$setting/runs" columns=before.sampled,before.sampled_length,sampled,sampled_length \
        "csv=$out/$setting-gone.csv" >"$out/$setting-gone.txt"
    sh dev/papers/drpo/gone.sh "$out/$setting-gone.csv" "$need" >"$results/$setting-gone.md"
done
table solved "columns=before.sampled%,before.sampled_length,start.accuracy%,accuracy%,length,sampled%,sampled_length,log.length"
