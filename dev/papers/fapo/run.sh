#!/bin/sh
# FAPO: flawed positives over training, under GRPO on the outcome and under FAPO with detectors of several qualities. See
# study.sh for the options.
study=fapo title="Right answers with a wrong line"
. dev/papers/study.sh

# slips: 30 % of the worked texts have one wrong result that the next line silently ignores, 10 % of the facts are wrong;
# accuracy is high and flaws persist.
slips="task.bare=0 task.wrong_facts=0.1 task.wrong_rate=0.6 task.slip=0.3"
# parity: only the parity of the result is asked for, so that half of all wrong workings end in the right answer.
parity="task.bare=0 task.wrong_facts=0.3 task.wrong_rate=0.6 task.slip=0.3 task.answer_mod=2"

if [ "$quick" = 1 ]; then
    size="rollout.prompts=16 rl.steps=60 eval.prompts=200 eval.samples=4 eval.every=20" judge=100
else
    size="rollout.prompts=32 rl.steps=150 eval.prompts=1000 eval.every=10" judge=300
fi

# shellcheck disable=SC2086 # the settings are words
for setting in slips parity; do
    eval "words=\$$setting"
    warm $setting $words warmup.steps=1000
    run $setting GRPO "" fapo $words $size use_penalty=false
    run $setting FAPO oracle fapo $words $size
    for flips in 0.1 0.2 0.4; do
        run $setting FAPO "flips=$flips" fapo $words $size verifier=noisy "process.eps=$flips" process.flips=fresh
    done
    run $setting FAPO learned fapo $words $size variant=learned "prm.steps=$judge"
    # A quick study asks of a longer training too whether it is what the detector lacks.
    [ "$quick" = 0 ] || run $setting FAPO learned-300 fapo $words $size variant=learned prm.steps=300
done
go
for setting in slips parity; do
    table $setting "columns=before.sampled%,start.process.flawed%,accuracy%,sampled%,log.process.flawed%,log.process.right%"
    curves $setting y=log.process.flawed,log.accuracy,log.process.right smooth=4 out="$results/$setting.png"
done
