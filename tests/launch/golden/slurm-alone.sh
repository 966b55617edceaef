#!/bin/bash
#SBATCH --job-name=gpt2-117m-evaluate
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=12
#SBATCH --mem-per-cpu=8G
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --partition=gpu
#SBATCH --signal=B:USR1@300
#SBATCH --dependency=afterok:7:8
#SBATCH --chdir=/home/me
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --kill-on-invalid-dep=yes
#SBATCH --output='/home/me/runs/gpt2 117m/logs/evaluate.log'
unset LOGLINEAR_LAUNCHER
export LOGLINEAR_JOB='/home/me/runs/gpt2 117m/logs/evaluate'
export TORCH_EXTENSIONS_DIR='/home/me/runs/gpt2 117m/logs/evaluate/extensions'
export PYTHONPATH='/home/me/runs/gpt2 117m/code/0123456789abcdef.zip'
export PYTHONSAFEPATH=1
# At SIGUSR1 it has the ranks save their work, and queues the job again (scontrol).
exec python -m launch.turn python -m pipeline evaluate 'runs/gpt2 117m/logs/evaluate.yaml'
