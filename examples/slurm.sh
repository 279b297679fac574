#!/bin/bash
# One training on two nodes of four GPUs; when its time is up it saves, queues again and goes on.
#
#   sbatch examples/slurm.sh FMvT-S/2-4f4 data=latents-4f4 engine.micro=8
#
# Every word is handed to `echoflow train`. The run folder must lie where all nodes see it; RUN
# names another one. Nothing else here depends on what is trained.

#SBATCH --job-name=echoflow
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=256G
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -euo pipefail

name=${1:?name a recipe; echoflow train lists them}
run=${RUN:-runs/${name//\//}}
resume=()
if [[ -e $run/recipe.yaml ]]; then resume=(--resume); fi
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")

srun torchrun \
    --nnodes="$SLURM_NNODES" --nproc-per-node="$SLURM_GPUS_ON_NODE" \
    --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="${nodes[0]}:29500" \
    -m echoflow train "$@" --out "$run" "${resume[@]}" &
job=$!

asked=
stop() {  # srun hands the signal to torchrun, and that to the processes, which save and leave
    asked=1
    kill -TERM "$job" || true
}
trap stop TERM

status=0
wait "$job" || status=$?
if [[ -n $asked ]]; then
    wait "$job" || true  # the first wait ended with the signal, not with the job
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
