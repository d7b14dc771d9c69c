#!/bin/sh
# The methods that have no study of their own, on the default task, each by its recipe: does it learn? See study.sh for the
# options.
study=others title="Methods without a study of their own, on chain"
. dev/papers/study.sh
task="task.bare=0.6 task.wrong_facts=0.15 task.wrong_rate=0.6"
if [ "$quick" = 1 ]; then
    size="rollout.prompts=16 rl.steps=60 eval.prompts=200 eval.samples=4 eval.every=20"
else
    size="rollout.prompts=32 rl.steps=100 eval.prompts=1000 eval.every=5"
fi
# HAPO remembers each prompt's shortest right answer, so prompts have to come back: two operations modulo 4 are 576. Every
# line may be repeated as a check up to 4 times, which is text that can go.
again="task.mod=4 task.ops_min=2 task.ops_max=2 task.bare=0 task.wrong_facts=0 task.recheck=4"
# shellcheck disable=SC2086 # the settings are words
{
    warm chain $task
    warm again $again warmup.steps=1500
    run again grpo "" grpo $again $size rollout.max_new=71 beta=0
    run again hapo "" hapo $again $size rollout.max_new=71
    for method in tis kl_estimators crf mo_grpo grpo_s vgpo pf_ppo par safe flowrl; do
        run chain "$method" "" "$method" $task $size
    done
    run chain fl_gfn tb fl_gfn $task $size variant=tb
}
go
band=range # an interval of shares near 1 would go beyond it
table chain "columns=before.accuracy%,accuracy%,sampled%,area%,length,seconds"
paired chain tis accuracy%,sampled%,area%
curves chain y=accuracy,log.accuracy out="$results/chain.png"
title="HAPO and GRPO on prompts that come back"
table again "columns=before.sampled%,before.sampled_length,accuracy%,length,sampled%,sampled_length,log.zero_variance%"
paired again grpo sampled%,sampled_length,length
curves again y=log.length smooth=2 out="$results/again.png"
