#!/bin/bash
#SBATCH --job-name=gpt2-117m
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --time=24:00:00
#SBATCH --constraint='h100|a100'
#SBATCH --mail-type=END
#SBATCH --signal=B:USR1@300
#SBATCH --chdir=/home/me
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --array=0-1%16
#SBATCH --output='/home/me/runs/gpt2 117m/logs/array'/%A_%a.log
case "$SLURM_ARRAY_TASK_ID" in
0)
exec >> '/home/me/runs/gpt2 117m/logs/train-a.log' 2>&1
module load cuda/12.4
unset LOGLINEAR_LAUNCHER
export OMP_NUM_THREADS=1
export MKL_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
export GLOO_SOCKET_IFNAME=lo
export LOGLINEAR_JOB='/home/me/runs/gpt2 117m/logs/train-a'
export TORCH_EXTENSIONS_DIR='/home/me/runs/gpt2 117m/logs/train-a/extensions'
export PYTHONPATH='/home/me/runs/gpt2 117m/code/0123456789abcdef.zip'
export PYTHONSAFEPATH=1
# At SIGUSR1 it has the ranks save their work, and queues the job again (scontrol).
exec python -m launch.turn srun --cpus-per-task=2 --kill-on-bad-exit=1 python -m torch.distributed.run --nnodes=1 --nproc-per-node=2 --rdzv-backend=c10d --rdzv-conf=store_type=file --local-addr=localhost --max-restarts=1 --shutdown-timeout=300 --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 -m pipeline train 'runs/gpt2 117m/logs/train-a.yaml'
;;
1)
exec >> '/home/me/runs/gpt2 117m/logs/train-b.log' 2>&1
module load cuda/12.4
unset LOGLINEAR_LAUNCHER
export OMP_NUM_THREADS=1
export MKL_NUM_THREADS=1
export OPENBLAS_NUM_THREADS=1
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
export GLOO_SOCKET_IFNAME=lo
export LOGLINEAR_JOB='/home/me/runs/gpt2 117m/logs/train-b'
export TORCH_EXTENSIONS_DIR='/home/me/runs/gpt2 117m/logs/train-b/extensions'
export PYTHONPATH='/home/me/runs/gpt2 117m/code/0123456789abcdef.zip'
export PYTHONSAFEPATH=1
# At SIGUSR1 it has the ranks save their work, and queues the job again (scontrol).
exec python -m launch.turn srun --cpus-per-task=2 --kill-on-bad-exit=1 python -m torch.distributed.run --nnodes=1 --nproc-per-node=2 --rdzv-backend=c10d --rdzv-conf=store_type=file --local-addr=localhost --max-restarts=1 --shutdown-timeout=300 --signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 -m pipeline train 'runs/gpt2 117m/logs/train-b.yaml'
;;
esac
