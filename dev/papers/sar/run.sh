#!/bin/sh
# The self-aligned reward with GRPO and with PPO. See study.sh for the options.
study=sar title="Self-aligned reward"
. dev/papers/study.sh

# Modulo 6; lines of working are repeated as checks up to 4 times, some facts are wrong.
task="task.mod=6 task.ops_min=3 task.ops_max=3 task.bare=0 task.recheck=4 task.wrong_facts=0.1 task.wrong_rate=0.5"
if [ "$quick" = 1 ]; then
    size="rollout.prompts=8 rl.steps=60 rollout.max_new=104 eval.prompts=200 eval.samples=4 eval.every=0"
else
    size="rollout.prompts=32 rl.steps=100 rollout.max_new=104 eval.prompts=1000 eval.samples=4 eval.every=0"
fi
# shellcheck disable=SC2086 # the settings are words
{
    warm recheck $task warmup.steps=600
    for alpha in 0 0.2 0.8; do
        run recheck GRPO "$alpha" sar $task $size "alpha=$alpha" l_max=104
        run recheck PPO "$alpha" ppo $task $size "stages.score=outcome, sar" \
            "stages.shape=sum(sar = $alpha), unfinished(penalty = \$eos_penalty)"
    done
}
go
table recheck "columns=before.sampled%,before.sampled_length,accuracy%,length,sampled%,sampled_length,start.sar.mean,log.sar.mean" \
    out="$results/recheck.png" x=sampled_length y=sampled%
curves recheck y=log.accuracy,log.length smooth=2 out="$results/curves.png"
