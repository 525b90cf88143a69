#!/bin/bash
# One run on four nodes with eight GPUs each: sbatch slurm.sh PHOTOS OUTPUT "a face with red hair"
# The environment of styleclip-flows, the photos, the weights and the output are on a file system that all nodes share.
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
set -euo pipefail

address="tcp://$(hostname):8786"
dask scheduler --host "$(hostname)" --port 8786 --no-dashboard &
scheduler=$!
srun --kill-on-bad-exit=0 styleclip workers start --address "$address" --gpus all &
workers=$!
trap 'kill $workers $scheduler 2>/dev/null; wait' EXIT

styleclip edit "$1" --output "$2" --target "$3" --runner dask --address "$address"
