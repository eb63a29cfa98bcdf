#!/bin/bash

# Parameters
#SBATCH --account=my-project
#SBATCH --array=0-7%8
#SBATCH --chdir=/store/code
#SBATCH --cpus-per-task=8
#SBATCH --dependency=afterany:12:15
#SBATCH --error=/store/slurm/%A_%a_0_log.err
#SBATCH --gpus-per-node=1
#SBATCH --hint=nomultithread
#SBATCH --job-name=table1-generator-gpu-6
#SBATCH --mem=65536M
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --open-mode=append
#SBATCH --output=/store/slurm/%A_%a_0_log.out
#SBATCH --partition=gpu
#SBATCH --requeue
#SBATCH --signal=USR2@120
#SBATCH --time=480

# setup
export PYTHONPATH="/store/code${PYTHONPATH:+:$PYTHONPATH}"
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"
module purge

# command
export SUBMITIT_EXECUTOR=slurm
srun --unbuffered --output /store/slurm/%A_%a_%t_log.out --error /store/slurm/%A_%a_%t_log.err --kill-on-bad-exit=1 PYTHON -u -m submitit.core._submit /store/slurm
