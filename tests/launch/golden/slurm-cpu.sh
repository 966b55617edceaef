#!/bin/bash
#SBATCH --job-name=gpt2-117m-data
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --mem-per-cpu=2G
#SBATCH --time=24:00:00
#SBATCH --partition=cpu
#SBATCH --signal=B:USR1@300
#SBATCH --chdir=/home/me
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --output='/home/me/runs/gpt2 117m/logs/data.log'
unset LOGLINEAR_LAUNCHER
export LOGLINEAR_JOB='/home/me/runs/gpt2 117m/logs/data'
export TORCH_EXTENSIONS_DIR='/home/me/runs/gpt2 117m/logs/data/extensions'
export PYTHONPATH='/home/me/runs/gpt2 117m/code/0123456789abcdef.zip'
export PYTHONSAFEPATH=1
# At SIGUSR1 it has the ranks save their work, and queues the job again (scontrol).
exec python -m launch.turn python -m pipeline data 'runs/gpt2 117m/logs/data.yaml'
