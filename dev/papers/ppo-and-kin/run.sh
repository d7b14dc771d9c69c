#!/bin/sh
# PPO and its kin on the default task: final accuracy, area under the curve, time. See study.sh for the options.
study=ppo-and-kin title="PPO and its kin on chain"
. dev/papers/study.sh
task="task.bare=0.6 task.wrong_facts=0.15 task.wrong_rate=0.6"
if [ "$quick" = 1 ]; then
    size="rollout.prompts=16 rl.steps=60 eval.prompts=300 eval.every=10"
else
    size="rollout.prompts=32 rl.steps=100 eval.prompts=1000 eval.every=5"
fi
warm chain $task
for method in grpo ppo rloo reinforce_pp dr_grpo dapo gspo cispo; do
    run chain "$method" "" "$method" $task $size
done
go
table chain "columns=before.accuracy%,accuracy%,sampled%,area%,length,seconds"
band=range # an interval of shares near 1 would go beyond it
curves chain y=accuracy,log.accuracy out="$results/chain.png"
