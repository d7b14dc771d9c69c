#!/bin/sh
# GDPO against GRPO on two rewards, right and short: which combinations keep advantages of their own, and what is learned.
# See study.sh for the options.
study=gdpo title="Two rewards: right, and within 24 tokens"
. dev/papers/study.sh

# Three operations: the working takes 21 tokens with its end, re-checks make it longer, the bare answer has 3.
task="task.ops_min=3 task.ops_max=3 task.bare=0.4 task.recheck=2 task.wrong_facts=0.15 task.wrong_rate=0.6"
if [ "$quick" = 1 ]; then
    size="rollout.prompts=16 rl.steps=60 eval.prompts=200 eval.samples=4 eval.every=20"
else
    size="rollout.prompts=32 rl.steps=100 eval.prompts=1000 eval.every=5"
fi
both="rl.score=outcome, length(from = 24, within = true)"
# The control: what the condition does without decoupling.
sum='rl.shape=mix(components = "outcome,length", condition = "length:outcome:1")'
# shellcheck disable=SC2086 # the settings are words
{
    warm chain $task warmup.steps=1500
    run chain GRPO "" grpo $task $size beta=0 run.log_samples=65536 "$both"
    run chain GRPO conditioned grpo $task $size beta=0 run.log_samples=65536 "$both" "$sum"
    run chain GDPO "" gdpo $task $size components=outcome,length run.log_samples=65536 "$both"
    run chain GDPO conditioned gdpo $task $size components=outcome,length condition=length:outcome:1 \
        run.log_samples=65536 "$both"
}
go
table chain "columns=before.sampled%,accuracy%,sampled%,length,sampled_length,log.zero_variance%"
curves chain y=log.accuracy,log.length,log.zero_variance smooth=2 out="$results/chain.png"
sh dev/papers/gdpo/collapse.sh "$out"/chain/runs/* | tee "$results/collapse.md"
