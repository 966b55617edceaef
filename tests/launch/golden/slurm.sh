#!/bin/bash
#SBATCH --job-name=gpt2-117m-train
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=96
#SBATCH --mem-per-cpu=8G
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --partition=gpu
#SBATCH --signal=B:USR1@300
#SBATCH --chdir=/home/me
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --output='/home/me/runs/gpt2 117m/logs/train.log'
unset LOGLINEAR_LAUNCHER
export OMP_NUM_THREADS=1
export MKL_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export LOGLINEAR_JOB='/home/me/runs/gpt2 117m/logs/train'
export TORCH_EXTENSIONS_DIR='/home/me/runs/gpt2 117m/logs/train/extensions'
export PYTHONPATH='/home/me/runs/gpt2 117m/code/0123456789abcdef.zip'
export PYTHONSAFEPATH=1
# At SIGUSR1 it has the ranks save their work, and queues the job again (scontrol).
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
exec python -m launch.turn srun --cpus-per-task=96 --kill-on-bad-exit=1 python -m torch.distributed.run --nnodes=2 --nproc-per-node=8 --rdzv-backend=c10d --rdzv-endpoint="$first:$((20000 + SLURM_JOB_ID % 12000))" --rdzv-id="$SLURM_JOB_ID" --max-restarts=0 --shutdown-timeout=300 --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 -m pipeline train 'runs/gpt2 117m/logs/train.yaml'
