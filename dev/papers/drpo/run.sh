#!/bin/sh
# DRPO against length penalties: accuracy against length in two settings, and what DRPO cannot do. See study.sh for the
# options.
study=drpo title="Accuracy against length"
. dev/papers/study.sh

# Three settings, fixed before any method was run.
# recheck: every line of working is repeated as a check up to 8 times; 80 % of the text can go at no cost.
recheck="task.ops_min=2 task.ops_max=2 task.bare=0 task.recheck=8 task.wrong_facts=0.1 task.wrong_rate=0.5"
# trade: 60 % of the texts give the bare answer, which is as good as the working for one operation and worse for more;
# lines of working are repeated up to twice. Prompts of 1 to 5 operations.
trade="task.ops_min=1 task.ops_max=5 task.bare=0.6 task.recheck=2 task.wrong_facts=0.15 task.wrong_rate=0.6"
# solved: up to 4 re-checks of a teacher that knows all facts, so that nearly all groups are all right.
solved="task.ops_min=2 task.ops_max=2 task.bare=0 task.recheck=4 task.wrong_facts=0"

if [ "$quick" = 1 ]; then
    size="rollout.prompts=16 rl.steps=40 eval.prompts=300 eval.every=0 run.log_samples=65536"
    few="1 2 3"
else
    size="rollout.prompts=32 rl.steps=60 eval.prompts=1000 eval.every=0 run.log_samples=65536"
    few="1 2 3 4 5"
fi

# pick LIST: its first, middle and last in a quick study, all five otherwise.
strengths() {
    [ "$quick" = 1 ] && echo "$1 $3 $5" || echo "$*"
}

# The quarter of right answers that counts as wrong keeps groups mixed; evaluations are without it.
noise=0.25
methods() {
    where=$1 budget=$2 short=$3 && shift 3
    set -- "$@" "rollout.max_new=$budget"
    judged="noise(share = $noise)"
    run "$where" GRPO "" grpo "$@" $size beta=0 "stages.score=$judged, outcome"
    for s in $(strengths 0.05 0.1 0.2 0.5 1); do
        run "$where" DRPO "$s" drpo "$@" $size "lambda=$s" "C=$budget" "stages.score=$judged"
    done
    for s in $(strengths 0.1 0.2 0.4 0.7 1); do
        run "$where" RLOO-LP "$s" rloo_lp "$@" $size "alpha=$s" "stages.score=$judged"
        run "$where" linear "$s" linear "$@" $size "budget=$(awk "BEGIN { print $budget / $s }")" "stages.score=$judged"
    done
    for s in $(strengths 0.1 0.25 0.5 1 2); do
        run "$where" ALP "$s" alp "$@" $size "beta_len=$s" "n_norm=$budget" "stages.score=$judged"
    done
    for s in $(strengths 0.5 1 1.5 2 4); do
        run "$where" L1 "$s" l1 "$@" $size "target=-$(awk "BEGIN { print $short * $s }")" "stages.score=$judged"
    done
    for s in $(strengths 0.1 0.2 0.4 0.7 1); do
        run "$where" GRPO-lambda "$s" grpo_lambda "$@" $size "lambda=$s" "stages.score=$judged"
    done
    for s in $(strengths 0.1 0.2 0.4 0.7 1); do
        run "$where" SAR "$s" sar "$@" $size "alpha=$s" "l_max=$budget" "stages.score=$judged, outcome, sar"
    done
}

# shellcheck disable=SC2086 # the settings are words
{
    warm recheck $recheck warmup.steps=500
    warm trade $trade warmup.steps=1500
    warm solved $solved warmup.steps=500
    methods recheck 127 15 $recheck
    methods trade 104 20 $trade
    for noise in 0 0.25; do
        judged="noise(share = $noise)"
        run solved DRPO "noise=$noise" drpo $solved rollout.max_new=71 $size lambda=0.1 C=71 "stages.score=$judged"
        run solved linear "noise=$noise" linear $solved rollout.max_new=71 $size budget=177.5 "stages.score=$judged"
    done
}
go
for setting in recheck trade; do
    table $setting "columns=before.sampled%,before.sampled_length,accuracy%,length,sampled%,sampled_length,log.zero_variance%" \
        out="$results/$setting.png" x=sampled_length y=sampled%
done
table solved "columns=before.sampled%,before.sampled_length,accuracy%,length,sampled%,sampled_length,log.zero_variance%"
